#!/bin/sh
# faults.sh: every fault point of the source stands once in core/base/fault_points.c and once in the source; a build without
# --enable-fault-injection has nothing of it. TAP.
set -u
cd "${QUANTD_SOURCE:-.}" || exit 99
listed=$(sed -n 's/^    { "\([^"]*\)", "[^"]*" },*$/\1/p' core/base/fault_points.c | LC_ALL=C sort)
used=$(find core server -name '*.c' ! -name 'fault*.c' -exec \
    sed -n 's/.*QD_FAULT\(_FAILS\|_CODE\|_LENGTH\)*("\([a-z-]*\.[a-z-]*\)".*/\2/p' {} + | LC_ALL=C sort)
twice=$(printf '%s\n' "$used" | uniq -d)
calls=$(find core server -name '*.c' ! -name 'fault*.c' -exec cat {} + | grep -o 'QD_FAULT\(_FAILS\|_CODE\|_LENGTH\)*(' | wc -l)
echo 1..4
number=0
claim() { # findings, claim
    number=$((number + 1))
    if [ -z "$1" ]; then echo "ok $number - $2"; else
        echo "not ok $number - $2"
        printf '%s\n' "$1" | sed 's/^/# /'
    fi
}
differ=''
[ "$listed" = "$used" ] || differ="listed and used differ: $(printf '%s\n%s\n' "$listed" "$used" | LC_ALL=C sort | uniq -u | tr '\n' ' ')"
claim "$differ" "fault_points.c lists the points of the source"
claim "$twice" "a point stands in one place"
few=''
[ "$calls" -eq "$(printf '%s\n' "$used" | wc -l)" ] || few="$calls calls, of which $(printf '%s\n' "$used" | wc -l) could be read: one to a line, with a literal name"
[ "$(printf '%s\n' "$listed" | wc -l)" -ge 40 ] || few="$few fewer than 40 points"
claim "$few" "there are forty points at least, each in a form that can be read"
if [ "${QUANTD_FAULT_INJECTION:-no}" = yes ]; then
    echo "ok 4 - a build without fault injection holds nothing of it # SKIP this build has it"
else
    binary=${QUANTD:-build/quantd}
    held=$([ -r "$binary" ] || echo "there is no '$binary'"
        for word in QUANTD_FAULT $listed; do grep -aqsF "$word" "$binary" && echo "$word"; done)
    claim "$held" "a build without fault injection holds nothing of it"
fi
