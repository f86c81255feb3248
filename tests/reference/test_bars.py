"""The bars of the reference prototype: float and RTN perplexity two-sided, OPTQ, GPFQ and Qronos one-sided, on trained models; every layer's certificate.

Needs QUANTD_SHARED (models and texts that stay outside the tree); skipped without it, and in sanitizer builds.
The numbers are those of a float64 prototype under the same protocol: 64 windows of 512 tokens of calibration, one encode call a line.

OPTQ is held to (P), parity: reference + 5 % of its excess over float, the same calibration windows. GPFQ and Qronos (QUANTD_LONG_TESTS) are held to
(N), noise: + 15 %; whether they meet (P) is printed, and two cells do not. At 4 bits theirs is the mean of three calibration phases: 0.2 % of
bf16 weights lie exactly between two codes, and whatever decides one of them otherwise is carried on through the columns (a grid scaled by 1 - 1e-7
moved novella-15m between 63.97 and 64.44 before grid.h said what a tie is, while every layer's error stayed within 0.05 %).
"""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))
from harness import *  # noqa: E402,F403

WORK = temporary_folder()

W4_ASYM = {"bits": 4, "alphabet": {"kind": "int", "zero": "float"}, "group_size": 0, "scale": {"rule": "minmax", "type": "f32"}}
W3_ASYM = dict(W4_ASYM, bits=3)
W2_HIP_MAGR = {"bits": 2, "alphabet": {"kind": "int-asymmetric", "zero": "float"}, "group_size": 0,
               "scale": {"rule": "minmax", "type": "f32", "shrink": 0.8}, "transforms": [{"kind": "hadamard", "signs": "none"}, "magr"]}


def w3_g(group):
    return {"bits": 3, "alphabet": "int", "group_size": group, "scale": {"rule": "mse", "type": "f32"}}


def stories(parity):
    """Every second story, each after its own BOS, as one document; windows of the evaluated ones bring the first BOS."""
    text = open(os.path.join(SHARED, "data", "text", "tinystories-sample.txt"), encoding="utf-8").read()
    pieces = [piece.strip() for piece in text.split("<|endoftext|>")]
    path = os.path.join(WORK, "stories-%d.txt" % parity)
    with open(path, "w", encoding="utf-8") as out:
        out.write("<s>" * (parity == 0) + "<s>".join([p for p in pieces if p][parity::2]))
    return path


def novella_texts():
    folder = os.path.join(SHARED, "data", "text")
    return os.path.join(folder, "novella-calibration.txt"), os.path.join(folder, "middlemarch.txt"), "lines"


def stories_texts():
    return stories(0), stories(1), "whole"


# The prototype corrects the whole mismatch; its Qronos begins as first published, ours on the target in every column.
RTN = {"algorithm": "rtn"}
OPTQ = {"algorithm": "optq", "regularization": {"mean_diagonal": 0.01}}
GPFQ_BLOCK = {"algorithm": "gpfq", "mismatch": {"scope": "block", "shrink": 1}}
QRONOS_BLOCK = {"algorithm": "qronos", "regularization": {"spectral": 1e-6}, "mismatch": {"scope": "block", "shrink": 1, "start": "projected"}}
QRONOS_MODEL = {"algorithm": "qronos", "regularization": {"spectral": 1e-3}, "mismatch": {"scope": "model", "shrink": 1, "start": "projected"}}


def original(method):
    """With the start of the prototype."""
    return dict(method, mismatch=dict(method["mismatch"], start="original"))


def run_job(model, grid, texts, windows, phase, method=OPTQ):
    calibration, evaluation, split = texts
    job = dict(grid, model="file:///unused", effort="reference", order="norm-descending", **method,
               calibration={"samples": 64, "length": 512, "split": split, "phase": phase},
               evaluation={"length": 512, "windows": windows or None, "split": split, "baseline": None if phase else "rtn"}, format="safetensors:f32")
    folder = temporary_folder()
    path = os.path.join(folder, "job.json")
    json.dump(job, open(path, "w"))
    out = os.path.join(folder, "out")
    events = os.path.join(folder, "events")
    with open(events, "wb") as sink:
        done = subprocess.run([QUANTD, "run", path, "--out", out, "--model", os.path.join(SHARED, "models", model),
                               "--calibration-text", calibration, "--evaluation-text", evaluation,
                               "--progress-fd", str(sink.fileno())],
                              pass_fds=[sink.fileno()], stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    lines = [json.loads(line) for line in open(events)]
    result = next(line for line in lines if line["event"] == "result")  # a heartbeat may come after it
    return result, [line for line in lines if line["event"] == "layer"]


def near(got, want, share, what):
    assert abs(got - want) <= share * want, "%s: got %.4f, want %.4f within %.2f %%" % (what, got, want, 100 * share)


def check_layers(layers):
    for layer in layers:
        c = layer["certificate"]
        assert c["identity_resid"] < 1e-9, (layer["name"], c["identity_resid"])
        assert c["energy_sq"] <= c["overload_bound_sq"] * (1 + 1e-9), ("T2", layer["name"])
        assert c["clip_count"] > 0 or c["ratio"] <= 1, ("T1", layer["name"], c["ratio"])


def quantized_perplexity(model, name, grid, windows, method):
    """Mean over phases, each phase's, and the runs."""
    texts = stories_texts() if model == "stories260K" else novella_texts()
    phases = [0, 1 / 3, 2 / 3] if name == "w4_asym" and method is not OPTQ else [0]
    runs = [run_job(model, grid, texts, windows, phase, method) for phase in phases]
    quantized = [result["perplexity"]["quantized"] for result, _ in runs]
    for result, layers in runs:
        check_layers(layers)
        assert result["peak_memory"] < 600e6, "peak memory %.0f MB" % (result["peak_memory"] / 1e6)
    mean = sum(quantized) / len(quantized)
    return mean, ["%.4f" % q for q in quantized], runs


def judged(what, mean, each, parity, noise):
    print("# %s: %.4f, of phases %s; (P) <= %.2f %s, (N) <= %.2f" % (
        what, mean, each, parity, "met" if mean <= parity else "MISSED", noise), flush=True)
    assert mean <= noise, "%s: %.4f > %.2f" % (what, mean, noise)


def needs(name=None):
    if SHARED is None:
        raise Skip("QUANTD_SHARED is not set")
    if SLOW > 1:
        raise Skip("sanitizer build")
    if name is not None and not os.environ.get(name):
        raise Skip(name + " is not set")


def bars(model, name, grid, windows, source, rtn, parity):
    def claim():
        needs()
        optq, _, runs = quantized_perplexity(model, name, grid, windows, OPTQ)
        found = runs[0][0]["perplexity"]
        print("# %s %s: float %.4f (%.3f), RTN %.4f (%.2f), OPTQ %.4f (<= %.2f), identity residual <= %.1e, %.0f s, %.0f MB" % (
            model, name, found["source"], source, found["rtn"], rtn, optq, parity,
            max(layer["certificate"]["identity_resid"] for _, layers in runs for layer in layers),
            sum(runs[0][0]["seconds"].values()), max(result["peak_memory"] for result, _ in runs) / 1e6))
        assert optq <= parity, "OPTQ: %.4f > %.2f" % (optq, parity)
        near(found["source"], source, 0.0005, "float")
        near(found["rtn"], rtn, 0.003, "RTN")
    claim.__name__ = "%s_%s_is_within_the_bars" % (model.replace("-", "_"), name)
    return claim


def method_bars(model, name, grid, windows, limits):
    """limits: (method, parity, noise)."""
    def claim():
        needs("QUANTD_LONG_TESTS")
        for method, parity, noise in limits:
            mean, each, _ = quantized_perplexity(model, name, grid, windows, method)
            scope = method.get("mismatch", {}).get("scope", "")
            judged("%s %s %s %s" % (model, name, method["algorithm"], scope), mean, each, parity, noise)
    claim.__name__ = "%s_%s_of_every_method_is_within_the_bars" % (model.replace("-", "_"), name)
    return claim


run_claims([
    bars("novella-1m", "w4_asym", W4_ASYM, 200, 32.844, 35.96, 35.32),
    bars("novella-1m", "w3_asym", W3_ASYM, 200, 32.844, 53.47, 46.79),
    bars("novella-1m", "w3_g", w3_g(128), 200, 32.844, 44.93, 44.24),
    bars("novella-15m", "w4_asym", W4_ASYM, 100, 63.484, 64.80, 64.19),
    bars("novella-15m", "w3_asym", W3_ASYM, 100, 63.484, 70.20, 68.19),
    bars("stories260K", "w4_asym", W4_ASYM, 0, 4.933, 5.53, 5.32),
    bars("stories260K", "w3_asym", W3_ASYM, 0, 4.933, 11.00, 8.04),
    bars("stories260K", "w3_g", w3_g(32), 0, 4.933, 9.20, 7.43),
    method_bars("novella-1m", "w4_asym", W4_ASYM, 200,
                [(GPFQ_BLOCK, 34.75, 35.01), (QRONOS_BLOCK, 34.53, 34.79), (QRONOS_MODEL, 34.56, 34.82)]),
    method_bars("novella-1m", "w3_asym", W3_ASYM, 200,
                [(GPFQ_BLOCK, 47.61, 49.28), (QRONOS_BLOCK, 45.16, 46.49), (QRONOS_MODEL, 43.56, 44.67)]),
    method_bars("novella-1m", "w3_g", w3_g(128), 200,
                [(GPFQ_BLOCK, 42.89, 43.91), (QRONOS_BLOCK, 41.80, 42.67), (QRONOS_MODEL, 40.80, 41.55)]),
    method_bars("stories260K", "w4_asym", W4_ASYM, 0, [(GPFQ_BLOCK, 5.29, 5.33), (QRONOS_BLOCK, 5.23, 5.27), (QRONOS_MODEL, 5.24, 5.28)]),
    # MagR's H is of the float model in model scope; in block scope, of the float stream that starts anew at every block
    method_bars("novella-1m", "w2_hip_magr", W2_HIP_MAGR, 200,
                [(RTN, 169.75, 169.75), (OPTQ, 98.61, 107.35), (GPFQ_BLOCK, 94.62, 102.81), (original(QRONOS_BLOCK), 83.03, 89.61),
                 (original(QRONOS_MODEL), 73.15, 78.36)]),
    method_bars("stories260K", "w2_hip_magr", W2_HIP_MAGR, 0,
                [(RTN, 123.75, 123.75), (OPTQ, 35.67, 39.88), (GPFQ_BLOCK, 30.03, 33.45), (original(QRONOS_BLOCK), 19.39, 21.33),
                 (original(QRONOS_MODEL), 18.62, 20.46)]),
    method_bars("stories260K", "w3_asym", W3_ASYM, 0, [(GPFQ_BLOCK, 8.01, 8.38), (QRONOS_BLOCK, 7.29, 7.56), (QRONOS_MODEL, 7.27, 7.54)]),
    method_bars("stories260K", "w3_g", w3_g(32), 0, [(GPFQ_BLOCK, 7.32, 7.59), (QRONOS_BLOCK, 6.77, 6.97), (QRONOS_MODEL, 6.87, 7.08)]),
])
