"""Events: a client that comes back gets what it missed and nothing twice, over breaks, restarts and kills; one whose place is lost is told so."""
import os
import sqlite3
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: E402,F403

ROOT = temporary_folder()
copy_model(ROOT, "good")
URL = "file://" + os.path.join(ROOT, "good")
SERVER = Server("--file-root", ROOT)


def again(kill):
    global SERVER
    state = SERVER.state
    if kill:
        SERVER.kill()
    else:
        equal(SERVER.stop(), 0)
    SERVER = Server("--file-root", ROOT, state=state)


def stream(job, query="", last=None, until=None):
    """(id or None, type, data) of each frame, until the stream ends or `until` says so."""
    connection = http.client.HTTPConnection(SERVER.host, SERVER.port, timeout=120 * SLOW)
    headers = {"Accept": "text/event-stream"}
    if last is not None:
        headers["Last-Event-ID"] = str(last)
    connection.request("GET", "/jobs/%s/events%s" % (job, query), headers=headers)
    reply = connection.getresponse()
    equal(reply.status, 200)
    frames, fields = [], {}
    for line in reply:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            fields[name] = value
        elif "data" in fields:
            frames.append((int(fields["id"]) if "id" in fields else None, fields.get("event"), json.loads(fields["data"])))
            fields = {}
            if until and until(frames):
                break
        else:
            fields = {}
    connection.close()
    return frames


def listed(job, after=0):
    return SERVER.json("GET", "/jobs/%s/events?limit=10000&after=%d" % (job, after))["data"]


def what_was_missed_comes_once_over_a_stop_and_a_kill():
    job = SERVER.submit(quick_job(URL, calibration={"samples": 128, "length": 512}))
    seen = stream(job, until=lambda frames: any(kind == "layer" for _, kind, _ in frames))
    again(kill=False)
    seen += stream(job, last=seen[-1][0], until=lambda frames: len([1 for _, kind, _ in frames if kind == "layer"]) > 2)
    again(kill=True)
    seen += stream(job, query="?after=1", last=seen[-1][0])  # the header wins over the address, which a browser repeats
    equal(seen[-1], (None, "end", {"state": "succeeded"}))
    equal([event for _, _, event in seen[:-1]], listed(job))
    equal([number for number, _, _ in seen[:-1]], list(range(1, len(seen))), "no gap, nothing twice")
    half = len(seen) // 2
    equal(stream(job, query="?after=%d" % half), seen[half:], "and the same again from any place")
    assert not [1 for _, kind, _ in seen if kind == "resync"]


def a_place_beyond_the_last_event_is_no_place():
    job = SERVER.succeed(quick_job(URL))["id"]
    newest = listed(job)[-1]["id"]
    frames = stream(job, last=newest + 1000)
    equal(frames, [(newest, "resync", {"after": newest}), (None, "end", {"state": "succeeded"})])
    equal(stream(job, last=newest), [(None, "end", {"state": "succeeded"})], "the newest itself is one")


def a_place_before_what_is_kept_is_no_place():
    job = SERVER.succeed(quick_job(URL))["id"]
    SERVER.stop()
    with sqlite3.connect(os.path.join(SERVER.state, "quantd.db")) as database:
        database.execute("DELETE FROM event WHERE job = ? AND id <= 5", (job,))
    database.close()
    again(kill=True)
    frames = stream(job, last=2)
    equal(frames[0], (5, "resync", {"after": 5}))
    equal([number for number, _, _ in frames[1:-1]], [event["id"] for event in listed(job)])
    equal(frames[1][0], 6)
    equal(stream(job, last=5), frames[1:], "what follows the place that was named")


def a_stream_that_waits_hears_of_a_change():
    running = SERVER.submit(quick_job(URL, calibration={"samples": 512, "length": 512}))
    job = SERVER.submit(quick_job(URL))
    SERVER.json("PATCH", "/jobs/" + job, {"priority": 70})
    frames = stream(job, until=lambda frames: frames[-1][1] == "change")
    equal(frames[-1][2]["data"], {"priority": 70})
    for one in (job, running):
        SERVER.request("POST", "/jobs/%s/cancel" % one)


def every_problem_says_where_what_and_when():
    for method, path, body, headers, status, kind in (
            ("GET", "/nothing", None, {}, 404, "not-found"), ("PUT", "/jobs", None, {}, 405, "method-not-allowed"),
            ("GET", "/jobs?limit=0", None, {}, 400, "bad-request"), ("POST", "/jobs", "{", {}, 400, "not-json"),
            ("POST", "/jobs", "{}", {}, 422, "invalid-job"), ("POST", "/jobs", "{}", {"Origin": "http://elsewhere"}, 403, "forbidden"),
            ("GET", "/jobs/%s" % ("0" * 26), None, {}, 404, "not-found")):
        got, answer, data = SERVER.request(method, path, body, headers)
        problem = json.loads(data)
        equal((got, problem["status"], problem["type"]), (status, status, "https://quantd.dev/problems/" + kind), path)
        equal(problem["request_id"], answer["x-request-id"])
        assert "retry_after" not in problem and "retry-after" not in answer, problem
    small = Server("--file-root", ROOT, "--queue-limit", "1")
    busy = [small.request("POST", "/jobs", quick_job(URL, calibration={"samples": 512, "length": 512})) for _ in range(4)][-1]
    equal(busy[0], 429)
    equal(json.loads(busy[2])["retry_after"], int(busy[1]["retry-after"]))


def every_answer_carries_a_request_id_of_its_own():
    seen = set()
    for path in ("/", "/jobs", "/livez", "/nothing", "/jobs?x=1", "/openapi.json"):
        for headers in ({}, {"If-None-Match": "*"}):
            identity = SERVER.request("GET", path, headers=headers)[1]["x-request-id"]
            assert re.fullmatch("[0-9a-f]{24}", identity) and identity not in seen, identity
            seen.add(identity)


run_claims([what_was_missed_comes_once_over_a_stop_and_a_kill, a_place_beyond_the_last_event_is_no_place,
            a_place_before_what_is_kept_is_no_place, a_stream_that_waits_hears_of_a_change, every_problem_says_where_what_and_when,
            every_answer_carries_a_request_id_of_its_own])
