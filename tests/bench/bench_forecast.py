"""How good forecasts are: jobs on a real quantd, one after the other, each with its forecast beside what it took.

    QUANTD=build/quantd QUANTD_SHARED=... python3 tests/bench/bench_forecast.py [--models novella-1m,novella-7m] [--efforts reference,balanced]

Prints a line a job: forecast over actual of seconds (as it was made, with the factor of the jobs before it), memory and disk, and a line of the
least, the median and the largest at the end.
"""
import argparse
import os
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))
import harness  # noqa: E402


def request_of(models, model, algorithm, effort, samples, length):
    return {"model": models.model(model), "algorithm": algorithm, "effort": effort, "bits": 4, "group_size": 64,
            "calibration": {"samples": samples, "length": length}, "evaluation": {"length": length, "windows": 8}}


def measure(server, request):
    job = server.succeed(request, seconds=3600)
    forecast, result = job["forecast"], job["result"]
    took = sum(seconds for phase, seconds in result["seconds"].items() if phase != "downloading")
    return {"seconds": forecast["seconds"]["total"] / took, "memory": forecast["peak_memory"] / result["peak_memory"],
            "artifact": forecast["disk"]["artifact"] / result["size"], "took": took, "factor": forecast["factor"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="novella-1m,novella-7m")
    parser.add_argument("--efforts", default="reference,balanced")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--length", type=int, default=256)
    given = parser.parse_args()
    models = harness.ModelServer(os.path.join(harness.SHARED, "models") if harness.SHARED else os.path.dirname(harness.MODEL))
    server = harness.Server("--workers", "1")
    found = []
    print("%-12s %-8s %-10s %9s %8s %8s %8s %8s" % ("model", "", "effort", "seconds", "factor", "seconds", "memory", "artifact"))
    for model in given.models.split(","):
        for algorithm in ("rtn", "optq", "qronos"):
            for effort in given.efforts.split(","):
                if algorithm == "rtn" and effort != given.efforts.split(",")[0]:
                    continue  # presets change nothing of it
                row = measure(server, request_of(models, model, algorithm, effort, given.samples, given.length))
                found.append(row)
                print("%-12s %-8s %-10s %9.1f %8.2f %8.2f %8.2f %8.3f" % (
                    model, algorithm, effort, row["took"], row["factor"], row["seconds"], row["memory"], row["artifact"]), flush=True)
    for key in ("seconds", "memory", "artifact"):
        values = [row[key] for row in found]
        print("%-9s forecast / actual: %.2f to %.2f, median %.2f" % (key, min(values), max(values), statistics.median(values)))


if __name__ == "__main__":
    main()
