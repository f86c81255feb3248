#!/bin/sh
# stand_in.sh: in the place of `quantd run`, for what the real one does not do: it crashes, hangs, lies and floods, as the job's
# name says. Speaks the event protocol of core/engine/run.h on the descriptor after --progress-fd.
# Arguments: run JOB.json --out DIR --model DIR --work DIR --threads N --progress-fd 3 [...]
set -u
[ "$1" = run ] && [ "$3" = --out ] && [ "$7" = --work ] && [ "${11}" = --progress-fd ] && [ "${12}" = 3 ] || exit 64
job=$2 out=$4 work=$8
name=$(sed -n 's/^ *"name": "\(.*\)",*$/\1/p' "$job" | head -1)
say() { printf '%s\n' "$1" >&3; }
phase() { say "{\"event\":\"phase\",\"phase\":\"$1\"}"; }
layer() { # number, resumed
    say "{\"event\":\"layer\",\"index\":$1,\"name\":\"layer.$1\",\"shape\":[2,2],\"bits\":4,\"error\":{\"calibration\":0.25,\"held_out\":null},\"certificate\":{\"status\":\"CERTIFIED\",\"error_sq\":1.0,\"output_sq\":16.0},\"degraded\":false,\"degraded_reason\":null,\"seconds\":0.5,\"resumed\":$2}"
}
progress() { say "{\"event\":\"progress\",\"phase\":\"$1\",\"done\":$2,\"total\":$3,\"unit\":\"layers\",\"eta\":1.5}"; }
manifest() { # path, size, sha256
    printf '{"format":"test","files":[{"path":"%s","size":%s,"sha256":"%s","role":"weights"}]}\n' "$1" "$2" "$3" >"$out/manifest.json"
}
write_artifact() {
    rm -rf "$out"
    mkdir -p "$out/part"
    printf 'weights of %s\n' "$name" >"$out/part/model.bin"
    manifest part/model.bin "$(wc -c <"$out/part/model.bin")" "$(sha256sum "$out/part/model.bin" | cut -d' ' -f1)"
}
result() { say '{"event":"result","perplexity":null,"relative_error":0.25,"certified_layers":2,"resumed_layers":'"$resumed"',"seconds":{"quantizing":1.0},"peak_memory":1000000,"pace":'"$(pace)"'}'; }
pace() { # every leg took $times what it was expected to, which was $units seconds
    [ "$times" -gt 0 ] || { printf null; return; }
    printf '{"arithmetic":"float32","threads":1,"flops":1e11,"flops_bfloat16":2e11,"legs":{"unheard of":{"expected":1,"seconds":1}'
    for leg in start walk moments rounding evaluating exporting verifying; do
        printf ',"%s":{"expected":%d,"seconds":%d}' $leg "$units" $((times * units))
    done
    printf '}}'
}
times=0 units=0 resumed=0
finish() {
    phase evaluating
    phase exporting
    write_artifact
    phase verifying
    result
    exit 0
}
hang() { while :; do sleep 0.05; done; }
mkdir -p "$work"
finished=$(ls "$work" | grep -c '^layer')
phase quantizing
case $name in
good)
    progress quantizing 0 2
    layer 0 false
    progress quantizing 1 2
    say '{"event":"warning","detail":"a word of warning"}'
    say '{"event":"stream","block":0,"relative_error":0.01}'
    say '{"event":"heartbeat","rss":12345}'
    layer 1 false
    finish ;;
resumed)
    resumed=2 times=7 units=100
    finish ;;
sevenfold)
    times=7 units=100
    finish ;;
twofold)
    times=2 units=1
    finish ;;
always-dies)
    kill -KILL $$ ;;
exits)
    exit 7 ;;
dies-after-each-layer)
    i=0
    while [ $i -lt "$finished" ]; do layer $i true; i=$((i + 1)); done
    if [ "$finished" -lt 5 ]; then
        touch "$work/layer$finished"
        layer "$finished" false
        kill -SEGV $$
    fi
    finish ;;
silent)
    trap '' ABRT TERM
    [ -e "$work/been-here" ] && finish
    touch "$work/been-here"
    hang ;;
hostile)
    printf 'no json\n\n{"event":1}\n[]\n{"event":"unknown"}\n{"event":"phase","phase":"succeeded"}\n{"event":"phase","phase":"verifying"}\n' >&3
    printf '{"event":"layer","index":-1,"name":"x"}\n{"event":"layer","index":70000,"name":"x"}\n{"event":"layer","name":"x"}\n' >&3
    printf '{"event":"layer","index":0}\n{"event":"phase","phase":"queued"}\n{"event":"progress","phase":"verifying","done":1,"total":2}\n' >&3
    printf '{"event":"result","perplexity":{"quantized":1}}\n\001\002\377\376\n{"event":"warning","detail":7}\n' >&3
    head -c 40000 /dev/zero | tr '\0' 'x' >&3
    printf '\n{"event":"warning","detail":"' >&3
    head -c 9000 /dev/zero | tr '\0' 'y' >&3
    printf '"}\n' >&3
    layer 0 false
    finish ;;
unfinished-line)
    printf '{"event":"warning","detail":"no newline' >&3
    exit 0 ;;
fails)
    say '{"event":"problem","code":"format","detail":"model.safetensors: tensor \"w\" overlaps its neighbour"}'
    exit 1 ;;
does-not-verify)
    layer 0 false
    phase evaluating
    phase exporting
    write_artifact
    phase verifying
    say '{"event":"problem","code":"format","detail":"layer.0: what was read back differs"}'
    exit 1 ;;
escapes)
    phase evaluating
    phase exporting
    write_artifact
    manifest ../../../quantd.db 1 0000000000000000000000000000000000000000000000000000000000000000
    phase verifying
    result ;;
links)
    phase evaluating
    phase exporting
    write_artifact
    ln -sf /etc/passwd "$out/secret"
    manifest secret 1 0000000000000000000000000000000000000000000000000000000000000000
    phase verifying
    result ;;
no-artifact)
    phase evaluating
    phase exporting
    phase verifying
    result ;;
out-of-space)
    say '{"event":"problem","code":"disk-full","detail":"write layers/00000.safetensors: No space left on device"}'
    exit 1 ;;
big) # needs 8 MB for its checkpoints, more than anybody forecasts
    head -c 8000000 /dev/zero >"$work/big" || {
        say '{"event":"problem","code":"disk-full","detail":"write layers/00000.safetensors: No space left on device"}'
        exit 1
    }
    finish ;;
crawls) # at its second layer
    layer 0 false
    say '{"event":"progress","phase":"quantizing","done":1,"total":2,"unit":"layers","eta":3.5,"eta_low":2.5,"eta_high":4.5,"layer":"layer.1","expected":0.5}'
    n=0
    while [ $n -lt 250 ]; do
        n=$((n + 1))
        sleep 0.05
    done
    layer 1 false
    finish ;;
hog) # 8 MB of checkpoints in two files, and it stays
    head -c 8000000 /dev/zero >"$work/hog1"
    head -c 8000000 /dev/zero >"$work/hog2"
    layer 0 false
    progress quantizing 1 42
    hang ;;
slow)
    [ -e "$work/been-here" ] && { layer 0 false; layer 1 false; finish; }
    touch "$work/been-here" # before the first word: it may be ended after any
    touch "$work/layer0"
    layer 0 false
    n=0
    while :; do
        n=$((n + 1))
        progress quantizing $n 1000
        sleep 0.05
    done ;;
*)
    echo "no such behaviour: $name" >&2
    exit 65 ;;
esac
