"""How good forecasts are: jobs on a real quantd, one after the other, each with its forecast beside what it took.

    QUANTD=build/quantd QUANTD_SHARED=... python3 tests/bench/bench_forecast.py [--models novella-1m,novella-7m] [--efforts reference,balanced]

Prints a line a job: what it took over its forecast (as that was made, with the factor of the jobs before it) of seconds, memory and disk, whether the
seconds lay within the forecast's range, and what each leg of the run took over what is expected of it; the least, the median and the largest
at the end. --json FILE writes them. --rounds runs all jobs so many times: what the first round taught shows in the second.
"""
import argparse
import json
import os
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))
import harness  # noqa: E402


def request_of(models, model, algorithm, effort, samples, length):
    return {"model": models.model(model), "algorithm": algorithm, "effort": effort, "bits": 4, "group_size": 64,
            "calibration": {"samples": samples, "length": length}, "evaluation": {"length": length, "windows": 8}}


def measure(server, request):
    """The record's own comparison: what the run took over its forecast; and each leg over what it was expected to take."""
    result = (job := server.succeed(request, seconds=3600))["result"]
    forecast, outcome = result["forecast"], result["outcome"]
    legs = (result["pace"] or {"legs": {}})["legs"]
    return {"seconds": outcome["seconds"] / forecast["seconds"], "memory": outcome["peak_memory"] / forecast["peak_memory"],
            "artifact": result["size"] / job["forecast"]["disk"]["artifact"], "took": outcome["seconds"],
            "within": forecast["low"] <= outcome["seconds"] <= forecast["high"], "factor": job["forecast"]["factor"],
            "legs": {leg: told["seconds"] / told["expected"] for leg, told in legs.items()}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="novella-1m,novella-7m")
    parser.add_argument("--efforts", default="reference,balanced")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json")
    given = parser.parse_args()
    models = harness.ModelServer(os.path.join(harness.SHARED, "models") if harness.SHARED else os.path.dirname(harness.MODEL))
    server = harness.Server("--workers", "1")
    found = []
    print("%-12s %-8s %-10s %8s %8s | outcome over forecast: %8s %8s %8s | legs" % ("model", "", "effort", "seconds", "factor", "seconds", "memory", "artifact"))
    efforts = given.efforts.split(",")
    jobs = [(model, algorithm, effort) for _ in range(given.rounds) for model in given.models.split(",")
            for algorithm in ("rtn", "optq", "qronos") for effort in efforts if algorithm != "rtn" or effort == efforts[0]]
    for model, algorithm, effort in jobs:
        row = measure(server, request_of(models, model, algorithm, effort, given.samples, given.length))
        found.append(dict(row, model=model, algorithm=algorithm, effort=effort))
        print("%-12s %-8s %-10s %8.1f %8.2f | %31.2f%s %8.2f %8.3f | %s" % (
            model, algorithm, effort, row["took"], row["factor"], row["seconds"], " " if row["within"] else "!", row["memory"], row["artifact"],
            ", ".join("%s %.2f" % leg for leg in row["legs"].items())), flush=True)
    for key in ("seconds", "memory", "artifact"):
        values = [row[key] for row in found]
        print("%-9s outcome / forecast: %.2f to %.2f, median %.2f" % (key, min(values), max(values), statistics.median(values)))
    print("within the range: %d of %d" % (sum(row["within"] for row in found), len(found)))
    if given.json:
        with open(given.json, "w") as out:
            json.dump(found, out, indent=1)


if __name__ == "__main__":
    main()
