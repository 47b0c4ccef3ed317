#!/bin/sh
# What is said of wrong machines, meshes, limits and plans; all end with status 2 and leave no plan.
#
#   errors.sh COLC MODEL
set -u
colc=$1 model=$2
folder=tests/golden/machine
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
unset COLC_MACHINES

try() {
    echo "colc compile $*"
    "$colc" compile "$model" "$@" -o "$scratch/plan" 2>&1
    status=$?
    echo "status $status"
    [ ! -e "$scratch/plan" ] || echo "there is a plan"
    echo
}

try --machine gpu9000
try --machine h200x
try --machine ''
try --machine h100-dgx:0
try --machine h100-dgx:4097
try --machine h200x4:2
try --machine a100-80g:many
try --machine cpu:
try --machine $folder/absent.yaml
try --machine $folder/faults.yaml
try --machine $folder/short.yaml
try --machine $folder
try --mesh 2x
try --mesh 2x0
try --mesh 1x1x1x1x1x1x1
try --machine h200x4 --mesh 2x4
try --machine a100-80g:16 --mesh 17
try --machine cpu:2 --mesh 1048576x1048576x1048576x1048576
try --memory 12parsecs
try --memory 0
try --memory -1GiB
try --memory 0%
try --memory 101%
try --memory %
try --plan zero4
try --plan zero3
printf 'machine: h200x4\nmesh: 3x3\n' >"$scratch/run.yaml"
echo "colc compile --recipe: machine: h200x4, mesh: 3x3"
"$colc" compile "$model" --recipe "$scratch/run.yaml" -o "$scratch/plan" 2>&1
echo "status $?"
echo
echo "colc compile --memory 1KiB"
"$colc" compile "$model" --memory 1KiB -o "$scratch/plan" 2>&1
echo "status $?"
echo
for arguments in "" "-o" "-o $scratch/absent/box.yaml" "-o $scratch/box.yaml --ranks 2" "-o $scratch/box.yaml here" \
    "-o $scratch/box.yaml --threads 0"; do
    echo "colc probe $arguments" | sed "s:$scratch/::"
    # shellcheck disable=SC2086 # several arguments
    "$colc" probe $arguments 2>&1 | sed "s:$scratch/::"
done
[ ! -e "$scratch/box.yaml" ] || echo "there is a machine"
