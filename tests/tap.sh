#!/bin/sh
# tap.sh PROGRAM: runs a test program. cmocka prints a skipped claim as "not ok ... # SKIP", which TAP readers take for a failure: here it is "ok".
status=$(mktemp) || exit 99
trap 'rm -f "$status"' EXIT
{
    "$@"
    echo $? >"$status"
} | sed 's/^not ok \(.*# SKIP\)/ok \1/'
exit "$(cat "$status")"
