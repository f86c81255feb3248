"""Evaluation: protocols in plain Python from logits, several texts by HTTP, a gate on all of them, jobs compared by what they were measured on."""
import json
import math
import os
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: E402,F403

ROOT = temporary_folder()
copy_model(ROOT, "good")
TEXTS = {}
for name, lines in (("held-out.txt", open(HELD_OUT).readlines()[:60]), ("calibration.txt", open(CALIBRATION).readlines()[:60])):
    TEXTS[name] = os.path.join(ROOT, name)
    with open(TEXTS[name], "w") as out:
        out.writelines(lines)
SERVER = Server("--file-root", ROOT, calibration=None, evaluation=None)
MODEL_URL = "file://" + os.path.join(ROOT, "good")
FIRST, SECOND = "file://" + TEXTS["held-out.txt"], "file://" + TEXTS["calibration.txt"]
STATE = {}


def verb(*words, want=0, given=None):
    done = subprocess.run([QUANTD] + list(words), input=given, capture_output=True, text=True, timeout=120 * SLOW)
    equal(done.returncode, want, "%s: %s" % (" ".join(words), done.stderr))
    return done


def job_with(bits=4, gate=None, **evaluation):
    job = quick_job(MODEL_URL)
    job.update(bits=bits, gate=gate or {})
    job["calibration"] = dict(job.get("calibration", {}), source=SECOND)
    job["evaluation"] = dict({"text": FIRST, "length": 64, "windows": 8}, **evaluation)
    return job


def losses(ids, length):
    """-log p of every token but the first of each window of `length`, by `quantd logits`: [window][token - 1]."""
    work = temporary_folder()
    given, out = os.path.join(work, "ids.safetensors"), os.path.join(work, "out.safetensors")
    rows = len(ids) // length
    write_safetensors(given, {"input_ids": ("I64", [rows, length], struct.pack("<%dq" % len(ids), *ids))})
    verb("logits", MODEL, "--ids", given, "--out", out)
    _, shape, data = read_safetensors(open(out, "rb").read())["logits"]
    words = shape[2]
    found = []
    for row in range(rows):
        found.append([])
        for t in range(length - 1):
            logits = struct.unpack_from("<%df" % words, data, 4 * words * (row * length + t))
            top = max(logits)
            found[-1].append(top + math.log(math.fsum(math.exp(x - top) for x in logits)) - logits[ids[row * length + t + 1]])
    return found


def ids_of(path):
    return json.loads(verb("tokenize", MODEL, given=json.dumps({"text": open(path).read()})).stdout)["ids"]


def close(got, want, what=""):
    assert abs(got / want - 1) < 1e-6, (what, got, want)


def the_tutorials_protocol_is_the_mean_over_second_halves():
    """Windows of BOS and length - 1 new ids; labels of the second half; mean of the windows' means; exp."""
    length, count = 48, 3
    bos = json.load(open(os.path.join(MODEL, "config.json")))["bos_token_id"]
    text = ids_of(TEXTS["held-out.txt"])
    windows = [[bos] + text[i * (length - 1):(i + 1) * (length - 1)] for i in range(count)]
    scored = [row[length // 2 - 1:] for row in losses(sum(windows, []), length)]
    equal([len(row) for row in scored], [length // 2] * count)
    means = [math.fsum(row) / len(row) for row in scored]
    mean = math.fsum(means) / count
    found = json.loads(verb("eval", MODEL, "--text", TEXTS["held-out.txt"], "--protocol", "tutorial", "--length", str(length), "--windows", str(count)).stdout)
    close(found["perplexity"], math.exp(mean))
    close(found["standard_error"], math.sqrt(math.fsum((m - mean) ** 2 for m in means) / (count - 1) / count))
    equal(found["evaluation"], {"protocol": "tutorial", "length": 48, "stride": 47, "context": 24, "bos": "inserted", "split": "whole"})


def windows_that_overlap_score_what_is_new():
    """As the guide of transformers has it: of every window but the first only what the one before has not seen."""
    length, stride, count = 32, 8, 5
    text = ids_of(TEXTS["held-out.txt"])
    rows = losses(sum([text[i * stride:i * stride + length] for i in range(count)], []), length)
    scored = rows[0] + [x for row in rows[1:] for x in row[-stride:]]
    found = json.loads(verb("eval", MODEL, "--text", TEXTS["held-out.txt"], "--protocol", "strided", "--length", str(length), "--stride", str(stride), "--windows", str(count)).stdout)
    close(found["perplexity"], math.exp(math.fsum(scored) / len(scored)))
    equal((found["predictions"], found["windows"]), (length - 1 + stride * (count - 1), count))


def every_protocol_is_told_where_it_can_be_asked_for():
    names = [row["name"] for row in SERVER.json("GET", "/catalog")["protocols"]]
    assert {"plain", "tutorial", "gptq", "strided", "llama.cpp"} <= set(names), names
    told = verb("eval", "--help").stdout
    refused = verb("eval", MODEL, "--text", TEXTS["held-out.txt"], "--protocol", "none", want=2).stderr
    asked = SERVER.json("GET", "/schema/job.json")["properties"]["evaluation"]["properties"]["protocol"]["enum"]
    equal(asked, names)
    for name in names:
        assert name in told and name in refused, name
        verb("eval", MODEL, "--text", TEXTS["held-out.txt"], "--protocol", name, "--length", "40", "--windows", "2")


def several_texts_are_measured_alike_and_told_apart():
    job = SERVER.succeed(job_with(also=[SECOND, {"name": "the first again", "text": FIRST}]))
    result = STATE["job"] = job["result"]
    STATE["id"] = job["id"]
    equal([t["name"] for t in result["texts"]], ["held-out.txt", "calibration.txt", "the first again"])
    first, second, again = result["texts"]
    equal((first["perplexity"], first["kl"]), (result["perplexity"], result["kl"]))
    equal([again[m] for m in ("perplexity", "kl", "text_sha256", "tokens_sha256")], [first[m] for m in ("perplexity", "kl", "text_sha256", "tokens_sha256")])
    assert second["perplexity"] != first["perplexity"] and second["tokens_sha256"] != first["tokens_sha256"], second
    equal(first["text_sha256"], hashlib.sha256(open(TEXTS["held-out.txt"], "rb").read()).hexdigest())
    equal(result["evaluation"], {"protocol": "plain", "length": 64, "stride": 64, "context": 1, "bos": "every-window", "split": "whole"})
    for text in (first, second):
        p = text["perplexity"]
        for other in ("source", "rtn"):
            gap = p["difference"][other]
            assert abs(gap["mean"] - math.log(p["quantized"] / p[other])) < 1e-9, (other, p)
            assert 0 < gap["standard_error"] < p["standard_error"]["quantized"], (other, p)
    alone = json.loads(verb("eval", MODEL, "--text", TEXTS["calibration.txt"], "--length", "64", "--windows", "8").stdout)
    close(second["perplexity"]["source"], alone["perplexity"])
    both = json.loads(verb("eval", MODEL, "--text", TEXTS["held-out.txt"], "--text", TEXTS["calibration.txt"], "--length", "64", "--windows", "8", "--against", MODEL).stdout)
    close(both["texts"][1]["perplexity"], alone["perplexity"])  # beside another model the logits are summed in slices of their own
    equal((both["kl"]["mean"], both["difference"]), (0.0, {"mean": 0.0, "standard_error": 0.0}))


def records_of_the_artifact_have_every_text():
    files = SERVER.artifact(STATE["id"])
    card = files["README.md"].decode()
    for part in ("### held-out.txt", "### calibration.txt", "paired by window", "Protocol `plain`"):
        assert part in card, (part, card)
    manifest = SERVER.json("GET", "/jobs/%s/artifacts" % STATE["id"])
    equal(manifest["texts"], STATE["job"]["texts"])
    recipe = json.loads(files["recipe.json"])["recipe"]["evaluation"]
    assert "also" not in recipe and "text" not in recipe and recipe["protocol"] == "plain", recipe
    provenance = SERVER.request("GET", "/jobs/%s/artifacts/provenance.json" % STATE["id"])[2].decode()
    assert "evaluation text 2" in provenance and "evaluation text 3" in provenance


def progress_counts_the_windows_of_all_texts():
    events = SERVER.json("GET", "/jobs/%s/events?limit=1000" % STATE["id"])["data"]
    totals = {(e["data"]["phase"], e["data"]["total"]) for e in events if e["type"] == "progress" and e["data"].get("unit") == "windows"}
    assert totals <= {("evaluating", 24), ("verifying", 24)}, totals  # which of them are written depends on time: test_task_run sees all


def the_gate_may_ask_for_every_text():
    ratios = [t["perplexity"]["quantized"] / t["perplexity"]["source"] for t in STATE["job"]["texts"][:2]]
    better, worse = sorted(zip(ratios, ((FIRST, "held-out.txt"), (SECOND, "calibration.txt"))))
    gate = {"perplexity_ratio": (better[0] + worse[0]) / 2}
    also = dict(text=better[1][0], also=[worse[1][0]])
    SERVER.succeed(job_with(gate=gate, **also))
    SERVER.fail(job_with(gate=dict(gate, every_text=True), **also), "gate.perplexity_ratio", "on '%s'" % worse[1][1], state="quarantined")


def jobs_are_compared_only_where_they_were_measured_alike():
    other = SERVER.succeed(job_with(bits=3))
    strange = SERVER.succeed(job_with(bits=3, protocol="tutorial"))
    got = SERVER.json("GET", "/compare?jobs=%s,%s" % (STATE["id"], other["id"]))["evaluation"]
    equal((got["comparable"], [d["text"] for d in got["differences"]]), (True, ["held-out.txt", "the first again"]))
    assert any("calibration.txt" in reason for reason in got["reasons"]), got
    row, mine, theirs = got["differences"][0], STATE["job"], other["result"]
    equal((row["job"], row["than"], row["text"]), (other["id"], STATE["id"], "held-out.txt"))
    assert abs(row["perplexity_ratio"] / (theirs["perplexity"]["quantized"] / mine["perplexity"]["quantized"]) - 1) < 1e-9, row
    errors = [r["perplexity"]["difference"]["source"]["standard_error"] for r in (mine, theirs)]
    assert abs(row["standard_error"] - math.hypot(*errors)) < 1e-12 and row["mean_nll"] > 2 * row["standard_error"], row
    assert abs(row["kl"] - (theirs["kl"]["quantized"]["mean"] - mine["kl"]["quantized"]["mean"])) < 1e-12 and row["kl"] > 0, row
    got = SERVER.json("GET", "/compare?jobs=%s,%s" % (other["id"], strange["id"]))["evaluation"]
    equal((got["comparable"], got["differences"]), (False, []))
    for part in ("evaluation.context is 32, and 1", "evaluation.bos is inserted, and every-window"):
        assert any(part in reason for reason in got["reasons"]), (part, got)


def what_cannot_be_measured_is_refused_at_the_door():
    for change, pointer, part in ((dict(also=["https://nowhere.invalid:99999/x"]), "/evaluation/also/0", "nowhere.invalid"),
                                  (dict(also=["file:///etc/passwd"]), "/evaluation/also/0", "file"),
                                  (dict(text=None, also=[SECOND]), "/evaluation/also", "evaluation.text"),
                                  (dict(context=64), "/evaluation/context", "leaves nothing to score")):
        problem = SERVER.json("POST", "/jobs", job_with(**change), want=422)
        assert any(e["pointer"] == pointer and part in e["detail"] for e in problem["errors"]), (change, problem)


run_claims([the_tutorials_protocol_is_the_mean_over_second_halves, windows_that_overlap_score_what_is_new,
            every_protocol_is_told_where_it_can_be_asked_for, several_texts_are_measured_alike_and_told_apart,
            records_of_the_artifact_have_every_text, progress_counts_the_windows_of_all_texts, the_gate_may_ask_for_every_text,
            jobs_are_compared_only_where_they_were_measured_alike, what_cannot_be_measured_is_refused_at_the_door])
