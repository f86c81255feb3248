"""Several containers from one job, signed; the gate; KL by another way; by HTTP and by hand."""
import base64
import json
import math
import os
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: E402,F403

ROOT = temporary_folder()
copy_model(ROOT, "novella-1m")
with open(os.path.join(ROOT, "novella-1m", "README.md"), "w") as card:
    card.write("---\nlicense: apache-2.0\n---\n# Novella\n")
# The pair of RFC 8032 section 7.1, test 2.
KEY, PUBLIC = os.path.join(ROOT, "key.pem"), os.path.join(ROOT, "pub.pem")
with open(KEY, "w") as key:
    key.write("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIEzNCJso/5banbbDRuwRTg9bijGfNaumJNqM9u1PuKb7\n-----END PRIVATE KEY-----\n")
with open(PUBLIC, "w") as key:
    key.write("-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAPUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=\n-----END PUBLIC KEY-----\n")
MODELS = ModelServer(ROOT)
SERVER = Server("--signing-key", KEY)
STATE = {}


def verb(*words, want=0, given=None):
    done = subprocess.run([QUANTD] + list(words), input=given, capture_output=True, text=True, timeout=120 * SLOW)
    equal(done.returncode, want, "%s: %s" % (" ".join(words), done.stderr))
    return done


def download(job, folder):
    """The artifact with all that is served beside it, as files."""
    files = SERVER.artifact(job)
    for name in ("manifest.json", "provenance.json", "provenance.dsse.json"):
        status, _, data = SERVER.request("GET", "/jobs/%s/artifacts/%s" % (job, name))
        equal(status, 200, name)
        files[name] = data
    for name, data in files.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as out:
            out.write(data)
    return files


def one_job_gives_several_containers_that_are_served_and_signed():
    job = SERVER.succeed(quick_job(MODELS.model("novella-1m"), format=["safetensors:f32", "compressed-tensors"], gate={"kl": 2, "perplexity_ratio": 2}))
    STATE["job"] = job
    folder = STATE["folder"] = os.path.join(temporary_folder(), "artifact")
    files = download(job["id"], folder)
    manifest = json.loads(files["manifest.json"])
    paths = [one["path"] for one in manifest["formats"]]
    equal(manifest["formats"], job["result"]["formats"])
    assert "safetensors-f32" in paths and len(paths) == 2, paths
    for path in paths:
        assert path + "/model.safetensors" in files and path + "/README.md" in files, sorted(files)
        equal(files[path + "/README.source.md"], b"---\nlicense: apache-2.0\n---\n# Novella\n")
        assert files[path + "/README.md"].startswith(b"---\n") and b"\nlicense: apache-2.0\n" in files[path + "/README.md"]
        assert b"KL(source" in files[path + "/README.md"]
    equal(job["resolved"]["format"][0], "safetensors:f32")
    report = json.loads(verb("verify", folder, "--key", PUBLIC).stdout)
    equal((report["ok"], report["provenance"]["signature"]), (True, "valid"))
    envelope = json.loads(files["provenance.dsse.json"])
    equal(base64.b64decode(envelope["payload"]), files["provenance.json"])
    assert SERVER.state.encode() not in files["provenance.json"] and b"127.0.0.1" not in files["provenance.json"]


def logits_of(model, ids):
    """V numbers for each id, by `quantd logits`."""
    work = temporary_folder()
    given, out = os.path.join(work, "ids.safetensors"), os.path.join(work, "out.safetensors")
    write_safetensors(given, {"input_ids": ("I64", [1, len(ids)], struct.pack("<%dq" % len(ids), *ids))})
    verb("logits", model, "--ids", given, "--out", out)
    _, shape, data = read_safetensors(open(out, "rb").read())["logits"]
    numbers, words = struct.unpack("<%df" % (len(data) // 4), data), shape[2]
    return [numbers[at:at + words] for at in range(0, len(numbers), words)]


def log_softmax(row):
    top = max(row)
    total = math.log(math.fsum(math.exp(x - top) for x in row))
    return [x - top - total for x in row]


def kl_of_a_run_is_what_its_logits_give():
    """One window of 48 tokens, from the ids of `quantd tokenize` to the divergence, in plain Python."""
    work = temporary_folder()
    job, text, out = os.path.join(work, "job.json"), os.path.join(work, "text.txt"), os.path.join(work, "out")
    with open(text, "w") as file:
        file.write("".join(open(HELD_OUT).readlines()[:40]))
    with open(job, "w") as file:
        json.dump(dict(quick_job("file:///m"), bits=2, evaluation={"length": 48, "windows": 1, "baseline": None}, format=["safetensors:f32"]), file)
    result = json.loads(verb("run", job, "--out", out, "--model", MODEL, "--calibration-text", CALIBRATION, "--evaluation-text", text).stdout)
    config = json.load(open(os.path.join(MODEL, "config.json")))
    ids = [config["bos_token_id"]] + json.loads(verb("tokenize", MODEL, given=json.dumps({"text": open(text).read()})).stdout)["ids"][:47]
    source, made = logits_of(MODEL, ids), logits_of(out, ids)
    each = []
    for p, q in zip(source[:-1], made[:-1]):
        p, q = log_softmax(p), log_softmax(q)
        each.append(math.fsum(math.exp(a) * (a - b) for a, b in zip(p, q)))
    found = result["kl"]["quantized"]
    assert found["mean"] > 0.01, found
    assert abs(found["mean"] / (math.fsum(each) / len(each)) - 1) < 1e-5, (found, math.fsum(each) / len(each))
    assert abs(found["max"] / max(each) - 1) < 1e-5, (found, max(each))
    same = sum(a.index(max(a)) == b.index(max(b)) for a, b in zip(source[:-1], made[:-1])) / len(each)
    assert abs(found["same_top"] - same) < 1e-12, (found, same)
    assert "rtn" not in result["kl"] and "rtn" not in result["perplexity"], result


def an_artifact_outside_the_gate_is_quarantined_and_served_nowhere():
    job = SERVER.fail(quick_job(MODELS.model("novella-1m"), gate={"kl": 1e-9}), "gate.kl", "nats a token", "the job allows 1e-09", state="quarantined")
    equal(job["problem"]["code"], "gate")
    folder = os.path.join(SERVER.state, "quarantine", job["id"])
    assert os.path.realpath(folder) in job["problem"]["detail"], job["problem"]
    assert os.path.exists(os.path.join(folder, "README.md")), os.listdir(folder)
    for path in ("manifest.json", "model.safetensors", "README.md", "../../quarantine/%s/README.md" % job["id"]):
        assert SERVER.request("GET", "/jobs/%s/artifacts/%s" % (job["id"], path))[0] in (400, 404), path
    events = SERVER.json("GET", "/jobs/%s/events?limit=1000" % job["id"])["data"]
    assert any(e["type"] == "state" and e["data"].get("state") == "quarantined" for e in events), events[-3:]
    assert any(e["type"] == "problem" and "gate.kl" in e["data"]["detail"] for e in events), events[-3:]
    SERVER.json("POST", "/jobs/%s/retry" % job["id"], want=202)
    equal(SERVER.wait(job["id"])["state"], "quarantined")
    assert os.path.exists(os.path.join(folder, "README.md"))
    equal(SERVER.request("DELETE", "/jobs/" + job["id"])[0], 204)
    assert not os.path.exists(folder), "deleted with its job"


def a_gate_that_nothing_can_measure_is_refused():
    blind = Server(evaluation=None)
    blind.refused(quick_job(MODELS.model("novella-1m"), gate={"perplexity_ratio": 1.1}), None, "gate.perplexity_ratio", "evaluation.text")
    equal(blind.stop(), 0)


def by_hand_a_gate_fails_with_the_reason_and_a_name_that_says_so():
    work = temporary_folder()
    job, out = os.path.join(work, "job.json"), os.path.join(work, "out")
    with open(job, "w") as file:
        json.dump(quick_job("file:///m", gate={"perplexity_ratio": 0.9}), file)
    texts = ["--model", MODEL, "--calibration-text", CALIBRATION, "--evaluation-text", HELD_OUT]
    done = subprocess.run([QUANTD, "run", job, "--out", out] + texts, capture_output=True, text=True)
    assert done.returncode not in (0, 2), done.returncode
    assert "gate.perplexity_ratio" in done.stderr and out + ".quarantined" in done.stderr, done.stderr
    assert not os.path.exists(out) and os.path.exists(os.path.join(out + ".quarantined", "manifest.json"))
    with open(job, "w") as file:
        json.dump(quick_job("file:///m", gate={"perplexity_ratio": 5}), file)
    verb("run", job, "--out", out, "--signing-key", KEY, *texts)
    assert not os.path.exists(out + ".quarantined"), "what an earlier try left is gone"
    equal(json.loads(verb("verify", out, "--key", PUBLIC).stdout)["provenance"]["signature"], "valid")


def a_key_that_will_not_do_is_found_at_the_start():
    done = subprocess.run([QUANTD, "serve", "--state", temporary_folder(), "--listen", "127.0.0.1:0", "--signing-key", PUBLIC], capture_output=True, text=True,
                          timeout=60 * SLOW)
    assert done.returncode != 0 and "signing-key" in done.stderr and "private key" in done.stderr, done.stderr


def the_server_stops_cleanly():
    equal(SERVER.stop(), 0)


run_claims([one_job_gives_several_containers_that_are_served_and_signed, kl_of_a_run_is_what_its_logits_give,
            an_artifact_outside_the_gate_is_quarantined_and_served_nowhere, a_gate_that_nothing_can_measure_is_refused,
            by_hand_a_gate_fails_with_the_reason_and_a_name_that_says_so, a_key_that_will_not_do_is_found_at_the_start, the_server_stops_cleanly])
