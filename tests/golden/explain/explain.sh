#!/bin/sh
# The log of a small model's evaluation program: all of it but what depends on this machine and on the clock.
#
#   explain.sh COLC MODEL
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$1" compile "$2" --machine cpu:2 -o "$scratch/model.plan" 2>/dev/null
"$1" explain "$scratch/model.plan" --program eval --variables >"$scratch/log"
sed -E -e '/^(kernels|compiled|programs) /d' -e 's/= k[0-9]+\(/= kernel(/' "$scratch/log"
