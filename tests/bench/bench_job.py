#!/usr/bin/env python3
"""A whole job on a real model: quantizing seconds without evaluation, processor seconds, peak memory, perplexity; and the same beside the peers.

    QUANTD=build/quantd python3 tests/bench/bench_job.py --model FILE.gguf --calibration TEXT --evaluation TEXT [--peers FOLDER]

Without --peers: OPTQ and Qronos at effort `reference`. With it, every peer that is installed below FOLDER (README.md says how) quantizes the same
model on the same ids to the same grid, and quantd does so once more in those settings: 4 bits, symmetric, groups of 64, scales from the largest
magnitude, natural order, one per cent of the mean diagonal as damping. They start from one folder, which a GGUF file is turned into first (bf16).
All results are measured by `quantd eval` from the weights that their codes stand for, written in float32; that evaluator is held against torch's on the source.

Where each is to have processors of its own at the same time, `--side ours` and `--side peers` are the two halves, started apart with a --work of their own
(and --only, --algorithms, --dtype for one peer each); rows of the second have no value of ours.

What a peer's seconds are, peer_job.py says of each: from loaded model and tokens to codes. Ours: the phase `quantizing`, certificates included.
Processor seconds compare best on a machine that does other work, and then with --threads 1.
"""
import argparse
import array
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import rows  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
WARM = os.path.join(HERE, "..", "models", "novella-1m")
QUANTD = os.path.abspath(os.environ.get("QUANTD", "quantd"))
PEERS = {"optq": ("brevitas", "gptqmodel", "llmcompressor"), "qronos": ("brevitas",)}
SECONDS = {"optq": 45, "qronos": 100}  # goals of a whole job, with AMX
RATIO = 10  # goal beside every peer
NOT_RUN = {"seconds": None, "cpu_seconds": None, "peak_memory": None, "perplexity": None}
SAME_GRID = {"scale": {"rule": "minmax"}, "order": "natural"}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder in the Hugging Face layout, or GGUF file")
    parser.add_argument("--calibration", required=True)
    parser.add_argument("--evaluation", required=True)
    parser.add_argument("--peers", help="folder of the peers' environments")
    parser.add_argument("--only", default="", help="of the peers: names with commas")
    parser.add_argument("--side", default="both", choices=("both", "ours", "peers"), help="with --peers: which of the two is run")
    parser.add_argument("--algorithms", default="optq,qronos")
    parser.add_argument("--dtype", default="bfloat16,float32", help="of the peers' arithmetic; each of several is a run")
    for name, value in (("samples", 32), ("length", 2048), ("bits", 4), ("group-size", 64), ("windows", 40), ("threads", len(os.sched_getaffinity(0)))):
        parser.add_argument("--" + name, type=int, default=value)
    parser.add_argument("--patience", type=float, default=4 * 3600, help="seconds after which a peer is stopped")
    parser.add_argument("--work", help="folder for models and results, kept")
    return parser.parse_args()


def said(command, **more):
    """Runs a command and gives what it printed; its last words are the exception's."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, **more)
    if done.returncode != 0:
        raise RuntimeError("exit status %d: %s" % (done.returncode, done.stderr.decode(errors="replace").strip()[-400:]))
    return done.stdout


# ---- ids ----

def tokenize(model, path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return json.loads(said([QUANTD, "tokenize", model], input=json.dumps({"text": file.read()}).encode()))["ids"]


def spread(ids, bos, count, length):
    """Calibration's windows: starts evenly spread, BOS first (core/text/windows.c)."""
    windows = []
    for i in range(count):
        start = i * (len(ids) - length) // count
        start += ids[start] == bos
        windows.append([bos] + ids[start:start + length - 1])
    return windows


def in_turn(ids, bos, count, length):
    """Evaluation's windows: one behind the other of BOS and the text, BOS in place of what begins a window (core/text/evaluation_windows.c)."""
    places = [bos] + ids[ids[:1] == [bos]:]
    count = min(count, len(places) // length) if count else len(places) // length
    return [[bos] + places[i * length + 1:(i + 1) * length] for i in range(count)]


def write_ids(path, windows):
    data = array.array("I", [one for window in windows for one in window]).tobytes()
    with open(path, "wb") as file:
        file.write(data)
    return hashlib.sha256(data).hexdigest()


# ---- ours ----

def processor_seconds(pid):
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def follow(command, write):
    """Runs quantd; (its result, processor seconds of each phase)."""
    child = subprocess.Popen(command, pass_fds=[write[1]], stderr=subprocess.PIPE, env=dict(os.environ, OPENBLAS_NUM_THREADS="1"))
    os.close(write[1])
    result, phase, started, spent = None, None, 0.0, {}
    for line in os.fdopen(write[0]):
        event = json.loads(line)
        if event["event"] in ("phase", "result"):
            now = processor_seconds(child.pid)
            if phase is not None:
                spent[phase] = now - started
            phase, started = event.get("phase"), now
        result = event if event["event"] == "result" else result
    errors = child.stderr.read().decode(errors="replace")
    if child.wait() != 0 or result is None:
        raise RuntimeError("quantd run: exit status %s: %s" % (child.returncode, errors.strip()[-400:]))
    return result, spent


def quantize(given, model, algorithm, settings, out):
    job = dict(settings, model="file:///model", algorithm=algorithm, effort="reference", bits=given.bits, group_size=given.group_size,
               format="safetensors:bf16", calibration={"samples": given.samples, "length": given.length},
               evaluation={"length": 512, "windows": 1, "baseline": None})
    path = out + ".json"
    with open(path, "w", encoding="ascii") as file:
        json.dump(job, file)
    shutil.rmtree(out, ignore_errors=True)
    pipe = os.pipe()
    result, spent = follow([QUANTD, "run", path, "--model", model, "--out", out, "--calibration-text", given.calibration, "--evaluation-text",
                            given.evaluation, "--threads", str(given.threads), "--progress-fd", str(pipe[1])], pipe)
    return {"seconds": result["seconds"]["quantizing"], "cpu_seconds": spent.get("quantizing"), "peak_memory": result["peak_memory"],
            "tokens_sha256": result["calibration"]["tokens_sha256"], "relative_error": result["relative_error"],
            "perplexity": evaluate(given, out)}


def evaluate(given, model):
    line = said([QUANTD, "eval", model, "--text", given.evaluation, "--length", "512", "--windows", str(given.windows), "--threads", str(given.threads)])
    return json.loads(line)["perplexity"]


# ---- peers ----

def python_of(given, peer):
    return os.path.join(given.peers, peer, "bin", "python")


def run_peer(given, python, spec, folder):
    """peer_job.py with the Python of a peer's environment; a reason that it failed is its last line."""
    path, log = (os.path.join(folder, "%s-%s" % (name, spec["peer"])) for name in ("spec", "log"))
    with open(path, "w", encoding="ascii") as file:
        json.dump(dict(spec, threads=given.threads), file)
    environment = dict(os.environ, OMP_NUM_THREADS=str(given.threads), OPENBLAS_NUM_THREADS=str(given.threads))
    with open(log, "wb") as sink:
        done = subprocess.run([python_of(given, python), os.path.join(HERE, "peer_job.py"), path], stdout=subprocess.PIPE, stderr=sink,
                              env=environment, timeout=given.patience, check=False)
    if done.returncode != 0:
        with open(log, encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in file.read().replace("\r", "\n").split("\n") if line.strip()]
        raise RuntimeError("exit status %d: %s" % (done.returncode, lines[-1][:300] if lines else "said nothing"))
    return json.loads(done.stdout)


def wanted(given):
    return [name for name in PEERS["optq"] if not given.only or name in given.only.split(",")]


def installed(given):
    return [name for name in wanted(given) if given.peers and os.access(python_of(given, name), os.X_OK)]


def float_folder(given, folder, python):
    """The model as a folder that both sides read."""
    if os.path.isdir(given.model):
        return given.model
    out = os.path.join(folder, "source")
    if not os.path.exists(os.path.join(out, "config.json")):
        run_peer(given, python, {"peer": "folder", "model": os.path.abspath(given.model), "out": out}, folder)
    return out


def compare_evaluators(given, folder, python, model, windows):
    ours, path = evaluate(given, model), os.path.join(folder, "evaluation.ids")
    write_ids(path, windows)
    spec = {"peer": "torch", "model": model, "tokens": path, "samples": len(windows), "length": 512}
    theirs = run_peer(given, python, spec, folder)["perplexity"]
    rows.emit("job: perplexity of the source", ours, "perplexity", peer="torch, float32, same windows", peer_value=theirs, objective=ours, peer_objective=theirs)


def warm(given, peer, folder):
    """A first run on a tiny model: peers compile parts of themselves then, and one that cannot run here is known early. None, or why not."""
    ids = os.path.join(folder, "warm.ids")
    write_ids(ids, [[i % 500 + 1 for i in range(64)]] * 2)
    spec = {"peer": peer, "model": WARM, "tokens": ids, "samples": 2, "length": 64, "algorithm": "optq", "bits": 4, "group_size": 64, "dtype": "float32",
            "out": os.path.join(folder, "warm-" + peer)}
    try:
        run_peer(given, peer, spec, folder)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None


def beside(given, folder, model, algorithm, ours, ids, found):
    """Every peer of an algorithm; found: what `warm` said of those that are installed."""
    for peer in (name for name in PEERS[algorithm] if name in wanted(given)):
        for dtype in given.dtype.split(","):
            name = "job %s beside %s, %s" % (algorithm, peer, dtype)
            if found.get(peer, "not installed") is not None:
                rows.emit(name, ours["seconds"], "s", peer=peer, objective=ours["perplexity"], note="not measured: %s" % found.get(peer, "not installed"))
                continue
            out = os.path.join(folder, "%s-%s-%s" % (peer, algorithm, dtype))
            spec = {"peer": peer, "model": model, "tokens": ids, "samples": given.samples, "length": given.length, "algorithm": algorithm, "bits": given.bits,
                    "group_size": given.group_size, "dtype": dtype, "out": out}
            try:
                theirs = run_peer(given, peer, spec, folder)
                theirs["perplexity"] = evaluate(given, out)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                rows.emit(name, ours["seconds"], "s", peer=peer, objective=ours["perplexity"], note="not measured: %s" % error)
                continue
            both = {"peer": "%s %s" % (peer, theirs["version"]), "objective": ours["perplexity"], "peer_objective": theirs["perplexity"]}
            if ours is NOT_RUN:
                both["note"] = "ours not measured: run apart"
            rows.emit(name, ours["seconds"], "s", peer_value=theirs["seconds"], goal={"ratio": RATIO}, **both)
            rows.emit(name + ", processor seconds", ours["cpu_seconds"], "s", peer_value=theirs["cpu_seconds"], **both)
            rows.emit(name + ", peak memory", ours["peak_memory"], "bytes", peer_value=theirs["peak_memory"], **both)


def peers(given, folder):
    names = installed(given)
    if not names:
        for algorithm in given.algorithms.split(","):
            for peer in PEERS[algorithm]:
                rows.emit("job %s beside %s" % (algorithm, peer), None, "s", peer=peer,
                          note="not measured: not installed below %s" % (given.peers or "a folder that --peers names"))
        return
    model = float_folder(given, folder, names[0])
    with open(os.path.join(model, "config.json"), encoding="utf-8") as file:
        bos = json.load(file)["bos_token_id"]
    ids = os.path.join(folder, "calibration.ids")
    digest = write_ids(ids, spread(tokenize(model, given.calibration), bos, given.samples, given.length))
    found = {}
    if given.side != "peers":
        compare_evaluators(given, folder, names[0], model, in_turn(tokenize(model, given.evaluation), bos, given.windows, 512))
    if given.side != "ours":
        found = {name: warm(given, name, folder) for name in names}
    for algorithm in given.algorithms.split(","):
        ours = NOT_RUN if given.side == "peers" else on_the_same_grid(given, folder, model, algorithm, digest)
        if given.side != "ours":
            beside(given, folder, model, algorithm, ours, ids, found)


def on_the_same_grid(given, folder, model, algorithm, digest):
    ours = quantize(given, model, algorithm, SAME_GRID, os.path.join(folder, "ours-same-" + algorithm))
    if ours["tokens_sha256"] != digest:
        raise RuntimeError("the ids written for the peers are not those that quantd calibrates on")
    name = "job %s, the peers' grid and order" % algorithm
    rows.emit(name, ours["seconds"], "s", objective=ours["perplexity"])
    rows.emit(name + ", processor seconds", ours["cpu_seconds"], "s", objective=ours["perplexity"])
    rows.emit(name + ", peak memory", ours["peak_memory"], "bytes", objective=ours["perplexity"])
    return ours


def alone(given, folder):
    for algorithm in given.algorithms.split(","):
        ours = quantize(given, given.model, algorithm, {}, os.path.join(folder, "ours-" + algorithm))
        note = "%d x %d tokens, %d threads" % (given.samples, given.length, given.threads)
        whole = (given.samples, given.length) == (32, 2048)
        rows.emit("job %s" % algorithm, ours["seconds"], "s", objective=ours["perplexity"], note=note, **({"goal": {"value": SECONDS[algorithm]}} if whole else {}))
        rows.emit("job %s, processor seconds" % algorithm, ours["cpu_seconds"], "s", objective=ours["perplexity"], note=note)
        rows.emit("job %s, peak memory" % algorithm, ours["peak_memory"], "bytes", objective=ours["perplexity"], note=note)


def main():
    given = parse()
    folder = given.work or tempfile.mkdtemp(prefix="quantd-bench-job-")
    os.makedirs(folder, exist_ok=True)
    try:
        if given.peers is not None:
            peers(given, folder)
        else:
            alone(given, folder)
    finally:
        if not given.work:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
