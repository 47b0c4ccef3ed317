#!/bin/sh
# The golden runner itself: it must fail on a difference, leave the file alone, and update only when asked.
set -eu
unset UPDATE_GOLDEN
run=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

fail() {
    echo "FAILED: $*"
    exit 1
}

printf 'one\ntwo\n' >expected
"$run" expected -- printf 'one\ntwo\n' || fail "equal output is accepted"
"$run" expected -- printf 'one\nthree\n' >log && fail "a difference is refused"
grep -q '^-two' log && grep -q '^+three' log || fail "the difference is shown"
"$run" expected -- printf 'one\ntwo' >/dev/null && fail "a missing final newline is a difference"
printf 'one\ntwo\n' | cmp - expected || fail "the expected file is left alone"
"$run" absent -- echo x >/dev/null && fail "a missing expected file is refused"
[ ! -e absent ] || fail "nothing is made without being asked"

"$run" --status 3 expected -- sh -c 'printf "one\ntwo\n"; exit 3' || fail "an expected status is accepted"
"$run" expected -- sh -c 'printf "one\ntwo\n"; exit 3' >/dev/null && fail "another status is refused"
"$run" --stderr expected -- sh -c 'echo noise; printf "one\ntwo\n" >&2' || fail "standard error is compared"
"$run" --both expected -- sh -c 'echo one; echo two >&2' || fail "both streams are compared"
"$run" --stdin expected expected -- cat || fail "standard input is given"

UPDATE_GOLDEN=1 "$run" expected -- sh -c 'echo bad; exit 1' >/dev/null && fail "a failing command is refused"
printf 'one\ntwo\n' | cmp - expected || fail "a failing command does not update"
UPDATE_GOLDEN=1 "$run" expected -- echo new >log || fail "an update succeeds"
grep -q '^+new' log && echo new | cmp - expected || fail "an update shows the difference and writes"
"$run" >/dev/null 2>&1 && fail "no arguments is an error"
exit 0
