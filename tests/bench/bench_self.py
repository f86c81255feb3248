"""What calibration on the model's own sequences costs against calibration on text: perplexity on text that neither saw.

    QUANTD=build/quantd QUANTD_SHARED=FOLDER python3 tests/bench/bench_self.py --results self.jsonl --write tests/bench/QUALITY.md

--model NAME=FOLDER_OR_GGUF adds a model; --only 'novella-15m optq' runs a part; it goes on where it was interrupted. --label NAME sets the runs of a
build with another rule of drawing (core/engine/samples.c) beside the others. Of text the phase, of `self` the seed varies.
"""
import argparse
import os
import shutil
import statistics
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "reference"))
from protocol import *  # noqa: E402,F403

BEGIN, END = "<!-- self: written by bench_self.py --write -->", "<!-- self: end -->"
GRIDS = {"w4-g": 4, "w3-g": 3}
METHODS_HERE = ["rtn", "optq", "qronos-model", "balanced"]
SEEDS = 2


def text(name):
    return os.path.join(SHARED, "data", "text", name)


# name: (folder, calibration texts, evaluation text, windows, sequences, tokens of each)
SETTINGS = {
    "novella-15m": (os.path.join(SHARED, "models", "novella-15m"), ["novella-calibration.txt", "wikitext-2-raw.valid.raw"], "middlemarch.txt", 40, 64, 512),
}
ADDED = (["wikitext-2-raw.valid.raw", "c4-sample.txt"], "wikitext-2-raw.test.raw", 8, 16, 256)


def keep_samples(work, kept):
    """The run's samples, as soon as they are there: another method of the same seed need not draw them again."""
    made = os.path.join(work, "samples-calibration.safetensors")
    while not keep_samples.done.wait(0.2):
        if os.path.exists(made):
            shutil.copyfile(made, kept + ".part")
            os.rename(kept + ".part", kept)
            return


def run(model, grid, method, calibration, seed, kept_folder, threads):
    folder, _, evaluation, windows, sequences, length = SETTINGS[model]
    where, self_made = temporary_folder(), calibration.startswith("self")
    made = dict({"bits": GRIDS[grid], "alphabet": "int", "group_size": 128, "scale": {"rule": "mse", "type": "f32"}}, **METHODS[method])
    job = dict(made, model="file:///unused", format="safetensors:f32", seed=seed,
               calibration=dict({"samples": sequences, "length": length}, **({"source": "self"} if self_made else {"split": "lines", "phase": seed / 3})),
               evaluation={"length": 512, "windows": windows, "split": "lines", "baseline": None})
    path, events, work = (os.path.join(where, name) for name in ("job.json", "events", "work"))
    json.dump(job, open(path, "w"))
    os.makedirs(work)
    kept, keeper = os.path.join(kept_folder, "%s-%s-%d.safetensors" % (model, calibration, seed)), None
    if self_made and os.path.exists(kept):
        shutil.copyfile(kept, os.path.join(work, "samples-calibration.safetensors"))
    elif self_made:
        keep_samples.done = threading.Event()
        keeper = threading.Thread(target=keep_samples, args=(work, kept))
        keeper.start()
    command = [QUANTD, "run", path, "--out", os.path.join(where, "out"), "--work", work, "--model", folder, "--evaluation-text", text(evaluation),
               "--progress-fd", "3"] + ([] if self_made else ["--calibration-text", text(calibration)]) + (["--threads", str(threads)] if threads else [])
    with open(events, "wb") as sink:
        done = subprocess.run(["sh", "-c", 'exec "$@" 3>"$0"', events] + command, stderr=subprocess.PIPE)
    if keeper is not None:
        keep_samples.done.set()
        keeper.join()
    if done.returncode != 0:
        raise SystemExit(done.stderr.decode()[-2000:])
    rows = [json.loads(line) for line in open(events)]
    result = [row for row in rows if row["event"] == "result"][-1]
    drawn = [row for row in rows if row["event"] == "progress" and row["unit"] == "tokens"]
    shutil.rmtree(where)
    return {"perplexity": result["perplexity"]["quantized"], "source": result["perplexity"]["source"],
            "kl": result["kl"]["quantized"]["mean"] if result["kl"] else None, "seconds": result["seconds"]["quantizing"], "drew": bool(drawn)}


def cells(labels):
    for model, (_, texts_of, *_) in SETTINGS.items():
        for grid in GRIDS:
            yield model, grid, "rtn", texts_of[0], 0
            for method in METHODS_HERE[1:]:
                for calibration in texts_of + labels:
                    for seed in range(SEEDS):
                        yield model, grid, method, calibration, seed


def table(rows):
    out = []
    for model, (_, texts_of, evaluation, windows, sequences, length) in SETTINGS.items():
        mine = {tuple(row["cell"][1:]): row for row in rows if row["cell"][0] == model}
        if not mine:
            continue
        columns = [c for c in texts_of + sorted({cell[2] for cell in mine} - set(texts_of))]
        first = next(iter(mine.values()))
        out += ["", "### %s: calibrated on %d x %d tokens, %d windows of %s (float %.3f)" % (model, sequences, length, windows, evaluation, first["source"]), "",
                "| grid | method | " + " | ".join(columns) + " |", "|---|---|" + "---|" * len(columns)]
        for grid in GRIDS:
            for method in METHODS_HERE:
                line = []
                for calibration in columns:
                    found = [mine[key] for key in mine if key[:3] == (grid, method, calibration)]
                    p = [row["perplexity"] for row in found]
                    spread = " ± %.2f" % statistics.stdev(p) if len(p) > 1 else ""
                    line.append("%.2f%s / %.4f" % (statistics.mean(p), spread, statistics.mean(row["kl"] for row in found)) if p else "")
                if any(line):
                    out.append("| %s | %s | " % (grid, method) + " | ".join(line) + " |")
    return "\n".join(out) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--results", default="self.jsonl")
    parser.add_argument("--only", default="")
    parser.add_argument("--label", default="")
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--write")
    options = parser.parse_args()
    for added in options.model:
        name, folder = added.split("=", 1)
        SETTINGS[name] = (folder,) + ADDED
    label = "self" + ("-" + options.label if options.label else "")
    rows = [json.loads(line) for line in open(options.results)] if os.path.exists(options.results) else []
    done = {tuple(row["cell"]) for row in rows}
    kept = options.results + ".samples"
    os.makedirs(kept, exist_ok=True)
    for cell in cells([label]):
        if cell in done or any(word not in " ".join(map(str, cell)) for word in options.only.split()):
            continue
        row = dict(run(*cell[:5], kept, options.threads), cell=cell)
        rows.append(row)
        with open(options.results, "a") as out:
            out.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)
    if options.write:
        page = open(options.write).read()
        before, rest = page.split(BEGIN)
        open(options.write, "w").write(before + BEGIN + "\n" + table(rows) + "\n" + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
