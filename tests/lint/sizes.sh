#!/bin/sh
# sizes.sh: no file of 600 lines, no function above 60 lines (80 for flat numerical loops, in core/linalg and core/quant). TAP.
set -u
cd "${QUANTD_SOURCE:-.}" || exit 99
files=$(find core server tests -name '*.[ch]' ! -name migrations.c | LC_ALL=C sort) # migrations.c: an in-tree build makes it
long=$(for file in $files; do awk -v f="$file" 'END { if (NR >= 600) print f ": " NR " lines" }' "$file"; done)
# A function's body opens with { in column 1 (Linux braces) and ends with } in column 1.
functions=$(for file in $files; do
    case $file in core/linalg/* | core/quant/*) limit=80 ;; *) limit=60 ;; esac
    awk -v f="$file" -v limit=$limit '
        /^\{/ { start = NR; name = previous }
        /^\}/ && start { if (NR - start - 1 > limit) print f ":" start ": " NR - start - 1 " lines: " name; start = 0 }
        !/^[ \t]/ && !/^\{/ { previous = $0 }' "$file"
done)
echo 1..2
report() {
    if [ -z "$3" ]; then echo "ok $1 - $2"; else
        echo "not ok $1 - $2"
        echo "$3" | sed 's/^/# /'
    fi
}
report 1 "no file has 600 lines" "$long"
report 2 "no function is longer than its limit" "$functions"
[ -z "$long$functions" ]
