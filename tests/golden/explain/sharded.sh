#!/bin/sh
# The strategy log of a program that was split: all of it but what depends on this machine and on the clock.
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
sed -E -n -e 's/, in [0-9.]+ [a-z]+$//' -e '/ nodes, [0-9]* edges, /d' \
    -e '/^sharding of/,/^program /{ /^program /d; p; }' "$scratch/log"
