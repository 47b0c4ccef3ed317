#!/bin/sh
# Every graph that colc prints is a model that reads back as the same graph: after each pass of a compilation the text
# is read and printed again, and the next pass run on what was read gives what it gives within the whole compilation.
#
#   test_round_trip.sh COLC
set -eu
colc=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

# Numbers of unnamed results, %7, are given anew when a text is read: here in order of appearance.
renumbered() {
    awk '{
        line = ""
        while (match($0, /%[0-9]+/)) {
            id = substr($0, RSTART, RLENGTH)
            if (!(id in number)) number[id] = "%" ++count
            line = line substr($0, 1, RSTART - 1) number[id]
            $0 = substr($0, RSTART + RLENGTH)
        }
        print line $0
    }' "$1"
}

same() {
    renumbered "$2" >"$scratch/expected"
    renumbered "$3" >"$scratch/actual"
    cmp -s "$scratch/expected" "$scratch/actual" && return
    echo "FAIL $1"
    diff "$scratch/expected" "$scratch/actual" | head -n 10
    failed=1
}

# follow NAME MODEL PASSES [OPTIONS...]: PASSES separated by spaces; $options are those that passes need
options=
follow() {
    name=$1 model=$2 passes=$3
    shift 3
    "$colc" opt "$model" "$@" >"$scratch/before"
    so_far=
    for pass in parse $passes; do
        if [ "$pass" = parse ]; then
            cp "$scratch/before" "$scratch/after"
        else
            so_far=${so_far:+$so_far,}$pass
            "$colc" opt "$model" "$@" --passes "$so_far" >"$scratch/after"
            cp "$scratch/before" "$scratch/part.ir"
            # shellcheck disable=SC2086
            "$colc" opt "$scratch/part.ir" $options --passes "$pass" >"$scratch/alone"
            same "$name: $pass on the text before it" "$scratch/after" "$scratch/alone"
        fi
        cp "$scratch/after" "$scratch/whole.ir"
        "$colc" opt "$scratch/whole.ir" >"$scratch/again"
        same "$name: the text after $so_far read again" "$scratch/after" "$scratch/again"
        mv "$scratch/after" "$scratch/before"
    done
}

# Training with dropout and tied rows; what generation adds; running statistics; forward passes.
backend="lower fold cse dce legalize cse dce fuse schedule"
resnet="layers1=1 layers2=1 layers3=0 layers4=0 width=4 classes=3 size=32 batch=2"
gpt2="layers=2 width=8 heads=2 vocab=11 context=6 batch=2 seq=5 dropout=0.1"
# shellcheck disable=SC2086
{
    follow gpt2 models/gpt2.ir "autodiff vanish optimizer $backend" --set $gpt2
    follow generate models/gpt2.ir "inference kv_cache dce $backend" --set $gpt2 batch=1 seq=1
    follow resnet models/resnet.ir "autodiff optimizer $backend" --set $resnet
    follow resnet_forward models/resnet.ir "inference dce $backend" --set $resnet
    options="--precision fp16"
    follow gpt2_fp16 models/gpt2.ir "precision autodiff scale_loss vanish optimizer $backend" $options --set $gpt2
    options=
}
follow mlp tests/golden/parse/mlp.ir "inference dce $backend"
follow partitioned tests/golden/parse/partitioned.ir "$backend"
exit $failed
