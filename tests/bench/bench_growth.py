#!/usr/bin/env python3
"""How the cost of a block grows: with tokens at one width, with width at the same tokens; measured points and fitted exponents.

    QUANTD=build/quantd python3 tests/bench/bench_growth.py --text TEXT --tokenizer FOLDER [--algorithms optq,qronos] [--in tokens,width] [--quick]

Models of random weights (make_synthetic_model.py), 2 blocks, MLP four times as wide; 1 thread, processor seconds of the phase `quantizing`, divided by
blocks. An exponent is the slope of a least-squares line through the logarithms. Tokens are samples of one length, since attention grows with its square.
In tokens the forward pass and second moments are linear, and what rounds layers does not grow: beside the exponent stands the line through the points,
seconds without tokens and seconds a thousand of them. In width forward pass and moments are quadratic, factor and sweep cubic: the exponent lies between.
"""
import argparse
import math
import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bench_job  # noqa: E402
import make_synthetic_model as synthetic  # noqa: E402
import rows  # noqa: E402

BLOCKS, HEAD, VOCABULARY = 2, 64, 2048


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--algorithms", default="optq,qronos")
    parser.add_argument("--in", dest="what", default="tokens,width")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    given.widths, given.samples, given.length = ([64, 128], [2, 4], 64) if given.quick else ([256, 512, 1024, 2048], [8, 16, 32, 64, 128], 512)
    given.width, given.count = (64, 2) if given.quick else (512, 8)  # where the other one varies
    return given


def make(folder, width, tokenizer):
    path, name = os.path.join(folder, "width-%d" % width), "width %d" % width
    if not os.path.isdir(path):
        synthetic.SHAPES[name] = (width, 4 * width, width // HEAD, max(1, width // HEAD // 4), HEAD, VOCABULARY, BLOCKS, True)
        synthetic.make(path, name, BLOCKS, tokenizer)
    return path


def measure(given, folder, algorithm, width, samples):
    job = argparse.Namespace(bits=4, group_size=64, samples=samples, length=given.length, calibration=given.text, evaluation=given.text, threads=1, windows=1)
    done = bench_job.quantize(job, make(folder, width, given.tokenizer), algorithm, {}, os.path.join(folder, "out"))
    return done["cpu_seconds"] / BLOCKS, done["relative_error"]


def slope(points):
    xs, ys = ([math.log(max(value, 1e-9)) for value in column] for column in zip(*points))
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys)) / sum((a - x) ** 2 for a in xs)


def line(points):
    """(at zero, a unit, largest departure from the line as a share of the value), by least squares."""
    n = len(points)
    x, y = (sum(point[k] for point in points) / n for k in range(2))
    rate = sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)
    start = y - rate * x
    return start, rate, max(abs(start + rate * a - b) / max(b, 1e-9) for a, b in points)


def grow(given, folder, algorithm, what, values, cell):
    """Rows of one series and its exponent; cell(value) = (width, samples)."""
    points, unit = [], {"tokens": "tokens", "width": "features"}[what]
    for value in values:
        seconds, error = measure(given, folder, algorithm, *cell(value))
        x = value * given.length if what == "tokens" else value
        points.append((x, seconds))
        rows.emit("block, %s, %d %s" % (algorithm, x, unit), seconds, "s", objective=error,
                  plot={"chart": "growth of a block in " + what, "series": algorithm, "x": x, "x_unit": unit})
    last = slope(points[-2:])
    rows.emit("growth in %s, %s" % (what, algorithm), slope(points), "exponent", note="of the last two points: %.2f" % last)
    if what == "tokens":
        start, rate, away = line(points)
        rows.emit("block, %s, without tokens" % algorithm, start, "s", note="of the line through the points")
        rows.emit("block, %s, a thousand tokens" % algorithm, 1000 * rate, "s", note="of that line; no point is further from it than %.0f %%" % (100 * away))


def main():
    given = parse()
    folder = tempfile.mkdtemp(prefix="quantd-growth-")
    try:
        for algorithm in given.algorithms.split(","):
            for what in given.what.split(","):
                values, cell = {"tokens": (given.samples, lambda samples: (given.width, samples)),
                                "width": (given.widths, lambda width: (width, given.count))}[what]
                grow(given, folder, algorithm, what, values, cell)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
