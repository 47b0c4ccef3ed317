#!/bin/sh
# The machine that `colc probe` measures reads back, and what is in its place before stays when it cannot be written.
#
#   probe.sh COLC MODEL
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$1" probe -o "$scratch/box.yaml" --threads 1 2>"$scratch/progress"
grep -q '^products ' "$scratch/progress"
grep -q '^wrote ' "$scratch/progress"
"$1" compile "$2" --machine "$scratch/box.yaml" -o "$scratch/model.plan" 2>"$scratch/summary"
grep -q ' on box:1$' "$scratch/summary"
"$1" compile "$2" --machine "$scratch/box.yaml:4" -o "$scratch/model.plan" 2>"$scratch/summary"
grep -q ' on box:4$' "$scratch/summary"
COLC_MACHINES=$scratch "$1" compile "$2" --machine box:2 -o "$scratch/model.plan" 2>"$scratch/summary"
grep -q ' on box:2$' "$scratch/summary"
mkdir "$scratch/folder.yaml"
if "$1" probe -o "$scratch/folder.yaml" 2>"$scratch/progress"; then exit 1; fi
grep -q 'folder.yaml' "$scratch/progress"
