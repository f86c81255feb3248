"""Peak memory and time of models of real shapes: random weights (make_synthetic_model.py), a job each on quantd run.

    QUANTD=build/quantd python3 tests/bench/bench_memory.py --text TEXT --tokenizer FOLDER [--cells 1b:2:optq:2e9,8b:1:optq:5e9] [--samples 2,4] \\
        [--length 2048] [--threads 2] [--work FOLDER] [--trace] [--only-quantizing]

A cell is SHAPE:BLOCKS:ALGORITHM:LIMIT, where LIMIT is limits.memory in bytes (0 = none). Every cell is run for each of --samples: that memory does not
grow with tokens is two lines side by side. Prints a JSON line a run: peak resident bytes (of all, and by phase), forecast and least memory, seconds
of a block, and what the whole model would take: seconds of its blocks, linear in blocks and in tokens (128 x 2048). Peaks by layer, and what of them
is memory or mapped files, are sampled from outside (--trace).
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import make_synthetic_model as synthetic  # noqa: E402

QUANTD = os.path.abspath(os.environ.get("QUANTD", "quantd"))
TARGET_TOKENS = 128 * 2048


class Watch(threading.Thread):
    """The largest resident size between two events, in bytes: all, private, of files."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.running = pid, (0, 0, 0), True

    def run(self):
        while self.running:
            try:
                with open("/proc/%d/status" % self.pid, encoding="ascii") as file:
                    found = dict(line.split(":", 1) for line in file)
                now = tuple(int(found[key].split()[0]) << 10 for key in ("VmRSS", "RssAnon", "RssFile"))
                self.peak = max(self.peak, now)
            except (OSError, KeyError, ValueError):
                return
            time.sleep(0.02)

    def take(self):
        peak, self.peak = self.peak, (0, 0, 0)
        return peak


def job_of(algorithm, limit, samples, length):
    job = {"model": "http://localhost/model", "effort": "reference", "algorithm": algorithm, "bits": 4, "group_size": 64, "calibration": {"samples": samples, "length": length},
           "evaluation": {"windows": 1, "length": min(length, 512)}}
    return dict(job, limits={"memory": int(limit)}) if limit else job


def stopped(child, watch, started):
    """What is known when the last layer is made."""
    with open("/proc/%d/status" % child.pid, encoding="ascii") as file:
        peak = [int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM")][0]
    watch.running = False
    child.terminate()
    child.wait()
    return {"peak_memory": peak, "seconds": {"quantizing": time.monotonic() - started}, "relative_error": None}


def run(model, job, given, folder):
    out, read, write = os.path.join(folder, "out"), *os.pipe()
    environment = dict(os.environ, OPENBLAS_NUM_THREADS="1")
    child = subprocess.Popen([QUANTD, "run", job, "--model", model, "--out", out, "--calibration-text", given.text, "--evaluation-text", given.text,
                              "--threads", str(given.threads), "--progress-fd", str(write)], pass_fds=[write], env=environment)
    os.close(write)
    watch, result, started = Watch(child.pid), None, time.monotonic()
    watch.start()
    for line in os.fdopen(read):
        event = json.loads(line)
        if event["event"] == "phase" and event["phase"] == "evaluating" and given.only_quantizing:
            return stopped(child, watch, started)
        if event["event"] in ("layer", "phase") and given.trace:
            print("  %-48s %7.0f MB = %6.0f private + %6.0f of files" % (
                (event.get("name", "") or "up to " + str(event.get("phase")),) + tuple(n / 1e6 for n in watch.take())), file=sys.stderr)
        result = event if event["event"] == "result" else result
    watch.running = False
    if child.wait() != 0:
        raise SystemExit("quantd run: status %d" % child.returncode)
    return result


def measure(cell, samples, given, folder):
    shape, blocks, algorithm, limit = cell.split(":")
    model, job = os.path.join(given.work or folder, "%s-%s" % (shape, blocks)), os.path.join(folder, "job.json")
    if not os.path.isdir(model):
        synthetic.make(model, shape, int(blocks), given.tokenizer)
    with open(job, "w", encoding="ascii") as file:
        json.dump(job_of(algorithm, float(limit), samples, given.length), file)
    result = run(model, job, given, folder)
    for name in ("out", "out.work"):
        shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
    tokens = samples * given.length
    block = result["seconds"]["quantizing"] / int(blocks)
    return {"name": "memory %s x%s %s" % (shape, blocks, algorithm), "limit": float(limit), "tokens": tokens, "peak_memory": result["peak_memory"],
            "by_phase": result.get("peak_memory_by_phase"), "seconds_per_block": round(block, 2), "seconds": result["seconds"],
            "projected_seconds": round(block * synthetic.SHAPES[shape][6]), "relative_error": result["relative_error"], "threads": given.threads}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--cells", default="1b:2:optq:2e9,1b:2:qronos:2e9,8b:1:optq:5e9,8b:1:qronos:5e9,70b:1:optq:16e9")
    parser.add_argument("--samples", default="2,4")
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", help="folder of models, made where they are missing and kept")
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--only-quantizing", action="store_true", help="stop before evaluation")
    given = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="quantd-memory-", dir=given.work)
    try:
        for cell in given.cells.split(","):
            for samples in given.samples.split(","):
                print(json.dumps(measure(cell, int(samples), given, folder)), flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
