"""Artifacts that are uploaded, and models that lie in a bucket: a storage that checks every signature, and what goes wrong on the way."""
import base64
import hashlib
import json
import os
import shutil
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: E402,F403

ROOT = temporary_folder()
copy_model(ROOT, "novella-1m")
HERE = os.path.dirname(os.path.abspath(__file__))
KEY, SECRET, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "temporary-token/+="


class Storage(Process):
    def __init__(self, *flags, script="s3_server.py"):
        super().__init__([sys.executable, os.path.join(HERE, script)] + list(flags), os.path.join(temporary_folder(), "storage.log"))

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        connection.request(method, path, body)
        reply = connection.getresponse()
        assert reply.status == 200, reply.status
        data = reply.read()
        return json.loads(data) if data else None

    def state(self):
        return self.call("GET", "/_state")

    def fault(self, kind, match, times=1, **more):
        self.call("POST", "/_fault", json.dumps(dict(more, kind=kind, match=match, times=times)))

    def fill(self, bucket, prefix, folder):
        for name in sorted(os.listdir(folder)):
            with open(os.path.join(folder, name), "rb") as file:
                self.call("PUT", "/_put/%s/%s%s" % (bucket, prefix, name), file.read())


STORAGE = Storage("--bucket", "models", "--bucket", "private", "--bucket", "results", "--token", TOKEN, "--region", "eu-test-1")
CREDENTIALS = os.path.join(ROOT, "credentials")
with open(CREDENTIALS, "w") as out:
    out.write("# of the test\naccess-key-id = %s\nsecret-access-key = %s\nsession-token = %s\n" % (KEY, SECRET, TOKEN))
os.chmod(CREDENTIALS, 0o600)
FLAGS = ["--file-root", ROOT, "--s3-endpoint", STORAGE.url, "--s3-region", "eu-test-1", "--s3-credentials", CREDENTIALS, "--s3-allow", "models/published",
         "--s3-allow", "models/texts", "--s3-allow", "results"]
SERVER = Server(*FLAGS)
MODEL = "file://%s/novella-1m" % ROOT
STORAGE.fill("models", "published/novella-1m/", os.path.join(ROOT, "novella-1m"))


def job_of(url=MODEL, **more):
    return dict({"model": url, "algorithm": "rtn", "effort": "reference", "calibration": {"samples": 2, "length": 128},
                 "evaluation": {"length": 128, "windows": 2, "baseline": None}}, **more)


def delivery(job, state="delivered", seconds=90, server=None):
    end = time.monotonic() + seconds * SLOW
    while time.monotonic() < end:
        found = [e for e in (server or SERVER).json("GET", "/jobs/%s/deliveries" % job)["data"] if e["kind"] == "publish"]
        if found and found[0]["state"] == state:
            return found[0]
        time.sleep(0.1)
    raise AssertionError("%s is wanted: %s" % (state, found))


def check_objects(job, prefix, objects):
    """Everything of the manifest, and the manifest, lies there with its digest."""
    files = {entry["path"]: entry["sha256"] for entry in SERVER.json("GET", "/jobs/%s/artifacts" % job)["files"]}
    files["manifest.json"] = hashlib.sha256(SERVER.request("GET", "/jobs/%s/artifacts/manifest.json" % job)[2]).hexdigest()
    there = {name[len(prefix):]: o["sha256"] for name, o in objects.items() if name.startswith(prefix)}
    for path, digest in files.items():
        equal(there.get(path), digest, path)
    return files


def an_artifact_is_uploaded_and_its_manifest_last():
    found = SERVER.succeed(job_of(publish={"url": "s3://results/first/run"}))
    entry = delivery(found["id"])
    state = STORAGE.state()
    files = check_objects(found["id"], "results/first/run/", state["objects"])
    puts = [line.split()[1] for line in state["log"] if line.startswith("PUT /results/first/run/") and line.endswith(" 200")]
    equal(puts[-1], "/results/first/run/manifest.json")
    equal(len(puts), len(set(puts)), "nothing was sent twice")
    for line in state["log"]:
        assert "Signature" not in line and "Credential" not in line, line
    assert entry["progress"]["files"] == entry["progress"]["files_done"] >= len(files), entry
    equal(entry["progress"]["bytes"], entry["progress"]["bytes_done"])
    equal(entry["url"], "s3://results/first/run")
    events = [e["data"] for e in SERVER.json("GET", "/jobs/%s/events" % found["id"])["data"] if e["type"] == "delivery"]
    equal(events[-1]["state"], "delivered")
    equal(events[-2]["file"], "manifest.json")
    equal(events[-2]["done"], events[-2]["total"])
    text = SERVER.request("GET", "/metrics")[2].decode()
    assert 'quantd_deliveries_taken_total{kind="publish"} 1' in text.splitlines()
    assert float(re.search(r"^quantd_uploaded_bytes_total (\S+)$", text, re.M).group(1)) == entry["progress"]["bytes"]


def a_folder_of_the_web_takes_it_by_put_too():
    receiver = Storage(script="receiver.py")
    found = SERVER.succeed(job_of(publish=receiver.url + "/drop?plan=201&sig=hidden"))
    entry = delivery(found["id"])
    equal(entry["url"], receiver.url + "/drop", "the query is not shown")
    check_objects(found["id"], "/drop/", receiver.call("GET", "/_files"))
    log = receiver.call("GET", "/_log")
    for message in log:
        assert message["query"].endswith("sig=hidden"), "a folder's query goes with its files"
        assert re.fullmatch("sha-256=:[A-Za-z0-9+/]{43}=:", message["headers"]["content-digest"]), message["headers"]
        assert "authorization" not in message["headers"], "the storage's keys are not for others"
    equal(log[-1]["path"], "/drop/manifest.json")
    receiver.kill()


def storms_cuts_and_wrong_bytes_are_tried_again_until_all_is_right():
    STORAGE.fault("503", r"^PUT /results/storm/", 3)
    STORAGE.fault("cut", r"^PUT /results/storm/model", 1)
    STORAGE.fault("corrupt", r"^PUT /results/storm/config", 1)
    STORAGE.fault("lose", r"^PUT /results/storm/tokenizer.json", 1)
    found = SERVER.succeed(job_of(publish={"url": "s3://results/storm"}))
    entry = delivery(found["id"], seconds=180)
    check_objects(found["id"], "results/storm/", STORAGE.state()["objects"])
    details = " | ".join(a["detail"] for a in entry["attempts"])
    assert "config.json" in details and "other bytes" in details, details
    assert "tokenizer.json" in details and "404" in details, details
    log = [line.split() for line in STORAGE.state()["log"]]
    done = [path for method, path, status in log if method == "PUT" and status == "200" and path.startswith("/results/storm/")]
    assert done.count("/results/storm/config.json") == 2 and done.count("/results/storm/generation_config.json") <= 1, "what is there is not sent again"


def an_upload_that_fails_leaves_the_job_as_it_is():
    server = Server(*FLAGS, "--webhook-tries", "1", "--s3-allow", "missing")
    found = server.succeed(job_of(publish={"url": "s3://missing/run"}))
    entry = delivery(found["id"], "failed", server=server)
    assert "NoSuchBucket" in entry["attempts"][0]["detail"], entry
    equal(server.json("GET", "/jobs/" + found["id"])["state"], "succeeded")
    equal(server.request("GET", "/jobs/%s/artifacts" % found["id"])[0], 200)
    server.kill()


def killed_in_the_middle_it_goes_on_with_the_files_that_are_missing():
    global SERVER
    STORAGE.fault("slow", r"^PUT /results/killed/model", 1, seconds=20)
    job = SERVER.submit(job_of(publish={"url": "s3://results/killed"}))
    SERVER.wait(job)
    end = time.monotonic() + 60 * SLOW
    while time.monotonic() < end and SERVER.json("GET", "/jobs/%s/deliveries" % job)["data"][0]["progress"]["files_done"] == 0:
        time.sleep(0.05)
    time.sleep(0.5)
    before = SERVER.json("GET", "/jobs/%s/deliveries" % job)["data"][0]
    equal(before["state"], "pending")
    assert 0 < before["progress"]["files_done"] < before["progress"]["files"], before
    assert "results/killed/manifest.json" not in STORAGE.state()["objects"], "nobody sees a manifest without its files"
    SERVER.kill()
    SERVER = Server(*FLAGS, state=SERVER.state)
    entry = delivery(job)
    equal(entry["id"], before["id"])
    check_objects(job, "results/killed/", STORAGE.state()["objects"])
    log = [line.split() for line in STORAGE.state()["log"]]
    done = [path for method, path, status in log if method == "PUT" and status == "200" and path.startswith("/results/killed/")]
    equal(done.count("/results/killed/config.json"), 1, "what was there was not sent again")


def a_model_in_a_bucket_is_found_read_and_kept():
    local = SERVER.succeed(job_of())
    found = SERVER.succeed(job_of("s3://models/published/novella-1m"))
    equal(SERVER.artifact(found["id"])["model.safetensors"], SERVER.artifact(local["id"])["model.safetensors"])
    model = found["resolved"]["model"]
    equal(model["url"], "s3://models/published/novella-1m")
    names = {entry["name"] for entry in model["files"]}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names, names
    state = STORAGE.state()
    assert len([line for line in state["log"] if "list-type=2" in line]) >= 2, "the list came in pages"
    before = len([line for line in state["log"] if line.startswith("GET /models/published/novella-1m/")])
    SERVER.succeed(job_of("s3://models/published/novella-1m/"))
    after = len([line for line in STORAGE.state()["log"] if line.startswith("GET /models/published/novella-1m/")])
    equal(after, before, "what has the ETag of the list is not read again")
    whole = json.dumps(SERVER.json("GET", "/jobs/" + found["id"]))
    for word in (SECRET, TOKEN, "Signature", "X-Amz"):
        assert word not in whole, word


def broken_reads_go_on_where_they_stopped_and_changes_are_seen():
    shutil.rmtree(os.path.join(SERVER.state, "models"))
    STORAGE.fault("cut", r"^GET /models/published/novella-1m/model.safetensors", 2)
    STORAGE.fault("503", r"^GET /models/(\?list|published/novella-1m/config)", 2)
    SERVER.succeed(job_of("s3://models/published/novella-1m"))
    found = [line.split() for line in STORAGE.state()["log"] if "novella-1m/model.safetensors" in line][-3:]
    equal([status for _, _, status in found], ["0", "0", "206"], "cut twice, then continued")
    with open(os.path.join(ROOT, "novella-1m", "generation_config.json"), "rb") as file:
        STORAGE.call("PUT", "/_put/models/published/novella-1m/generation_config.json", file.read() + b"\n")
    again = SERVER.succeed(job_of("s3://models/published/novella-1m"))
    digests = {entry["name"]: entry["sha256"] for entry in again["resolved"]["model"]["files"]}
    equal(digests["generation_config.json"], STORAGE.state()["objects"]["models/published/novella-1m/generation_config.json"]["sha256"])


def texts_may_lie_in_a_bucket():
    with open(HELD_OUT, "rb") as file:
        STORAGE.call("PUT", "/_put/models/texts/held%20out.txt", file.read())
    found = SERVER.succeed(job_of(evaluation={"text": "s3://models/texts/held%20out.txt", "length": 128, "windows": 2, "baseline": None}))
    local = SERVER.succeed(job_of())
    equal(found["result"]["perplexity"], local["result"]["perplexity"])
    SERVER.fail(job_of(evaluation={"text": "s3://models/texts/none.txt", "length": 128, "windows": 2}), "none.txt", "404")


def a_single_gguf_of_a_bucket_is_a_model():
    source = SERVER.succeed(job_of(format="gguf:q8_0"))
    name = next(path for path in SERVER.artifact(source["id"]) if path.endswith(".gguf"))
    STORAGE.call("PUT", "/_put/models/published/one.gguf", SERVER.artifact(source["id"])[name])
    found = SERVER.succeed(job_of("s3://models/published/one.gguf"))
    equal([entry["name"] for entry in found["resolved"]["model"]["files"]], ["model.gguf"])


def a_plan_reads_headers_only():
    shutil.rmtree(os.path.join(SERVER.state, "models"))
    before, size = STORAGE.state()["read"], STORAGE.state()["objects"]["models/published/novella-1m/model.safetensors"]["size"]
    plan = SERVER.json("POST", "/jobs?dry_run=true", job_of("s3://models/published/novella-1m"))
    assert STORAGE.state()["read"] - before < size / 2, "%d bytes of %d were read" % (STORAGE.state()["read"] - before, size)
    equal((plan["model"]["source"], plan["totals"]["layers"]), ("s3", 42))
    status, _, data = SERVER.request("POST", "/jobs?dry_run=true", job_of(publish={"url": "s3://private/x"}))
    equal(status, 422, data)
    assert b"/publish/url" in data, data


def what_the_operator_did_not_allow_is_refused_with_a_pointer():
    SERVER.refused(job_of("s3://models/elsewhere"), "/model", "s3-allow")
    SERVER.refused(job_of({"url": "s3://private/x"}), "/model/url", "s3-allow")
    SERVER.refused(job_of("s3://models/published/../secret"), "/model", "'..'")
    SERVER.refused(job_of("s3://models/published/%2e%2e/secret"), "/model", "'..'")
    SERVER.refused(job_of("s3://models/publishedelse"), "/model", "s3-allow")
    SERVER.refused(job_of("s3://UPPER/x"), "/model", "lower-case")
    SERVER.refused(job_of(publish={"url": "s3://private/x"}), "/publish/url", "s3-allow")
    SERVER.refused(job_of(publish="s3://private/x"), "/publish", "s3-allow")
    SERVER.refused(job_of(publish={"url": "ftp://example.com/x"}), "/publish/url", "scheme")
    SERVER.refused(job_of(publish={"url": "http://10.0.0.1/x"}), "/publish/url", "private")
    SERVER.refused(job_of(evaluation={"text": "s3://private/x.txt"}), "/evaluation/text", "s3-allow")
    bare = Server("--file-root", ROOT)
    bare.refused(job_of("s3://models/published/x"), "/model", "s3-allow names no bucket")
    bare.kill()
    keyless = Server("--file-root", ROOT, "--s3-allow", "models")
    keyless.refused(job_of("s3://models/x"), "/model", "s3-credentials")
    keyless.kill()


def wrong_keys_are_said_and_never_shown():
    wrong = os.path.join(ROOT, "wrong")
    with open(wrong, "w") as out:
        out.write("access-key-id = %s\nsecret-access-key = another-secret\nsession-token = %s\n" % (KEY, TOKEN))
    server = Server(*[wrong if flag == CREDENTIALS else flag for flag in FLAGS])
    server.fail(job_of("s3://models/published/novella-1m"), "SignatureDoesNotMatch")
    log = open(server.log_path).read()
    assert "another-secret" not in log and TOKEN not in log
    assert "s3-credentials" in log, "a file that others may read is warned of"
    with open(wrong, "w") as out:  # rotated: taken up without a restart
        out.write("access-key-id = %s\nsecret-access-key = %s\nsession-token = %s\n" % (KEY, SECRET, TOKEN))
    server.succeed(job_of("s3://models/published/novella-1m"))
    server.kill()


def keys_may_come_from_the_environment():
    environment = dict(os.environ, AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET, AWS_SESSION_TOKEN=TOKEN)
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        server = Server(*[flag for flag in FLAGS if flag not in ("--s3-credentials", CREDENTIALS)])
    finally:
        os.environ.clear()
        os.environ.update(before)
    server.succeed(job_of("s3://models/published/novella-1m"))
    server.kill()


run_claims([an_artifact_is_uploaded_and_its_manifest_last, a_folder_of_the_web_takes_it_by_put_too,
            storms_cuts_and_wrong_bytes_are_tried_again_until_all_is_right, an_upload_that_fails_leaves_the_job_as_it_is,
            killed_in_the_middle_it_goes_on_with_the_files_that_are_missing, a_model_in_a_bucket_is_found_read_and_kept,
            broken_reads_go_on_where_they_stopped_and_changes_are_seen, texts_may_lie_in_a_bucket, a_single_gguf_of_a_bucket_is_a_model, a_plan_reads_headers_only,
            what_the_operator_did_not_allow_is_refused_with_a_pointer, wrong_keys_are_said_and_never_shown, keys_may_come_from_the_environment])
