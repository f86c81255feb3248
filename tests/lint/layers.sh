#!/bin/sh
# layers.sh: every include goes down the layers of layers.txt; every header opens with its room card. TAP.
set -u
cd "${QUANTD_SOURCE:-.}" || exit 99
rules=tests/lint/layers.txt
find core server \( -name '*.c' -o -name '*.h' -o -name '*.inc' \) | LC_ALL=C sort >"${TMPDIR:-/tmp}/layers.$$"
trap 'rm -f "${TMPDIR:-/tmp}/layers.$$"' EXIT
bad=$(awk '
    FNR == NR {
        if ($0 ~ /^#/ || $0 == "") next
        split($0, part, ":")
        key = part[1]; may[key] = " " part[2] " "
        next
    }
    {
        n = split($0, path, "/")
        room = path[1] == "server" && n == 2 ? "top" : path[2]
        if (!(room in may)) { print $0 ": room \"" room "\" is not in layers.txt"; next }
        line = 0
        while ((getline text < $0) > 0) {
            line++
            if (match(text, /^#include "[a-z]+\//)) {
                other = substr(text, RSTART + 10, RLENGTH - 11)
                if (other != room && index(may[room], " " other " ") == 0)
                    print $0 ":" line ": " room " may not include " other "/"
            } else if (match(text, /^#include <[^>]*>/)) {
                header = substr(text, RSTART + 9, RLENGTH - 9)
                if (header in may && index(may[header], " " room " ") == 0)
                    print $0 ":" line ": only" may[header] "may include " header
            }
        }
        close($0)
    }' "$rules" "${TMPDIR:-/tmp}/layers.$$")
cards=$(while read -r file; do
    case $file in
    *.h) head -6 "$file" | grep -q '^ \* Room: ' || echo "$file: no room card in its first lines" ;;
    esac
done <"${TMPDIR:-/tmp}/layers.$$")
echo 1..2
report() { # number, claim, findings
    if [ -z "$3" ]; then echo "ok $1 - $2"; else
        echo "not ok $1 - $2"
        echo "$3" | sed 's/^/# /'
    fi
}
report 1 "no include goes up the layers" "$bad"
report 2 "every header opens with its room card" "$cards"
[ -z "$bad$cards" ]
