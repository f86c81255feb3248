"""Webhooks as a receiver sees them: signed, at every end of a job, again until they are taken, and never lost."""
import base64
import datetime
import hashlib
import hmac
import json
import os
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: E402,F403

ROOT = temporary_folder()
copy_model(ROOT, "novella-1m")
KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
HERE = os.path.dirname(os.path.abspath(__file__))


class Receiver(Process):
    def __init__(self, port=0):
        super().__init__([sys.executable, os.path.join(HERE, "receiver.py"), "--port", str(port)], os.path.join(temporary_folder(), "receiver.log"))

    def came(self, path):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        connection.request("GET", "/_log")
        return [entry for entry in json.loads(connection.getresponse().read()) if entry["path"] == path]

    def wait(self, path, count=1, seconds=60):
        end = time.monotonic() + seconds * SLOW
        while time.monotonic() < end:
            found = self.came(path)
            if len(found) >= count:
                return found
            time.sleep(0.05)
        raise AssertionError("%s: %d of %d messages came" % (path, len(self.came(path)), count))


RECEIVER = Receiver()
SERVER = Server("--file-root", ROOT)


def hook(path, plan="204", receiver=None):
    return {"url": "%s%s?plan=%s&token=hidden" % ((receiver or RECEIVER).url, path, plan), "secret": SECRET}


def failing(path, plan="204", **more):
    """A job that fails at once: its model is not there."""
    return {"model": "file://%s/nothing" % ROOT, "algorithm": "rtn", "webhook": hook(path, plan), **more}


def checked(message):
    """The message's body, after its signature was checked as the standard says it."""
    headers = message["headers"]
    text = "%s.%s.%s" % (headers["webhook-id"], headers["webhook-timestamp"], message["body"])
    want = "v1," + base64.b64encode(hmac.new(KEY, text.encode("latin-1"), hashlib.sha256).digest()).decode()
    assert want in headers["webhook-signature"].split(" "), headers
    assert abs(time.time() - int(headers["webhook-timestamp"])) < 60 * SLOW, headers
    equal(headers["content-type"], "application/json")
    return json.loads(message["body"])


def settled(job, state, count=1, seconds=90):
    """The job's deliveries, when `count` of them are in this state."""
    end = time.monotonic() + seconds * SLOW
    while time.monotonic() < end:
        found = SERVER.json("GET", "/jobs/%s/deliveries" % job)["data"]
        if sum(entry["state"] == state for entry in found) >= count:
            return found
        time.sleep(0.05)
    raise AssertionError("%s: %s" % (state, found))


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def secret_of(job):
    import sqlite3
    connection = sqlite3.connect("file:%s?mode=ro" % os.path.join(SERVER.state, "quantd.db"), uri=True)
    found, = connection.execute("SELECT webhook_secret FROM job WHERE id = ?", (job,)).fetchone()
    connection.close()
    return found


def a_job_that_succeeds_is_told_of_once_with_a_signature_that_holds():
    found = SERVER.succeed(quick_job("file://%s/novella-1m" % ROOT, name="first", tags={"team": "a"}, webhook=hook("/succeeded")))
    body = checked(RECEIVER.wait("/succeeded")[0])
    equal(body["type"], "job.succeeded")
    equal(body["timestamp"], found["finished_at"])
    for key in ("id", "name", "tags", "state", "created_at", "started_at", "finished_at", "attempt", "resumed", "result", "problem"):
        equal(body["data"][key], found[key], key)
    for name, link in body["data"]["links"].items():
        equal(SERVER.request("GET", link)[0], 200, name)
    entry, = settled(found["id"], "delivered")
    equal(entry["id"], RECEIVER.came("/succeeded")[0]["headers"]["webhook-id"])
    equal([(a["number"], a["status"]) for a in entry["attempts"]], [(1, 204)])
    equal(entry["url"], RECEIVER.url + "/succeeded", "the query is not shown")
    events = [e["data"] for e in SERVER.json("GET", "/jobs/%s/events" % found["id"])["data"] if e["type"] == "delivery"]
    equal([(e["state"], e["status"]) for e in events], [("delivered", 204)])
    equal(secret_of(found["id"]), None, "nothing is left that the secret could sign")
    equal(len(RECEIVER.came("/succeeded")), 1)
    equal(SERVER.request("POST", "/jobs/%s/deliveries/%s/retry" % (found["id"], entry["id"]))[0], 409)


def failed_cancelled_and_tried_again_jobs_are_told_of_too():
    job = SERVER.submit(failing("/failed"))
    body = checked(RECEIVER.wait("/failed")[0])
    equal(body["type"], "job.failed")
    equal(body["data"]["problem"], SERVER.json("GET", "/jobs/" + job)["problem"])
    SERVER.json("POST", "/jobs/%s/retry" % job, want=202)
    again = [checked(message) for message in RECEIVER.wait("/failed", 2)]
    equal([body["type"] for body in again], ["job.failed"] * 2)
    assert len({message["headers"]["webhook-id"] for message in RECEIVER.came("/failed")}) == 2, "another end is another message"
    long = SERVER.submit(quick_job("file://%s/novella-1m" % ROOT, algorithm="qronos", effort="best", calibration={"samples": 512, "length": 512}))
    job = SERVER.submit(quick_job("file://%s/novella-1m" % ROOT, webhook=hook("/cancelled")))
    SERVER.json("POST", "/jobs/%s/cancel" % job, want=202)
    equal(checked(RECEIVER.wait("/cancelled")[0])["type"], "job.cancelled")
    SERVER.json("POST", "/jobs/%s/cancel" % job, want=202)
    SERVER.json("POST", "/jobs/%s/cancel" % long, want=202)
    settled(job, "delivered")
    equal(len(RECEIVER.came("/cancelled")), 1, "cancelling twice is one end")


def a_quarantined_artifact_is_told_of():
    job = SERVER.submit(quick_job("file://%s/novella-1m" % ROOT, gate={"perplexity_ratio": 0.5}, webhook=hook("/quarantined")))
    body = checked(RECEIVER.wait("/quarantined", seconds=240)[0])
    equal(body["type"], "job.quarantined")
    assert "artifacts" not in body["data"]["links"], body["data"]["links"]
    settled(job, "delivered")


def what_is_not_taken_comes_again_with_the_same_id_and_a_new_signature():
    job = SERVER.submit(failing("/flaky", "503:1,500:2,204"))
    messages = RECEIVER.wait("/flaky", 3)
    equal(len({m["headers"]["webhook-id"] for m in messages}), 1, "one id")
    equal(len({m["body"] for m in messages}), 1, "the same bytes")
    assert len({m["headers"]["webhook-timestamp"] for m in messages}) == 3, "signed anew"
    for message in messages:
        checked(message)
    assert messages[1]["time"] - messages[0]["time"] >= 0.9, "Retry-After: 1"
    assert messages[2]["time"] - messages[1]["time"] >= 1.9, "Retry-After: 2"
    entry, = settled(job, "delivered")
    equal([a["status"] for a in entry["attempts"]], [503, 500, 204])
    assert "503" in entry["attempts"][0]["detail"], entry
    events = [e["data"] for e in SERVER.json("GET", "/jobs/%s/events" % job)["data"] if e["type"] == "delivery"]
    equal([(e["state"], e["try"]) for e in events], [("pending", 1), ("pending", 2), ("delivered", 3)])
    assert events[0]["next_at"] and events[2]["next_at"] is None, events
    assert secret_of(job) == SECRET, "the job may be tried again, and then it signs once more"


def without_retry_after_the_pause_is_five_seconds_more_or_less():
    job = SERVER.submit(failing("/pause", "500,204"))
    first, second = RECEIVER.wait("/pause", 2)
    assert 3.9 < second["time"] - first["time"] < 7 * patience(), second["time"] - first["time"]
    settled(job, "delivered")
    event = [e for e in SERVER.json("GET", "/jobs/%s/events" % job)["data"] if e["type"] == "delivery"][0]
    pause = moment(event["data"]["next_at"]) - moment(event["time"])  # it was written down a moment after it was decided
    assert pause < 6.001, pause


def gone_and_redirects_are_final_and_not_followed():
    job = SERVER.submit(failing("/gone", "410"))
    entry, = settled(job, "failed")
    equal([a["status"] for a in entry["attempts"]], [410])
    job = SERVER.submit(failing("/moved", "302:1,307:1,204"))
    entry, = settled(job, "delivered")
    equal([a["status"] for a in entry["attempts"]], [302, 307, 204])
    equal(RECEIVER.came("/elsewhere"), [], "nobody went where the redirect led")


def a_delivery_that_was_given_up_can_be_sent_again_by_hand():
    job = SERVER.submit(failing("/revived", "410,204"))
    entry, = settled(job, "failed")
    path = "/jobs/%s/deliveries/%s/retry" % (job, entry["id"])
    answer = SERVER.json("POST", path, want=202)
    equal(answer["id"], entry["id"])
    entry, = settled(job, "delivered")
    equal([a["number"] for a in entry["attempts"]], [1, 2])
    equal({m["headers"]["webhook-id"] for m in RECEIVER.came("/revived")}, {entry["id"]})
    equal(SERVER.request("POST", "/jobs/%s/deliveries/msg_%s/retry" % (job, "0" * 26))[0], 404)
    equal(SERVER.request("POST", "/jobs/%s/deliveries/%s/retry" % ("0" * 26, entry["id"]))[0], 404)
    equal(SERVER.request("GET", "/jobs/%s/deliveries" % ("0" * 26))[0], 404)


def slow_receivers_hold_up_nobody_else():
    slow = [SERVER.submit(failing("/slow%d" % i, "204~10")) for i in range(6)]
    RECEIVER.wait("/slow0")
    other = Receiver()
    started = time.monotonic()
    job = SERVER.submit(dict(failing("/quick"), webhook=hook("/quick", receiver=other)))
    other.wait("/quick")
    assert time.monotonic() - started < 8 * patience(), "the receiver at another host waited %.1f s" % (time.monotonic() - started)
    assert len([1 for i in range(6) if RECEIVER.came("/slow%d" % i)]) <= 4, "two at a time at one host"
    other.kill()
    settled(job, "delivered")
    for job in slow:
        settled(job, "delivered")


def silence_for_fifteen_seconds_is_no_answer():
    job = SERVER.submit(failing("/silent", "204~40"))
    end = time.monotonic() + 40 * SLOW
    while time.monotonic() < end:
        entry, = SERVER.json("GET", "/jobs/%s/deliveries" % job)["data"] or [{"attempts": []}]
        if entry["attempts"]:
            break
        time.sleep(0.2)
    attempt = entry["attempts"][0]
    equal(attempt["status"], None)
    assert 14 < attempt["seconds"] < 20 * patience() and "15 seconds" in attempt["detail"], attempt
    equal(SERVER.request("DELETE", "/jobs/" + job)[0], 204)


def killed_between_the_end_and_the_delivery_it_is_told_of_after_the_restart():
    global SERVER
    late = Receiver()
    late.kill()
    keeper = kept_port(late.port)  # it is nobody's now
    request = dict(failing("/late"), webhook=hook("/late", receiver=late))
    jobs = [SERVER.submit(request) for _ in range(3)]
    for job in jobs:
        SERVER.wait(job)
    under_way = SERVER.submit(failing("/midway", "204~60"))
    RECEIVER.wait("/midway")
    ids = {job: [e["id"] for e in SERVER.json("GET", "/jobs/%s/deliveries" % job)["data"]] for job in jobs + [under_way]}
    assert all(len(found) == 1 for found in ids.values()), ids
    SERVER.kill()
    late = Receiver(late.port)
    keeper.close()
    SERVER = Server("--file-root", ROOT, state=SERVER.state)
    messages = late.wait("/late", 3)
    for message in messages:
        checked(message)
    equal(sorted(m["headers"]["webhook-id"] for m in messages), sorted(ids[job][0] for job in jobs), "the same ids")
    midway = RECEIVER.wait("/midway", 2)
    equal({m["headers"]["webhook-id"] for m in midway}, {ids[under_way][0]}, "under way when it was killed: at least once, the same id")
    for job in jobs:
        settled(job, "delivered")
    equal(len(late.came("/late")), 3)
    late.kill()


def killed_at_any_moment_every_end_is_told_of():
    """State change and delivery are one transaction: whatever end a job has, its message exists."""
    global SERVER
    jobs = []
    for turn in range(6):
        jobs += [SERVER.submit(failing("/storm", "503:1,204")) for _ in range(4)]
        time.sleep(0.05 * turn)
        SERVER.kill()
        SERVER = Server("--file-root", ROOT, state=SERVER.state)
    for job in jobs:
        SERVER.wait(job)
        entry, = settled(job, "delivered")
        assert any(m["headers"]["webhook-id"] == entry["id"] and m["status"] == 204 for m in RECEIVER.came("/storm")), entry


def after_the_last_try_it_is_given_up():
    server = Server("--file-root", ROOT, "--webhook-tries", "2")
    job = server.submit(failing("/hopeless", "500:1"))
    end = time.monotonic() + 30 * SLOW
    entry = {"state": "pending"}
    while entry["state"] == "pending" and time.monotonic() < end:
        time.sleep(0.1)
        entry = (server.json("GET", "/jobs/%s/deliveries" % job)["data"] or [entry])[0]
    equal(entry["state"], "failed")
    equal(len(entry["attempts"]), 2)
    equal(server.json("GET", "/jobs/" + job)["state"], "failed", "the job's own state has nothing to do with it")
    text = server.request("GET", "/metrics")[2].decode()
    for line in ('quantd_delivery_attempts_total{kind="webhook"} 2', 'quantd_deliveries_failed_total{kind="webhook"} 1',
                 'quantd_deliveries_taken_total{kind="webhook"} 0', 'quantd_deliveries_pending{kind="webhook"} 0',
                 'quantd_deliveries_pending{kind="publish"} 0'):
        assert line in text.splitlines(), line
    server.kill()


def what_cannot_be_sent_is_refused_with_a_pointer():
    good = {"url": "https://example.com/hook", "secret": SECRET}
    base = {"model": "file://%s/nothing" % ROOT, "algorithm": "rtn"}
    for webhook, pointer, part in (
            ({"url": good["url"]}, "/webhook/secret", "required"),
            ({"secret": SECRET}, "/webhook/url", "url"),
            (dict(good, secret="hunter2"), "/webhook/secret", "whsec_"),
            (dict(good, secret="whsec_***"), "/webhook/secret", "base64"),
            (dict(good, secret="whsec_" + base64.b64encode(bytes(23)).decode()), "/webhook/secret", "23 bytes"),
            (dict(good, secret="whsec_" + base64.b64encode(bytes(65)).decode()), "/webhook/secret", "65 bytes"),
            (dict(good, url="ftp://example.com/"), "/webhook/url", "scheme"),
            (dict(good, url="s3://bucket/x"), "/webhook/url", "https"),
            (dict(good, url="file:///etc/passwd"), "/webhook/url", "https"),
            (dict(good, url="https://user:pass@example.com/"), "/webhook/url", "user name"),
            (dict(good, url="http://169.254.169.254/latest"), "/webhook/url", "metadata"),
            (dict(good, url="https://[::ffff:10.0.0.1]/"), "/webhook/url", "private")):
        problem = SERVER.refused(dict(base, webhook=webhook), pointer, part)
        assert "hunter2" not in json.dumps(problem), problem


def private_addresses_are_refused_unless_the_operator_opens_them():
    server = Process([QUANTD, "serve", "--listen", "127.0.0.1:0", "--state", os.path.join(temporary_folder(), "state"), "--allow-http", "--file-root", ROOT,
                      "--disk-floor", "0"], os.path.join(temporary_folder(), "serve.log"))
    server.request, server.json = Server.request.__get__(server), Server.json.__get__(server)
    server.submit = Server.submit.__get__(server)
    status, _, data = server.request("POST", "/jobs", failing("/private"))
    equal(status, 422, data)
    assert b"/webhook/url" in data and b"loopback" in data, data
    named = dict(failing("/private"), webhook={"url": "http://localhost:%d/private" % RECEIVER.port, "secret": SECRET})
    job = server.submit(named)  # a name is judged when it is resolved
    end = time.monotonic() + 30 * SLOW
    entry = {"state": "pending"}
    while entry["state"] == "pending" and time.monotonic() < end:
        time.sleep(0.1)
        entry = (server.json("GET", "/jobs/%s/deliveries" % job)["data"] or [entry])[0]
    equal(entry["state"], "failed", "never again")
    assert "allow-net" in entry["attempts"][0]["detail"], entry
    equal(RECEIVER.came("/private"), [])
    server.kill()


def secrets_are_nowhere_to_be_read():
    signed = failing("/secret", publish={"url": "https://storage.example/put/?signature=hidden"})
    signed["model"] += "?signature=hidden"
    job = SERVER.submit(dict(signed, model={"url": signed["model"]}))
    settled(job, "delivered")
    for path in ("/jobs/" + job, "/jobs", "/jobs/%s/events" % job, "/jobs/%s/deliveries" % job):
        shown = SERVER.request("GET", path)[2].decode()
        assert SECRET not in shown and "hidden" not in shown, (path, shown)  # a query may be a token
    equal([found["id"] for found in SERVER.json("GET", "/jobs?q=/nothing&limit=1")["data"]], [job])
    equal(SERVER.json("GET", "/jobs?q=signature%3Dh")["data"], [])  # nor found out letter by letter
    for folder, _, names in os.walk(os.path.join(SERVER.state, "jobs")):
        for name in names:
            assert SECRET.encode() not in open(os.path.join(folder, name), "rb").read(), name
    log = open(SERVER.log_path, "rb").read()
    assert SECRET.encode() not in log and b"hidden" not in log


def deleting_a_job_ends_its_deliveries():
    job = SERVER.submit(failing("/deleted", "500:1,500:1,500:1,204"))
    RECEIVER.wait("/deleted")
    equal(SERVER.request("DELETE", "/jobs/" + job)[0], 204)
    time.sleep(3)
    count = len(RECEIVER.came("/deleted"))
    time.sleep(2)
    equal(len(RECEIVER.came("/deleted")), count)
    equal(SERVER.request("GET", "/jobs/%s/deliveries" % job)[0], 404)


run_claims([a_job_that_succeeds_is_told_of_once_with_a_signature_that_holds, failed_cancelled_and_tried_again_jobs_are_told_of_too,
            a_quarantined_artifact_is_told_of, what_is_not_taken_comes_again_with_the_same_id_and_a_new_signature,
            without_retry_after_the_pause_is_five_seconds_more_or_less, gone_and_redirects_are_final_and_not_followed,
            a_delivery_that_was_given_up_can_be_sent_again_by_hand, slow_receivers_hold_up_nobody_else, silence_for_fifteen_seconds_is_no_answer,
            killed_between_the_end_and_the_delivery_it_is_told_of_after_the_restart, killed_at_any_moment_every_end_is_told_of,
            after_the_last_try_it_is_given_up, what_cannot_be_sent_is_refused_with_a_pointer, private_addresses_are_refused_unless_the_operator_opens_them,
            secrets_are_nowhere_to_be_read, deleting_a_job_ends_its_deliveries])
