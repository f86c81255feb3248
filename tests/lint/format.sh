#!/bin/sh
# format.sh: sources are as clang-format 14 leaves them; no tabs, no trailing blanks, no unfinished marks. TAP.
set -u
cd "${QUANTD_SOURCE:-.}" || exit 99
files=$(find core server tests -name '*.[ch]' ! -name migrations.c | LC_ALL=C sort) # migrations.c: an in-tree build makes it
echo 1..3
status=0
if command -v clang-format >/dev/null 2>&1 && clang-format --version | grep -q 'version 14'; then
    bad=$(clang-format --dry-run $files 2>&1 | sed -n 's/^\([^ :]*\):.*-Wclang-format-violations.*/\1/p' | sort -u)
    if [ -z "$bad" ]; then echo "ok 1 - clang-format changes nothing"; else
        status=1
        echo "not ok 1 - clang-format changes nothing"
        echo "$bad" | sed 's/^/# /'
    fi
else
    echo "ok 1 - clang-format changes nothing # SKIP no clang-format 14"
fi
blanks=$(grep -nE '[[:blank:]]+$' $files /dev/null)
tabs=$(grep -nP '\t' $files /dev/null)
if [ -z "$blanks$tabs" ]; then echo "ok 2 - no tabs, no trailing blanks"; else
    status=1
    echo "not ok 2 - no tabs, no trailing blanks"
    printf '%s\n%s\n' "$blanks" "$tabs" | sed 's/^/# /'
fi
marks=$(grep -nE '\b(TODO|FIXME|XXX|HACK)\b' $files /dev/null)
if [ -z "$marks" ]; then echo "ok 3 - nothing is marked unfinished"; else
    status=1
    echo "not ok 3 - nothing is marked unfinished"
    echo "$marks" | sed 's/^/# /'
fi
exit $status
