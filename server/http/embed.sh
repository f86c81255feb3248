#!/bin/sh
# embed.sh FILE...: C source of qd_embedded_files on stdout; each line of a file becomes one string literal. sed alone, no xxd.
set -eu
echo '/* Made by embed.sh. */'
echo '#include "http/documents.h"'
echo 'const qd_embedded qd_embedded_files[] = {'
for file in "$@"; do
    name=${file##*/}
    printf '{ "%s",\n' "$name"
    # A question mark is escaped so that no trigraph arises; sizeof counts what the literals hold.
    body='""'$(sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/?/\\?/g' -e 's/	/\\t/g' -e 's/^/"/' -e 's/$/\\n"/' "$file")
    printf '%s,\nsizeof(%s) - 1 },\n' "$body" "$body"
done
echo '{ 0 } };'
