"""Random recipes of everything the catalog lists, on real layers: no bound is broken, every identity holds, every artifact passes its own verification.

Recipes are drawn from GET /catalog and /schema/job.json of a running service, so that a new row takes part by being there. What a recipe's fields
forbid is refused by name and drawn again. A dozen run on the tests' own model; with QUANTD_SHARED and QUANTD_LONG_TESTS 200 (QUANTD_SWEEP: so many)
run on stories260K. Some of them are drawn from what check_certificate.py knows, and every number of theirs is made again by numpy.
"""
import collections
import contextlib
import io
import json
import math
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))
from harness import *  # noqa: E402,F403
import check_certificate as independent  # noqa: E402

IDENTITY = 1e-9
independent.DATA = 4e-6  # float32 streams under random grids: perplexities of hundreds, from a few tokens
WEIGHT_FORMAT = "safetensors:f32"  # holds every grid
STORIES = SHARED and os.path.join(SHARED, "models", "stories260K")
STORIES_TEXT = SHARED and os.path.join(SHARED, "data", "text", "tinystories-sample.txt")


def read_catalog():
    server = Server()
    try:
        return server.json("GET", "/catalog"), server.json("GET", "/schema/job.json")
    finally:
        server.stop()


def names(rows):
    return [row["name"] for row in rows]


def decades(r, low, high):
    return 10.0 ** r.uniform(low, high)


# ---- one recipe ----

def draw_alphabet(r, catalog):
    row = r.choice(catalog["alphabets"])
    alphabet, bits = {"kind": row["name"]}, r.choice(row["bits"]) if row.get("bits") else None
    if row["name"] == "levels":
        alphabet["levels"] = sorted(r.sample(range(-40, 41), r.randint(2, 20)))
        bits = None  # follows from how many
    for param in row["params"]:
        if r.random() < 0.6:
            continue  # its default
        if param.get("choices"):
            alphabet[param["name"]] = r.choice(param["choices"])
        elif param["name"] == "narrow":
            alphabet["narrow"] = True
    return alphabet, bits


def draw_regularization(r, catalog):
    row = r.choice(catalog["regularizers"])
    if not row["params"]:
        return row["name"]
    return {row["name"]: decades(r, -5, 0) if row["name"] != "spectral" else decades(r, -6, -2)}


def draw_mismatch(r, catalog, algorithm):
    mismatch = {"scope": r.choice(names(catalog["mismatch_scopes"])), "shrink": r.choice(["auto", 0, 0.5, 1])}
    if algorithm["name"] == "qronos":
        mismatch["start"] = r.choice(names(catalog["mismatch_starts"]))
    return mismatch


def draw_transforms(r, catalog):
    rows = catalog.get("transforms") or []
    return [row["name"] for row in rows if r.random() < 0.4]


def draw_container(r, catalog, job):
    """A grid of a container's own, with what its scales go with."""
    row = r.choice([t for t in catalog["scale_types"] if t["bits"]])
    job.update(alphabet={"kind": "int-asymmetric", "zero": r.choice(row["zeros"])}, bits=r.choice(row["bits"]),
               group_size=row["group_size"] or job["group_size"])
    job["scale"].update(type=row["name"], shrink=1)


def draw(r, catalog, schema):
    known = schema["properties"]
    algorithm = r.choice(catalog["algorithms"])
    alphabet, bits = draw_alphabet(r, catalog)
    job = {"algorithm": algorithm["name"], "rounding": r.choice(names(catalog["roundings"])), "seed": r.randrange(1000), "alphabet": alphabet,
           "group_size": r.choice([0, 16, 32, 50, 64]), "order": r.choice(names(catalog["orders"])),
           "scale": {"rule": r.choice(names(catalog["scale_rules"])), "type": r.choice(names(catalog["scale_types"])),
                     "shrink": r.choice([1, 1, 0.85, 1.5])},
           "regularization": draw_regularization(r, catalog), "format": WEIGHT_FORMAT}
    if bits is not None:
        job["bits"] = bits
    if r.random() < 0.3:
        draw_container(r, catalog, job)
    if algorithm["needs"] == "mismatch":
        job["mismatch"] = draw_mismatch(r, catalog, algorithm)
    if job["rounding"] == "stochastic" and job.get("mismatch", {}).get("start") != "original":
        job["certified"] = r.random() < 0.5
    if "transforms" in known and r.random() < 0.5:
        job["transforms"] = draw_transforms(r, catalog)
    if "refine" in known and job["rounding"] == "nearest" and r.random() < 0.5:
        job["refine"] = {"beam": r.choice([1, 4]), "coordinate_descent": r.choice([0, 1]), "refit_scales": r.random() < 0.5}
    job["arithmetic"] = r.choice(names(catalog["arithmetics"]))
    return job


def draw_known(r, catalog):
    """What check_certificate.py makes again."""
    return {"effort": "reference", "arithmetic": "float32", "algorithm": r.choice(["rtn", "optq"]), "alphabet": {"kind": r.choice(["int", "int-asymmetric"])}, "bits": r.choice([2, 3, 4, 5, 6, 8]),
            "group_size": r.choice([0, 16, 32, 50, 64]), "order": r.choice(["natural", "norm-descending"]),
            "scale": {"rule": r.choice(["minmax", "mse"]), "type": r.choice(["f32", "bf16", "f16"]), "shrink": r.choice([1, 0.85])},
            "regularization": {"mean_diagonal": decades(r, -2, 0)}, "format": WEIGHT_FORMAT}


# ---- one run ----

class Counts(collections.Counter):
    """What was seen, and what must not be."""

    def broken(self, what, layer, *values):
        self["BROKEN " + what] += 1
        print("# BROKEN %s: %s %s" % (what, layer["name"], values), flush=True)


def check_layer(counts, layer, job):
    c = layer["certificate"]
    counts["layers"] += 1
    counts["status " + c["status"]] += 1
    if layer["degraded"]:
        counts["degraded"] += 1
        if not layer["degraded_reason"]:
            counts.broken("degraded without a reason", layer)
        return

    def hold(what, good, *values):
        counts["checked: " + what] += 1
        if not good:
            counts.broken(what, layer, *values)
    tolerance = 1e-4 if c["precision"] == "float32" else IDENTITY
    hold("identity", c["identity_resid"] < tolerance, c["identity_resid"])
    hold("overload bound", c["energy_sq"] <= c["overload_bound_sq"] * (1 + tolerance), c["energy_sq"], c["overload_bound_sq"])
    hold("error is no less than 0", c["error_sq"] >= -1e-9 * max(c["energy_sq"], c["output_sq"]), c["error_sq"])
    hold("status", c["status"] == ("CERTIFIED_OVERLOAD" if c["clip_count"] else "CERTIFIED"), c["status"])
    hold("pivots", 0 < c["r2_min"] <= c["r2_max"] and c["S"] <= c["N"] * c["r2_max"] * (1 + 1e-9) and c["trace_ratio"] <= 1 + 1e-9
         and c["am_gm"] >= 1 and c["gap_db"] >= -1e-9, c["S"], c["trace_ratio"])
    if c["clip_count"] == 0:
        hold("pivot bound", c["ratio"] <= 1 + tolerance, c["ratio"])
    if "base_sq" in c and c["method"] == "qronos":
        parts = c["base_sq"] + c["energy_sq"]
        hold("total = base + energy", abs(c["total_sq"] - parts) <= 1e-9 * max(parts, 1e-12 * c["output_sq"]), c["total_sq"], parts)
    if "base_sq" in c and c["method"] == "gpfq":
        hold("triangle", math.sqrt(c["total_sq"]) <= (math.sqrt(c["base_sq"]) + math.sqrt(c["energy_sq"])) * (1 + 1e-9))
    if job["regularization"] == "auto":
        hold("held-out fields", c["n_rows"] > 0 and c["heldout_sq_meas"] >= 0 and "heldout_sq_pred" in c)
    check_chance(counts, hold, c, job)


def check_chance(counts, hold, c, job):
    if "eta" not in c:
        return
    if c["guarantee"] == "holds":
        hold("no clip where none was promised", c["clip_count"] == 0, c["clip_count"])
    if job.get("certified"):
        hold("certified", c["guarantee"] == "holds" and c["clip_count"] == 0 and c["step_growth_max"] >= 1, c["guarantee"])
    if c["clip_count"] == 0 and c["probable_bound_sq"] is not None:
        counts["probable bound: tried"] += 1
        counts["probable bound: failed"] += c["energy_sq"] > c["probable_bound_sq"]


def run_job(job, model, calibration, evaluation):
    folder = temporary_folder()
    path, out, events = (os.path.join(folder, name) for name in ("job.json", "out", "events"))
    json.dump(job, open(path, "w"))
    with open(events, "wb") as sink:
        done = subprocess.run([QUANTD, "run", path, "--out", out, "--model", model, "--calibration-text", calibration,
                               "--evaluation-text", evaluation, "--progress-fd", str(sink.fileno())],
                              pass_fds=[sink.fileno()], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return done, out, [json.loads(line) for line in open(events)]


def completed(job):
    return dict(job, model="file:///unused", calibration={"samples": 6, "length": 64, "phase": 0.4, "split": "lines"},
                evaluation={"length": 64, "windows": 1, "split": "lines", "baseline": "rtn"})


def refused(counts, job, done):
    """A recipe that is not run says why: two fields that do not go together, or an alphabet too small for its guarantee."""
    problem = done.stderr.decode().strip().split("\n")[-1]
    if "GUARANTEE_INFEASIBLE" in problem:
        assert job.get("certified") and "bits would do" in problem, (job, problem)
        counts["guarantee infeasible"] += 1
    else:
        why = ("does not go with", "means nothing", "does nothing")
        assert done.returncode == 2 and any(words in problem for words in why), (job, done.returncode, problem)
        counts["refused"] += 1


def verified(counts, out, model):
    done = subprocess.run([QUANTD, "verify", out, "--against", model], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    report = json.loads(done.stdout)
    assert done.returncode == 0 and report["ok"], report["findings"][:5]
    counts["verified artifacts"] += 1


def make_again(counts, model, out, job, calibration, evaluation, result):
    counts["made again by numpy"] += 1
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            independent.check_run(model, out, job, calibration, evaluation, result)
    except AssertionError as difference:
        counts.broken("as numpy makes it", {"name": "run"}, str(difference))
        print("# by " + json.dumps(job), flush=True)


def sweep(model, calibration, evaluation, wanted, catalog, schema, known_every):
    counts, r = Counts(), random.Random(20260)
    while counts["recipes run"] < wanted:
        number = counts["recipes run"]
        known = known_every and number % known_every == known_every - 1 and counts["made again by numpy"] < number // known_every + 1
        job = completed(draw_known(r, catalog) if known else draw(r, catalog, schema))
        done, out, events = run_job(job, model, calibration, evaluation)
        if done.returncode != 0:
            refused(counts, job, done)
            continue
        counts["recipes run"] += 1
        counts["algorithm %s, %s" % (job["algorithm"], job.get("rounding", "nearest"))] += 1
        before = sum(n for what, n in counts.items() if what.startswith("BROKEN"))
        for event in events:
            if event["event"] == "layer":
                check_layer(counts, event, job)
        if sum(n for what, n in counts.items() if what.startswith("BROKEN")) > before:
            print("# by " + json.dumps(job), flush=True)
        verified(counts, out, model)
        if known and independent.np is not None:
            make_again(counts, model, out, job, calibration, evaluation, events[-1])
        shutil.rmtree(os.path.dirname(out), ignore_errors=True)
    report(counts)


def limit_of(trials):
    """Failures of probability 0.05 that as many trials stay within with probability 0.999."""
    term = total = 0.95 ** trials
    count = 0
    while total < 0.999:
        term *= (trials - count) / (count + 1) * 0.05 / 0.95
        count += 1
        total += term
    return count


def report(counts):
    for what, number in sorted(counts.items()):
        print("# %-45s %d" % (what, number))
    broken = {what: n for what, n in counts.items() if what.startswith("BROKEN")}
    assert not broken, broken
    assert counts["probable bound: failed"] <= limit_of(counts["probable bound: tried"])
    assert counts["checked: identity"] + counts["degraded"] == counts["layers"]


def a_dozen_random_recipes_break_nothing():
    catalog, schema = read_catalog()
    sweep(MODEL, CALIBRATION, HELD_OUT, 12 if SLOW <= 1 else 3, catalog, schema, 0)


def two_hundred_random_recipes_break_nothing():
    if SHARED is None:
        raise Skip("QUANTD_SHARED is not set")
    if not os.environ.get("QUANTD_LONG_TESTS"):
        raise Skip("QUANTD_LONG_TESTS is not set")
    catalog, schema = read_catalog()
    sweep(STORIES, STORIES_TEXT, STORIES_TEXT, int(os.environ.get("QUANTD_SWEEP", "200")), catalog, schema, 10)


if __name__ == "__main__":
    run_claims([a_dozen_random_recipes_break_nothing, two_hundred_random_recipes_break_nothing])
