#!/bin/sh
# pains.sh: tests/PAINS.md has its thirty rows, and every claim that it names is one of the named test; tests/RELIABILITY.md has each row once.
top=${QUANTD_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
table=$top/tests/PAINS.md
echo 1..3

rows=$(grep -oE '^\| [0-9]+ \|' "$table" | tr -dc '0-9\n' | tr '\n' ' ')
if [ "$rows" = "$(seq 1 30 | tr '\n' ' ')" ] && ! grep -E '^\| [0-9]+ \|' "$table" | grep -qv '`tests/'; then
    echo "ok 1 - thirty rows, each with a test"
else
    echo "not ok 1 - thirty rows, each with a test"
    echo "# found: $rows"
fi

# A claim is `def NAME(` in Python, `NAME(void **state)` in C.
wrong=$(grep -oE '`tests/[^`]+: [a-z0-9_]+`' "$table" | tr -d '`' | while IFS=': ' read -r file claim; do
    grep -qE "(^def |void )$claim\(" "$top/$file" 2>/dev/null || echo "# $file has no claim $claim"
done)
[ -z "$wrong" ] && echo "ok 2 - every claim exists" || { echo "not ok 2 - every claim exists"; echo "$wrong"; }

# Merges of tables leave rows twice.
rows=$(sed -n 's/^| R\([0-9]*\) |.*/\1/p' "$top/tests/RELIABILITY.md" | tr '\n' ' ')
if [ "$rows" = "$(seq 1 22 | tr '\n' ' ')" ]; then
    echo "ok 3 - rows R1 to R22, each once and in order"
else
    echo "not ok 3 - rows R1 to R22, each once and in order"
    echo "# found: $rows"
fi
