"""What may be changed of a job that exists: PATCH with If-Match while it waits, runs or is done; retry with other fields."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: E402,F403

ROOT = temporary_folder()
copy_model(ROOT, "good")
URL = "file://" + os.path.join(ROOT, "good")
SERVER = Server("--file-root", ROOT)
STATE = {}
PATCHABLE = "name, tags, priority"
LONG = {"samples": 512, "length": 512}


def patch(job, changes, want=200, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    status, got, data = SERVER.request("PATCH", "/jobs/" + job, changes, headers)
    equal(status, want, data)
    return got, json.loads(data)


def tag_of(job):
    return SERVER.request("GET", "/jobs/" + job)[1]["etag"]


def events(job, kind):
    return [e["data"] for e in SERVER.json("GET", "/jobs/%s/events?limit=10000" % job)["data"] if e["type"] == kind]


def stop(*jobs):
    for job in jobs:
        SERVER.request("POST", "/jobs/%s/cancel" % job)
        SERVER.wait(job)


def name_tags_and_priority_are_merged_into_the_job():
    running = SERVER.submit(quick_job(URL, calibration=LONG))
    job = SERVER.submit(quick_job(URL, name="old", tags={"team": "a", "stage": "x"}))
    headers, got = patch(job, {"name": "new", "tags": {"stage": None, "owner": "b"}, "priority": 90})
    equal((got["name"], got["tags"], got["priority"]), ("new", {"team": "a", "owner": "b"}, 90))
    equal([got["resolved"][k] for k in ("name", "tags", "priority")], [got["name"], got["tags"], 90])
    equal(headers["etag"], tag_of(job))
    equal(events(job, "change"), [{"name": "new", "tags": {"team": "a", "owner": "b"}, "priority": 90}])
    equal([j["id"] for j in SERVER.json("GET", "/jobs?tag=owner:b")["data"]], [job], "the new tags find it")
    equal(SERVER.json("GET", "/jobs?tag=stage:x")["data"], [], "the old ones do not")
    headers, got = patch(job, {"name": None, "tags": None, "priority": None}, Content_Type="application/merge-patch+json")
    equal((got["name"], got["tags"], got["priority"]), (None, {}, 50), "null is the default again")
    before = tag_of(job)
    equal(patch(job, {"priority": 50})[0]["etag"], before, "what changes nothing is no change")
    equal(len(events(job, "change")), 2)
    stop(job, running)


def what_cannot_be_changed_is_named_with_what_can():
    job = SERVER.submit(quick_job(URL, calibration=LONG))
    _, problem = patch(job, {"bits": 3, "a/b": 1, "priority": 101, "tags": {"x": 5}}, want=422)
    pointers = {e["pointer"]: e["detail"] for e in problem["errors"]}
    equal(set(pointers), {"/bits", "/a~1b", "/priority", "/tags/x"})
    assert pointers["/bits"].endswith("may change %s only" % PATCHABLE), pointers
    assert "101 is not in 0..100" in pointers["/priority"], pointers
    patch(job, "[]", want=400)
    patch(job, "", want=400)
    patch(job, "{}", want=415, Content_Type="text/plain")
    patch(job, "{}", Content_Type="application/json; charset=utf-8")
    patch("0" * 26, {"name": "x"}, want=404)
    equal(SERVER.json("GET", "/jobs/" + job)["priority"], 50)
    stop(job)


def if_match_keeps_one_client_from_undoing_anothers_change():
    job = SERVER.submit(quick_job(URL, calibration=LONG))
    mine = tag_of(job)
    headers, _ = patch(job, {"name": "theirs"})
    _, problem = patch(job, {"name": "mine"}, want=412, If_Match=mine)
    equal(problem["type"], "https://quantd.dev/problems/precondition-failed")
    equal(SERVER.json("GET", "/jobs/" + job)["name"], "theirs")
    patch(job, {"name": "mine"}, want=412, If_Match="W/" + headers["etag"])
    patch(job, {"name": "mine"}, want=412, If_Match='"x"')
    patch(job, {"name": "mine"}, If_Match='"x", ' + headers["etag"])
    patch(job, {"name": "any"}, If_Match="*")
    patch(job, {"name": "last"})
    equal(SERVER.json("GET", "/jobs/" + job)["name"], "last", "without a condition the last writer wins")
    stop(job)


def progress_of_a_running_job_is_nobodys_change():
    job = SERVER.submit(quick_job(URL, calibration=LONG))
    SERVER.wait(job, states=("quantizing",))
    mine, end = tag_of(job), time.monotonic() + 60 * SLOW
    while tag_of(job) == mine:
        assert time.monotonic() < end, "no progress"
        time.sleep(0.01)
    equal(SERVER.request("GET", "/jobs/" + job, headers={"If-None-Match": mine})[0], 200, "a reader sees it")
    headers, got = patch(job, {"name": "while it runs", "priority": 7}, If_Match=mine)
    assert got["state"] not in FINAL, got["state"]
    patch(job, {"name": "again"}, want=412, If_Match=mine)
    stop(job)
    found = SERVER.json("GET", "/jobs/" + job)
    equal((found["name"], found["resolved"]["name"], found["resolved"]["priority"]), ("while it runs", "while it runs", 7))
    patch(job, {"name": "and when it is done"})


def priority_of_a_queued_job_decides_who_is_next():
    running = SERVER.submit(quick_job(URL, calibration=LONG))
    SERVER.wait(running, states=("quantizing",))
    first, second = SERVER.submit(quick_job(URL)), SERVER.submit(quick_job(URL))
    patch(second, {"priority": 51})
    stop(running)
    SERVER.wait(first)
    SERVER.wait(second)
    started = [SERVER.json("GET", "/jobs/" + j)["started_at"] for j in (second, first)]
    assert started[0] < started[1], started


def checkpoints(job):
    folder = os.path.join(SERVER.state, "jobs", job, "work", "layers")
    return {name: (os.stat(os.path.join(folder, name)).st_mtime_ns, os.stat(os.path.join(folder, name)).st_ino)
            for name in os.listdir(folder)}


def a_retry_with_another_gate_or_limit_keeps_every_finished_layer():
    job = SERVER.submit(quick_job(URL, gate={"perplexity_ratio": 1.0000001}))
    equal(SERVER.wait(job)["state"], "quarantined")
    kept, layers = checkpoints(job), len(events(job, "layer"))
    equal(layers, 42)
    equal(len(kept), 42)
    SERVER.json("POST", "/jobs/%s/retry" % job, {"gate": {"perplexity_ratio": 1.0000002}}, want=202)
    equal(SERVER.wait(job)["state"], "quarantined")
    equal(checkpoints(job), kept, "the files themselves")
    changes = {"gate": {"perplexity_ratio": 9}, "limits": {"runtime": 600}, "name": "looser", "tags": {"try": "2"}, "priority": 60}
    got = SERVER.json("POST", "/jobs/%s/retry" % job, changes, want=202)
    equal((got["name"], got["tags"], got["priority"]), ("looser", {"try": "2"}, 60))
    equal(got["resolved"]["gate"], {"perplexity_ratio": 9, "kl": None, "every_text": False})
    equal(got["resolved"]["limits"]["runtime"], 600)
    after = SERVER.wait(job)
    equal(after["state"], "succeeded", after["problem"])
    equal(len(events(job, "layer")), layers, "no layer was made again")
    equal([j["id"] for j in SERVER.json("GET", "/jobs?tag=try:2")["data"]], [job])
    STATE["succeeded"] = job


def a_retry_with_other_regularization_makes_the_layers_again():
    job = SERVER.submit(quick_job(URL, gate={"perplexity_ratio": 1.0000001}))
    equal(SERVER.wait(job)["state"], "quarantined")
    equal(len(checkpoints(job)), 42)
    SERVER.json("POST", "/jobs/%s/retry" % job, {"regularization": {"mean_diagonal": 0.05}, "gate": None}, want=202)
    after = SERVER.wait(job)
    equal(after["state"], "succeeded", after["problem"])
    equal(after["resolved"]["regularization"], {"mean_diagonal": 0.05})
    equal(after["resolved"]["gate"], {"perplexity_ratio": None, "kl": None, "every_text": False})
    equal(len(events(job, "layer")), 84, "each layer twice")


def a_retry_may_send_elsewhere_with_a_secret_it_has_or_brings():
    secret = "whsec_" + "A" * 32
    job = SERVER.submit(quick_job(URL, calibration=LONG))
    stop(job)
    retry = "/jobs/%s/retry" % job
    for changes, pointer in (({"webhook": {"url": "http://127.0.0.1:9/a"}}, "/webhook/secret"), ({"webhook": {"secret": secret}}, "/webhook/url"),
                             ({"webhook": {"url": "http://10.0.0.1/a", "secret": secret}}, "/webhook/url"), ({"publish": "ftp://x/"}, "/publish")):
        problem = SERVER.json("POST", retry, changes, want=422)
        equal([e["pointer"] for e in problem["errors"]], [pointer], changes)
    got = SERVER.json("POST", retry, {"webhook": {"url": "http://127.0.0.1:9/a", "secret": secret}}, want=202)
    equal(got["resolved"]["webhook"], {"url": "http://127.0.0.1:9/a"})
    stop(job)
    got = SERVER.json("POST", retry, {"webhook": {"url": "http://127.0.0.1:9/b"}}, want=202)
    equal(got["resolved"]["webhook"], {"url": "http://127.0.0.1:9/b"}, "with the secret of before")
    stop(job)
    patch(job, {"name": "x"})
    got = SERVER.json("POST", retry, {"webhook": None}, want=202)
    equal(got["resolved"]["webhook"], {"url": None})
    stop(job)
    assert secret not in json.dumps(SERVER.json("GET", "/jobs/" + job)), "never shown"
    SERVER.json("POST", retry, {"webhook": {"url": "http://127.0.0.1:9/c"}}, want=422)


def a_retry_names_what_it_may_not_change_and_leaves_the_job_alone():
    job = SERVER.submit(quick_job(URL, calibration=LONG))
    stop(job)
    before = SERVER.request("GET", "/jobs/" + job)[2]
    problem = SERVER.json("POST", "/jobs/%s/retry" % job, {"bits": 3, "limits": {"memory": 5}, "model": URL}, want=422)
    pointers = {e["pointer"]: e["detail"] for e in problem["errors"]}
    equal(set(pointers), {"/bits", "/limits/memory", "/model"})
    assert "may change name, tags, priority, regularization, on_degraded, gate, limits, webhook, publish only" in pointers["/bits"], pointers
    equal(SERVER.request("GET", "/jobs/" + job)[2], before)
    SERVER.json("POST", "/jobs/%s/retry" % STATE["succeeded"], {}, want=409)


run_claims([name_tags_and_priority_are_merged_into_the_job, what_cannot_be_changed_is_named_with_what_can,
            if_match_keeps_one_client_from_undoing_anothers_change, progress_of_a_running_job_is_nobodys_change,
            priority_of_a_queued_job_decides_who_is_next, a_retry_with_another_gate_or_limit_keeps_every_finished_layer,
            a_retry_with_other_regularization_makes_the_layers_again,
            a_retry_may_send_elsewhere_with_a_secret_it_has_or_brings, a_retry_names_what_it_may_not_change_and_leaves_the_job_alone])
