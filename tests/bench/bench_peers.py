#!/usr/bin/env python3
"""Times the rounding of one layer beside the code that others published for it, from the same weights and second moments.

A peer and quantd's core (bench_layer, built by `make bench`) alternate in one run, each with one thread; what is printed are medians of the
CPU seconds, medians of the ratios of neighbours, and the objectives of both results, computed here in float64 from the codes alone. Nothing
of a peer is part of this tree: say where it is.

  --gptq FOLDER   a checkout of https://github.com/IST-DASLab/gptq: fasterquant() of its gptq.py, quantizer of its quant.py
  --brevitas      the package `brevitas` of this Python: single_layer_update() of its GPTQ, GPFQ and Qronos
Both need torch. Peers that are not named or not found are left out, and the last lines say so.

Included on both sides: scales where the peer searches them (GPTQ), order, damping, factor, target, sweep. Not: the second moments, packing.
`bare` is ours up to the codes; `certified` has the certificate too, which no peer has.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import types

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import rows as lines  # noqa: E402

OUTLIERS = 0.01  # share of input features that are twenty times as large as the others
DRIFT = 0.05  # of X~ from X, relative


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", default="tests/bench/bench_layer", help="the program bench_layer")
    parser.add_argument("--gptq", help="folder of the published GPTQ code")
    parser.add_argument("--brevitas", action="store_true", help="measure beside Brevitas")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--patience", type=float, default=120, help="seconds after which a setting gets no further repeat")
    parser.add_argument("--shapes", default="576x576,2048x2048,8192x2048", help="ROWSxCOLS,... (out x in)")
    parser.add_argument("--only", default="", help="settings whose name has this text")
    parser.add_argument("--json", action="store_true", help="lines for deploy/bench (README.md), not a table")
    return parser.parse_args()


class Problem:
    """Weights and moments of correlated inputs with outlier features, in two streams; seeded by the shape."""

    def __init__(self, rows, cols, folder):
        random = np.random.default_rng(rows * 65536 + cols)
        tokens, factors = cols + 1024, cols // 8
        mix = (random.standard_normal((factors, cols)) / np.sqrt(factors)).astype(np.float32)
        x = 0.5 * random.standard_normal((tokens, cols), dtype=np.float32)
        x += random.standard_normal((tokens, factors), dtype=np.float32) @ mix
        x[:, random.choice(cols, int(OUTLIERS * cols) + 1, replace=False)] *= 20
        drift = DRIFT * x * random.standard_normal((tokens, cols), dtype=np.float32)
        self.rows, self.cols, self.folder = rows, cols, folder
        self.w = (0.02 * random.standard_normal((rows, cols))).astype(np.float32)
        near = x - drift
        self.h, self.k, self.m = (
            (a.T.astype(np.float64) @ b.astype(np.float64)) / tokens for a, b in ((near, near), (drift, near), (drift, drift)))
        for name, value in (("w.f32", self.w), ("h.f64", self.h), ("k.f64", self.k), ("m.f64", self.m)):
            value.tofile(os.path.join(folder, name))

    def objective(self, quantized, mismatched):
        d = self.w.astype(np.float64) - quantized
        value = np.sum((d @ self.h) * d)
        if mismatched:
            w = self.w.astype(np.float64)
            value += np.sum((w @ self.m) * w) + 2 * np.sum((w @ self.k) * d)
        return float(value)


class Ours:
    def __init__(self, program, problem, algorithm, group, order, alphabet):
        self.problem, self.group, self.alphabet = problem, group or problem.cols, alphabet
        self.process = subprocess.Popen(
            [program, problem.folder, str(problem.rows), str(problem.cols), algorithm, str(group), order, alphabet],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, extent):
        self.process.stdin.write(extent + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit("bench_peers: bench_layer ended early")
        return json.loads(line)

    def finish(self):
        """The weights that the last run's codes stand for."""
        self.process.stdin.close()
        if self.process.wait() != 0:
            sys.exit("bench_peers: bench_layer failed")
        p = self.problem
        read = lambda name, kind: np.fromfile(os.path.join(p.folder, name), kind).reshape(p.rows, -1).astype(np.float64)
        low = -7 if self.alphabet == "narrow" else 0
        scale, zero = (np.repeat(read(name, np.float32), self.group, axis=1)[:, :p.cols] for name in ("scale.f32", "zero.f32"))
        return (read("codes.u8", np.uint8) + low - zero) * scale


class Gptq:
    """fasterquant() as published: percdamp 0.01, blocks of 128. Where groups are wanted they are static: the same grid as ours."""

    def __init__(self, folder, group, order):
        sys.path.insert(0, folder)
        # gptq.py wants these two only to recognize a layer of another library, and to wait for a GPU
        sys.modules.setdefault("transformers", types.SimpleNamespace(Conv1D=type("Conv1D", (), {})))
        import torch
        torch.cuda.synchronize = lambda *_: None
        import gptq
        import quant
        self.torch, self.gptq, self.quant = torch, gptq, quant
        self.options = dict(groupsize=group or -1, actorder=order != "natural", static_groups=group > 0)

    def run(self, problem):
        torch = self.torch
        layer = torch.nn.Linear(problem.cols, problem.rows, bias=False)
        layer.weight.data = torch.from_numpy(problem.w.copy())
        solver = self.gptq.GPTQ(layer)
        solver.H = torch.from_numpy(2 * problem.h).float()  # its H is 2 X^T X / m
        solver.quantizer = self.quant.Quantizer()
        solver.quantizer.configure(4, perchannel=True, sym=False, mse=False)
        sys.stdout.flush()
        silenced, sys.stdout = sys.stdout, open(os.devnull, "w")
        start = time.process_time()
        solver.fasterquant(blocksize=128, percdamp=0.01, **self.options)
        seconds = time.process_time() - start
        sys.stdout = silenced
        return seconds, layer.weight.data.numpy().astype(np.float64)


class Brevitas:
    """single_layer_update() with the moments put in, and a scale frozen from the weights before it: blocks of 128, not its 1/100th of
    the columns, since they are faster."""

    def __init__(self, algorithm, order):
        import torch
        from brevitas.graph.gpfq import GPFQ
        from brevitas.graph.gptq import GPTQ
        from brevitas.graph.qronos import Qronos
        self.torch, self.kind, self.order = torch, {"optq": GPTQ, "gpfq": GPFQ, "qronos": Qronos}[algorithm], order
        self.algorithm = algorithm

    def layer(self, problem):
        import brevitas.nn as qnn
        from brevitas.inject.enum import ScalingImplType
        from brevitas.quant import Int8WeightPerChannelFloat
        layer = qnn.QuantLinear(problem.cols, problem.rows, bias=False, weight_quant=Int8WeightPerChannelFloat,
                                weight_bit_width=4, weight_scaling_impl_type=ScalingImplType.PARAMETER_FROM_STATS,
                                weight_narrow_range=True)
        layer.weight.data = self.torch.from_numpy(problem.w.copy())
        layer.eval()
        layer.quant_weight()  # takes the scale
        return layer

    def run(self, problem):
        torch = self.torch
        with torch.no_grad():
            layer = self.layer(problem)
            options = {} if self.algorithm == "gpfq" else {"num_blocks": -(-problem.cols // 128)}
            solver = self.kind(layer, "layer", self.order != "natural", 1, True, **options)
            solver.H = torch.from_numpy(problem.h).float().unsqueeze(0)
            cross = problem.h + problem.k  # X^T X~
            solver.G = torch.from_numpy(cross.T.copy() if self.algorithm == "gpfq" else cross).float().unsqueeze(0)
            start = time.process_time()
            solver.single_layer_update()
            seconds = time.process_time() - start
            return seconds, layer.quant_weight().value.numpy().astype(np.float64)


def compare(arguments, problem, label, peer, algorithm, group, order, alphabet):
    ours = Ours(arguments.bench, problem, algorithm, group, order, alphabet)
    ours.run("bare")  # warms up
    rows, began = [], time.monotonic()
    while len(rows) < arguments.repeats and (not rows or time.monotonic() - began < arguments.patience):
        bare = ours.run("bare")
        seconds, quantized = peer.run(problem)
        rows.append((bare["cpu"], ours.run("certified")["cpu"], seconds))
    last = ours.run("certified")
    mismatched = algorithm in ("gpfq", "qronos")
    mine, theirs = problem.objective(ours.finish(), mismatched), problem.objective(quantized, mismatched)
    median = lambda values: statistics.median(list(values))
    if arguments.json:
        for at, extent in enumerate(("bare", "certified")):
            lines.emit(f"layer {label}, {problem.rows}x{problem.cols}, {extent}", median(r[at] for r in rows), "s", peer=type(peer).__name__,
                       peer_value=median(r[2] for r in rows), ratio=median(r[2] / r[at] for r in rows), objective=mine, peer_objective=theirs)
        return
    print("| {} | {}x{} | {} | {:.4f} | {:.4f} | {:.4f} | **{:.1f}** | {:.1f} | {:.6g} | {:.6g} | {} | {:.0f} |".format(
        label, problem.rows, problem.cols, len(rows), median(r[0] for r in rows), median(r[1] for r in rows), median(r[2] for r in rows),
        median(r[2] / r[0] for r in rows), median(r[2] / r[1] for r in rows), mine, theirs, last["precision"],
        last["peak_kib"] / 1024), flush=True)


def settings(arguments):
    """(name, peer's constructor, our algorithm, group size, order, alphabet)"""
    for group, order, name in ((0, "natural", "OPTQ, per row"), (128, "natural", "OPTQ, groups of 128"),
                               (0, "norm-descending", "OPTQ, per row, act-order")):
        if arguments.gptq:
            yield name, lambda g=group, o=order: Gptq(arguments.gptq, g, o), "optq", group, order, "int-asymmetric"
    if arguments.brevitas:
        for algorithm, name in (("optq", "OPTQ beside Brevitas"), ("qronos", "Qronos"), ("gpfq", "GPFQ")):
            yield name, lambda a=algorithm: Brevitas(a, "natural"), algorithm, 0, "natural", "narrow"


def head(arguments, missing):
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    print(f"{model}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; numpy {np.__version__}, {', '.join(missing)}; "
          f"medians of {arguments.repeats}, CPU seconds")
    print("\n| setting | out x in | n | ours, bare | ours, certified | peer | peer / bare | peer / certified | our objective | peer's "
          "| sweep | our peak, MiB |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")


def main():
    arguments = parse()
    missing = []
    try:
        import torch
        torch.set_num_threads(1)
        versions = [f"torch {torch.__version__}"]
    except ImportError:
        sys.exit("bench_peers: this Python has no torch: no peer can run")
    if arguments.brevitas:
        try:
            import brevitas
            versions.append(f"brevitas {brevitas.__version__}")
        except ImportError as error:
            arguments.brevitas = False
            missing.append(f"Brevitas was not measured: {error}")
    else:
        missing.append("Brevitas was not measured: --brevitas was not given")
    if arguments.gptq and not os.path.isfile(os.path.join(arguments.gptq, "gptq.py")):
        missing.append(f"GPTQ was not measured: there is no gptq.py in '{arguments.gptq}'")
        arguments.gptq = None
    elif not arguments.gptq:
        missing.append("GPTQ was not measured: --gptq FOLDER was not given")
    if not arguments.json:
        head(arguments, versions)
    for shape in arguments.shapes.split(","):
        rows, cols = (int(side) for side in shape.split("x"))
        with tempfile.TemporaryDirectory(prefix="bench-peers-") as folder:
            problem = Problem(rows, cols, folder)
            for name, make, *rest in settings(arguments):
                if arguments.only in name:
                    compare(arguments, problem, name, make(), *rest)
    if arguments.json:
        for reason in missing:
            lines.emit("layer beside " + reason.split()[0], None, "s", note="not measured: " + reason)
    else:
        print("\n" + "\n".join(missing) if missing else "")


if __name__ == "__main__":
    main()
