"""Fills "bfloat16 beside float32" of SPEED.md: what calibration in bfloat16 products costs in quality, on the protocol of tests/reference.

    QUANTD=build/quantd QUANTD_SHARED=… python3 tests/bench/bench_arithmetic.py --results FILE [--only TEXT]... [--windows N] [--phases N] [--write FILE.md]

A row is one model, grid and method in both arithmetics: the same job but for `arithmetic`, same texts and windows; models are evaluated in float32
either way. Each is run at N phases of the calibration windows' spacing; a row shows means, and of the paired differences the standard error. error: mean over layers of the relative error on the calibration streams, each in its own arithmetic. --results keeps one JSON line a run,
so that an interrupted bench goes on. --only runs the cells whose name "model grid method" contains the text; --windows: on how many
windows perplexity is measured, where not on the protocol's. --write puts the table between the marks of FILE.md.
"""
import argparse
import os
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "reference"))
from protocol import *  # noqa: E402,F403

MODELS_SHOWN = ["novella-1m", "novella-15m", "stories260K"]
GRIDS = ["w4-g", "w3-g"]
SHOWN = {"optq": "OPTQ, reference", "qronos-block": "Qronos, reference", "balanced": "Qronos, balanced"}
ARITHMETICS = ["float32", "bfloat16"]
BEGIN, END = "<!-- arithmetic: begin -->", "<!-- arithmetic: end -->"


def read_lines(path):
    lines = [json.loads(line) for line in open(path, encoding="utf-8")] if os.path.exists(path) else []
    return {(line["model"], line["grid"], line["method"], line["arithmetic"], line["phase"]): line for line in lines}


def run_cell(model, grid, method, arithmetic, phase):
    result, layers, seconds = run_job(model, dict(recipe(model, grid, method), arithmetic=arithmetic), phase, baseline=None, threads=1)
    assert result["arithmetic"] == arithmetic
    statuses = {}
    for layer in layers:
        status = layer["certificate"]["status"]
        statuses[status] = statuses.get(status, 0) + 1
    return {"model": model, "grid": grid, "method": method, "arithmetic": arithmetic, "phase": phase, "source": result["perplexity"]["source"],
            "perplexity": result["perplexity"]["quantized"], "error": sum(layer["error"]["calibration"] for layer in layers) / len(layers),
            "statuses": statuses, "degraded": result["degraded_layers"], "windows": MODELS[model][0], "seconds": seconds}


def run_missing(path, only, phases, found):
    keys = [(model, grid, method, arithmetic, phase) for model in MODELS_SHOWN for grid in GRIDS for method in SHOWN for phase in phases
            for arithmetic in ARITHMETICS]
    for key in keys:
        name = " ".join(key[:3])
        if key in found or only and not any(text in name for text in only):
            continue
        found[key] = run_cell(*key)
        with open(path, "a", encoding="utf-8") as out:
            out.write(json.dumps(found[key]) + "\n")
        print(name, *key[3:], found[key]["perplexity"], found[key]["error"], flush=True)


def statuses_text(lines):
    counts = {}
    for line in lines:
        for status, count in line["statuses"].items():
            counts[status] = counts.get(status, 0) + count
    degraded = sum(line["degraded"] for line in lines)
    return ", ".join("%d %s" % (count, status) for status, count in sorted(counts.items())) + (", %d degraded" % degraded if degraded else "")


def mean(lines, name):
    return sum(line[name] for line in lines) / len(lines)


def row(title, pairs):
    plain, rounded = ([pair[i] for pair in pairs] for i in (0, 1))
    differences = [b["perplexity"] - a["perplexity"] for a, b in pairs]
    spread = "%.3f" % (statistics.stdev(differences) / len(pairs) ** 0.5) if len(pairs) > 1 else "?"
    return "| %s | %s | %d | %.3f | %.3f | %.3f | %+.3f ± %s | %.5f | %.5f | %s | %s |" % (
        title, plain[0]["windows"] or "all", len(pairs), plain[0]["source"], mean(plain, "perplexity"), mean(rounded, "perplexity"),
        sum(differences) / len(pairs), spread, mean(plain, "error"), mean(rounded, "error"), statuses_text(plain), statuses_text(rounded))


def table(found, phases):
    rows = ["| model | grid | method | windows | phases | perplexity of source | float32 | bfloat16 | difference | error, float32 | bfloat16 | "
            "certificates, float32 | bfloat16 |", "|---|---|---|---|---|---|---|---|---|---|---|---|---|"]
    for model in MODELS_SHOWN:
        for grid in GRIDS:
            for method, title in SHOWN.items():
                pairs = [[found.get((model, grid, method, arithmetic, phase)) for arithmetic in ARITHMETICS] for phase in phases]
                pairs = [pair for pair in pairs if None not in pair]
                if pairs:
                    rows.append(row("%s | %s | %s" % (model, grid, title), pairs))
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--results", required=True)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--windows", type=int)
    parser.add_argument("--phases", type=int, default=1)
    parser.add_argument("--write")
    options = parser.parse_args()
    if options.windows:
        MODELS.update({model: (options.windows, MODELS[model][1]) for model in MODELS_SHOWN})
    found = read_lines(options.results)
    phases = [i / options.phases for i in range(options.phases)]
    run_missing(options.results, options.only, phases, found)
    rows = table(found, sorted({key[4] for key in found}))
    print("\n".join(rows))
    if options.write:
        text = open(options.write, encoding="utf-8").read()
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        with open(options.write, "w", encoding="utf-8") as out:
            out.write(before + BEGIN + "\n" + "\n".join(rows) + "\n" + END + after)


if __name__ == "__main__":
    main()
