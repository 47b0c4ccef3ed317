#!/usr/bin/env bash
# What the command line promises of exit statuses: lost output, memory that cannot be had, options without effect.
#
#   test_commands.sh COLC COLRUN MODEL.ir plain|sanitized
set -eu
colc=$1 colrun=$2 model=$3 kind=$4
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
    echo "FAILED: $*"
    exit 1
}

# ends STATUS TEXT COMMAND...: the command ends with the status, and one line of standard error has the text.
ends() {
    want=$1 text=$2
    shift 2
    got=0
    "$@" 2>"$scratch/err" || got=$?
    [ "$got" = "$want" ] || fail "$* ends with $got instead of $want: $(cat "$scratch/err")"
    grep -qF -- "$text" "$scratch/err" || fail "$* does not say '$text' but: $(cat "$scratch/err")"
    [ "$(wc -l <"$scratch/err")" = 1 ] || fail "$* says more than one line"
}

for program in "$colc" "$colrun"; do
    ends 4 "cannot write to standard output" "$program" --help >/dev/full
    ends 4 "cannot write to standard output" "$program" train --help >/dev/full
done
ends 4 "cannot write to standard output" "$colc" --version >/dev/full
ends 4 "cannot write to standard output" "$colc" opt "$model" >/dev/full

for option in --batch --seq; do
    ends 2 "$option does not apply to generation" "$colc" generate "$model" --weights none --prompt x "$option" 2
done

printf 'model m()\nmesh 2x2\ninput x : f32[4]\noutput y = all_reduce(x, mesh_axes = 0)\n' >"$scratch/part.ir"
ends 2 "give the model that it was made from, and --mesh 2x2" "$colc" compile "$scratch/part.ir" -o "$scratch/plan"

# A model whose graph takes more than is given. Sanitizers reserve address space, and have a limit of their own.
if [ "$kind" = plain ]; then
    (
        ulimit -v 400000
        ends 4 "out of memory" "$colc" opt "$model" --set layers=40000 >/dev/null
    )
fi
