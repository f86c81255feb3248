#!/bin/sh
# tap.sh PROGRAM: runs a test program. cmocka prints a skipped claim as "not ok ... # SKIP", which TAP readers take for a failure: here it is "ok".
# It takes the kernels of OpenBLAS that quantd itself would (tests/blas_core.c).
core=$(tests/blas_core 2>/dev/null) && [ -n "$core" ] && OPENBLAS_CORETYPE=$core && export OPENBLAS_CORETYPE
status=$(mktemp) || exit 99
trap 'rm -f "$status"' EXIT
{
    "$@"
    echo $? >"$status"
} | sed 's/^not ok \(.*# SKIP\)/ok \1/'
exit "$(cat "$status")"
