#!/bin/sh
# The strategy log of a program that was split: all of it but what depends on the clock and on how the solver works.
#
#   sharded.sh COLC COMPILE-ARGUMENTS...
set -eu
colc=$1
shift
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$colc" compile "$@" --machine cpu:4 --mesh 2x2 -o "$scratch/model.plan" >"$scratch/out" 2>&1 || {
    cat "$scratch/out"
    exit 1
}
"$colc" explain "$scratch/model.plan" --program step >"$scratch/log"
sed -E -n -e 's/, no plan below .*//' -e '/ nodes, [0-9]* edges, /d' \
    -e '/^sharding of/,/^program /{ /^program /d; p; }' "$scratch/log"
