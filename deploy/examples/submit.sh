#!/bin/sh
# submit.sh SERVER REQUEST.json FOLDER: has a model quantized and brings the artifact into FOLDER. curl, tar and sha256sum; no jq.
#
#   ./submit.sh http://127.0.0.1:8080 job.json quantized
#
# QUANTD_KEY: the API key, where the service asks for one. RUN: a word that tells this run from others with the same request (a commit, a date):
# started again with the same RUN and request, after whatever went wrong, it finds its job instead of making a second one.
# Exit status: 0 the artifact is there and its digests are right; 1 the job did not succeed; 2 anything else.
set -eu
[ $# -eq 3 ] || { sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2; }
server=${1%/} request=$2 folder=$3
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 2' HUP INT TERM

# The key stays out of the list of processes.
(umask 077; printf 'silent\nshow-error\nretry = 8\nretry-connrefused\n' >"$scratch/curlrc"
[ -z "${QUANTD_KEY:-}" ] || printf 'header = "Authorization: Bearer %s"\n' "$QUANTD_KEY" >>"$scratch/curlrc")
ask() { curl --config "$scratch/curlrc" "$@"; }

key=$({ printf '%s\n' "${RUN:-}"; cat "$request"; } | sha256sum | cut -c1-40)
status=$(ask -o "$scratch/answer" -D "$scratch/head" -w '%{http_code}' -H "Idempotency-Key: $key" --data-binary "@$request" "$server/jobs") || exit 2
[ "$status" = 202 ] || { cat "$scratch/answer" >&2; echo >&2; exit 2; }
job=$(tr -d '\r' <"$scratch/head" | sed -n 's/^[Ll]ocation: *//p')
echo "$server$job"

# Events until the job has ended; a stream that breaks off is taken up after the last event seen.
last=0 state= broken=0
while [ -z "$state" ]; do
    status=$(ask --no-buffer -o "$scratch/events" -w '%{http_code}' -H 'Accept: text/event-stream' "$server$job/events?after=$last") || true
    case $status in
    200) broken=0 ;;
    000 | 429 | 5*) broken=$((broken + 1)); [ $broken -lt 5 ] || exit 2; sleep 2; continue ;;
    *) cat "$scratch/events" >&2; exit 2 ;;
    esac
    seen=$(sed -n 's/^id: //p' "$scratch/events" | tail -n 1)
    last=${seen:-$last}
    state=$(sed -n '/^event: end/{n;s/.*"state":"\([a-z]*\)".*/\1/p;}' "$scratch/events")
done
echo "$state"
[ "$state" = succeeded ] || { ask "$server$job" | sed -n 's/.*"problem":{\(.*\)},"links".*/\1/p' >&2; exit 1; }

# One file with everything; after a break it is read on.
mkdir -p "$folder"
broken=0
until ask --fail -C - -o "$scratch/artifact.tar" "$server$job/artifacts.tar"; do
    broken=$((broken + 1)); [ $broken -lt 5 ] || exit 2; sleep 2
done
tar -xf "$scratch/artifact.tar" -C "$folder"
ask "$server$job/artifacts" | grep -o '"path":"[^"]*","size":[0-9]*,"sha256":"[0-9a-f]*"' |
    sed 's/"path":"\([^"]*\)","size":[0-9]*,"sha256":"\([0-9a-f]*\)"/\2  \1/' >"$scratch/digests"
[ -s "$scratch/digests" ] || exit 2
(cd "$folder" && sha256sum --check --quiet "$scratch/digests") || exit 2
