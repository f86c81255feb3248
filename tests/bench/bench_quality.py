"""Fills the tables of QUALITY.md: perplexity and output error of every method on every grid, beside what a prototype and a peer reached.

    QUANTD=build/quantd QUANTD_SHARED=… python3 tests/bench/bench_quality.py --results FILE [--jobs N] [--only TEXT]... [--write FILE.md]

--results keeps one JSON line a run, so that an interrupted bench goes on; a line is made once for a version of quantd. --only runs the cells whose
name "model setting method" contains the text; --write renders all results there are. One thread a run, N runs at a time.

e is the mean over all linear layers of ||Y - Y~||^2 / ||Y||^2, each model running by itself on the first 8 evaluation windows, by numpy.
"""
import argparse
import concurrent.futures
import os
import platform
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "reference"))
from protocol import *  # noqa: E402,F403

try:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import numpy as np
except ImportError:
    sys.exit("bench_quality.py needs numpy")

from decoder import Decoder, array, tensors_of  # noqa: E402

PUBLISHED = ["rtn", "optq", "gpfq-block", "qronos-block", "qronos-block-1e-3", "qronos-model-1e-6", "qronos-model", "qronos-original"]
AUTOMATIC = {"optq-auto-damping": "optq", "optq-auto-order": "optq", "qronos-auto-damping": "qronos-model", "qronos-auto-order": "qronos-model"}
PRESETS = ["fast", "balanced", "best"]
PHASES = [0, 1 / 3, 2 / 3]
E_WINDOWS = 8
TABLES = {
    "novella-1m": ["w4-asym", "w3-asym", "w4-g", "w3-g", "q4_0", "w2-hip-magr", "w1.58-hip-magr", "ternary-hip-magr"],
    "novella-7m": ["w4-asym", "w3-asym", "w2-hip-magr"],
    "novella-15m": ["w4-asym", "w3-asym", "w2-hip-magr"],
    "stories260K": ["w4-asym", "w3-asym", "w3-g", "q4_0", "w2-hip-magr"],
}
# One of three phases proves little; where bars are means, all three are run.
REPEATED = {("novella-1m", "w4-asym"): PUBLISHED + list(AUTOMATIC) + ["all"] + PRESETS,
            ("novella-1m", "w3-asym"): ["optq", "qronos-block", "qronos-model", "balanced"] + list(AUTOMATIC),
            ("novella-1m", "w2-hip-magr"): ["balanced", "qronos-block"], ("novella-7m", "w3-asym"): ["balanced"],
            ("novella-7m", "w2-hip-magr"): ["balanced"]}
# Too slow for every row of the table on two cores.
SHORT = {"novella-7m": ["rtn", "optq", "qronos-block", "all-model", "fast", "balanced"],
         "novella-15m": ["rtn", "optq", "gpfq-block", "qronos-block", "qronos-model", "all", "balanced"]}


# ---- one run ----

def evaluation_ids(model, folder):
    """The first windows of the evaluation text, as the protocol cuts them."""
    _, path, split = texts(model, folder)
    text = open(path, encoding="utf-8").read()
    pieces = text.splitlines(keepends=True) if split == "lines" else [text]
    request = "".join(json.dumps({"text": piece}) + "\n" for piece in pieces[:4000])
    done = subprocess.run([QUANTD, "tokenize", os.path.join(SHARED, "models", model)], input=request.encode(), stdout=subprocess.PIPE, check=True)
    ids = [i for line in done.stdout.splitlines() for i in json.loads(line)["ids"]]
    bos = 1 if model == "stories260K" else 0
    ids = ids if split == "whole" else [bos] + ids
    windows = np.array(ids[:512 * E_WINDOWS]).reshape(-1, 512).copy()
    windows[:, 0] = bos
    return windows


def output_error(model, artifact, ids):
    """e of every linear layer, averaged."""
    decoder, found = Decoder(os.path.join(SHARED, "models", model)), tensors_of(artifact)
    errors = []

    def original(name):
        return decoder.get(name if name in decoder.tensors else name + ".weight")

    def quantized(name):
        name = name if name in found else name + ".weight"
        return array(found[name]).astype(float) if name in found else decoder.get(name)
    def outputs(window, weight):
        """Of every linear layer, by name."""
        seen = {}
        decoder.walk(window[None], weight, lambda layers, x: seen.update((name, x[0] @ weight(name).T) for name in layers))
        return seen

    for window in ids:
        wanted, got = outputs(window, original), outputs(window, quantized)
        errors.append([(((wanted[name] - got[name]) ** 2).sum(), (wanted[name] ** 2).sum()) for name in sorted(wanted)])
    sums = np.array(errors).sum(0)
    return float((sums[:, 0] / sums[:, 1]).mean())


def more_windows(artifact, model, folder):
    """Perplexity on 200 windows, where the peer's figures are those."""
    _, evaluation, split = texts(model, folder)
    done = subprocess.run([QUANTD, "eval", artifact, "--text", evaluation, "--length", "512", "--windows", "200", "--split", split, "--threads", "1"],
                          stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)["perplexity"]


def run_cell(cell):
    model, grid, method, phase = cell
    folder = temporary_folder()
    out = os.path.join(folder, "artifact")
    result, layers, seconds = run_job(model, recipe(model, grid, method), phase=phase, baseline=None, out=out, threads=1)
    certificates = [layer["certificate"] for layer in layers]
    line = {"model": model, "setting": grid, "method": method, "phase": phase, "perplexity": result["perplexity"]["quantized"],
            "source": result["perplexity"]["source"], "seconds": seconds, "phases": result["seconds"],
            "peak_memory": result["peak_memory"], "identity": max(c["identity_resid"] for c in certificates),
            "e": output_error(model, out, evaluation_ids(model, folder)) if phase == 0 else None}
    if model == "novella-15m" and (model, grid) in PEER and method == "qronos-block":
        line["perplexity_200"] = more_windows(out, model, folder)
    shutil.rmtree(folder)
    return line


# ---- which cells ----

def version():
    return subprocess.run([QUANTD, "--version"], stdout=subprocess.PIPE, check=True).stdout.decode().strip()


def cells():
    for model, grids in TABLES.items():
        for grid in grids:
            for method in SHORT.get(model, PUBLISHED + ["all", "all-model"] + PRESETS):
                for phase in PHASES if method in REPEATED.get((model, grid), []) else [0]:
                    yield model, grid, method, phase
    yield "novella-1m", "int4-g32", "qronos-block", 0
    for grid in ("w4-asym", "w3-asym"):
        for method in AUTOMATIC:
            yield "stories260K", grid, method, 0
            for phase in PHASES:
                yield "novella-1m", grid, method, phase


def key(line):
    return line["model"], line["setting"], line["method"], round(line["phase"], 3)


def read_results(path):
    lines = [json.loads(line) for line in open(path)] if os.path.exists(path) else []
    return {key(line): line for line in lines}


def fill(arguments):
    found = read_results(arguments.results)
    wanted = [c for c in cells() if c[:3] + (round(c[3], 3),) not in found and (not arguments.only or any(o in " ".join(c[:3]) for o in arguments.only))]
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool, open(arguments.results, "a") as sink:
        for done in concurrent.futures.as_completed([pool.submit(run_cell, c) for c in wanted]):
            if done.exception() is not None:
                print("FAILED: %s" % done.exception(), flush=True)
                continue
            line = done.result()
            sink.write(json.dumps(line) + "\n")
            sink.flush()
            print("%-12s %-18s %-18s %.2f: %.4f, e %s, %.0f s" % (*key(line), line["perplexity"], line["e"], line["seconds"]), flush=True)


# ---- the report ----

def mean(found, model, grid, method):
    runs = [line for line in found.values() if (line["model"], line["setting"], line["method"]) == (model, grid, method)]
    if not runs:
        return None
    return sum(r["perplexity"] for r in runs) / len(runs), runs


def verdict(value, limits):
    reference, parity, noise = limits
    return "met" if value <= parity else "within noise" if value <= noise else "**MISSED**"


def cell_text(found, model, grid, method):
    got = mean(found, model, grid, method)
    if got is None:
        return ""
    value, runs = got
    e = [r["e"] for r in runs if r["e"] is not None]
    text = "%.2f" % value + (" / %.4f" % e[0] if e else "") + (" (%d phases)" % len(runs) if len(runs) > 1 else "")
    return text


def main_tables(found, out):
    for model, grids in TABLES.items():
        runs = [line for line in found.values() if line["model"] == model]
        if not runs:
            continue
        windows = MODELS[model][0]
        out.append("### %s, %s windows (float %.3f)\n" % (model, windows or "all", runs[0]["source"]))
        out.append("| method | " + " | ".join(grids) + " |\n|---|" + "---|" * len(grids))
        for method in METHODS:
            row = [cell_text(found, model, grid, method) for grid in grids]
            if any(row):
                out.append("| %s | " % method + " | ".join(row) + " |")
        out.append("")


def bar_table(found, out):
    out.append("| model | setting | method | reference | parity | noise | here | |\n|---|---|---|---|---|---|---|---|")
    for (model, grid), methods in BARS.items():
        for method in methods:
            limits = bar(model, grid, method)
            got = mean(found, model, grid, method)
            value = got[0] if got else None
            here = ("%.3f" % value, verdict(value, limits)) if value is not None else ("", "not run")
            out.append("| %s | %s | %s | %.2f | %.2f | %.2f | %s | %s |" % (model, grid, method, *limits, *here))
    out.append("")


def peer_table(found, out):
    out.append("| model | setting | Brevitas Qronos | ours | ratio |\n|---|---|---|---|---|")
    for (model, grid), figures in PEER.items():
        got = mean(found, model, grid, "qronos-block")
        if got is None:
            continue
        values = [r.get("perplexity_200", r["perplexity"]) for r in got[1] if model == "novella-1m" or "perplexity_200" in r]
        if values:
            ours = sum(values) / len(values)
            out.append("| %s | %s | %.3f | %.3f | %.4f |" % (model, grid, figures[3], ours, ours / figures[3]))
    out.append("")


def automatic_table(found, out):
    """The automatic rules against what they replace, over the same phases."""
    out.append("| model | setting | rule | with it | without | ratio |\n|---|---|---|---|---|---|")
    for model, grids in TABLES.items():
        for grid in grids:
            for method, base in AUTOMATIC.items():
                one, other = mean(found, model, grid, method), mean(found, model, grid, base)
                if one and other:
                    out.append("| %s | %s | %s | %.3f (%d) | %.3f (%d) | %.4f |" % (model, grid, method, one[0], len(one[1]), other[0],
                                                                                  len(other[1]), one[0] / other[0]))
    out.append("")


def order_table(found, out):
    """reference-numbers: RTN > OPTQ > Qronos in perplexity and in e, everything below RTN, `all` below Qronos."""
    wrong = []
    for model, grids in TABLES.items():
        for grid in grids:
            values = {m: mean(found, model, grid, m) for m in METHODS}
            values = {m: v[0] for m, v in values.items() if v is not None}
            errors = {line["method"]: line["e"] for line in found.values() if (line["model"], line["setting"]) == (model, grid) and line["e"] is not None}
            if "rtn" not in values or "optq" not in values:
                continue
            rtn = values.pop("rtn")
            wrong += ["%s %s: %s %.3f is above RTN %.3f" % (model, grid, m, v, rtn) for m, v in values.items() if v >= rtn]
            slack = 1.005 if (model, grid) == ("novella-15m", "w2-hip-magr") else 1.0
            if grid in ("w3-asym", "w2-hip-magr") and values.get("qronos-block", 0) > values["optq"] * slack:
                wrong.append("%s %s: Qronos %.3f is above OPTQ %.3f" % (model, grid, values["qronos-block"], values["optq"]))
            wrong += ["%s %s: e of %s %.4f is above %s's %.4f" % (model, grid, low, errors[low], high, errors[high])
                      for low, high in (("qronos-block", "optq"), ("optq", "rtn")) if errors.get(low, 0) > errors.get(high, 1e9)]
            if "all" in values and "qronos-block" in values and grid in ("w3-asym", "w2-hip-magr") and model.startswith("novella"):
                source = [line["source"] for line in found.values() if line["model"] == model][0]
                share = (values["all"] - source) / (values["qronos-block"] - source)
                (out if share <= 0.8 else wrong).append("- %s %s: `all` leaves %.0f %% of Qronos' excess over float." % (model, grid, 100 * share))
    out.append("\nOrders that do not hold:\n\n" + "\n".join("- " + w.lstrip("- ") for w in wrong) if wrong else "\nEvery other order holds.")
    out.append("")


def cost_table(found, out):
    out.append("| model | setting | method | seconds to quantize | peak memory, MB | identity residual |\n|---|---|---|---|---|---|")
    for (model, grid, method, phase), line in sorted(found.items()):
        if phase == 0 and method in ("optq", "qronos-block", "qronos-model", "all-model") + tuple(PRESETS):
            out.append("| %s | %s | %s | %.1f | %.0f | %.1e |" % (model, grid, method, line["phases"].get("quantizing", float("nan")),
                                                                line["peak_memory"] / 1e6, line["identity"]))
    out.append("")


def render(found):
    out = ["## Perplexity / e\n"]
    main_tables(found, out)
    out.append("## Bars\n")
    bar_table(found, out)
    out.append("## The peer\n")
    peer_table(found, out)
    out.append("## Automatic rules\n")
    automatic_table(found, out)
    out.append("## Orders\n")
    order_table(found, out)
    out.append("## Cost\n\nOne thread a run, two runs at a time; %s; %s.\n" % (platform.machine(), version()))
    cost_table(found, out)
    return "\n".join(out)


MARK = "<!-- Below: written by bench_quality.py --write; edit above. -->\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--results", required=True)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--write")
    parser.add_argument("--no-runs", action="store_true")
    arguments = parser.parse_args()
    if SHARED is None:
        sys.exit("QUANTD_SHARED is not set: the models and texts stay outside the tree")
    if not arguments.no_runs:
        fill(arguments)
    if arguments.write:
        text = open(arguments.write).read() if os.path.exists(arguments.write) else MARK
        text = text[:text.index(MARK) + len(MARK)] + "\n" + render(read_results(arguments.results))
        open(arguments.write, "w").write(text)


main()
