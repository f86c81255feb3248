"""Idempotency-Key: a request that is sent again, by the same client, makes no second job, whatever happened in between."""
import os
import sqlite3
import threading

from harness import *  # noqa: F403

ROOT = temporary_folder()
copy_model(ROOT, "good")
URL = "file://" + os.path.join(ROOT, "good")
SERVER = Server("--file-root", ROOT)


def post(key, body, server=None):
    return (server or SERVER).request("POST", "/jobs", body, {"Idempotency-Key": key} if key is not None else {})


def jobs(server=None):
    return (server or SERVER).json("GET", "/jobs?limit=200")["data"]


def the_same_request_gets_the_same_answer_and_no_second_job():
    body = json.dumps(quick_job(URL, name="once"))
    status, first, data = post("k-1", body)
    equal(status, 202, data)
    assert "idempotent-replayed" not in first, first
    SERVER.wait(json.loads(data)["id"])
    status, again, copy = post("k-1", body)
    equal(status, 202)
    equal(copy, data, "the answer of the first time, though the job has moved on")
    for name in ("location", "etag", "content-type"):
        equal(again[name], first[name], name)
    equal(again["idempotent-replayed"], "true")
    assert again["x-request-id"] != first["x-request-id"]
    equal(len(jobs()), 1)
    other = json.loads(post("k-2", body)[2])["id"]
    assert other != json.loads(data)["id"], "another key is another job"
    SERVER.wait(other)


def another_body_under_the_same_key_is_refused():
    body = json.dumps(quick_job(URL))
    first = json.loads(post("k-3", body)[2])["id"]
    before = len(jobs())
    for other in (body + " ", json.dumps(quick_job(URL, bits=3)), "{"):
        status, headers, data = post("k-3", other)
        equal(status, 422, data)
        problem = json.loads(data)
        equal(problem["type"], "https://quantd.dev/problems/idempotency-key-reused")
        assert "another body" in problem["detail"], problem
    equal(len(jobs()), before)
    SERVER.wait(first)


def a_refused_request_keeps_nothing_and_may_be_mended():
    status, _, data = post("k-4", json.dumps(quick_job(URL, bits=17)))
    equal(status, 422, data)
    equal(json.loads(data)["errors"][0]["pointer"], "/bits")
    status, headers, data = post("k-4", json.dumps(quick_job(URL)))
    equal(status, 202, data)
    assert "idempotent-replayed" not in headers
    SERVER.wait(json.loads(data)["id"])


def keys_are_1_to_200_visible_ascii_characters():
    body = json.dumps(quick_job(URL))
    before = len(jobs())
    for key in ("", "x" * 201, "two words", "caf\xe9"):
        status, _, data = post(key, body)
        equal(status, 400, key)
        assert "Idempotency-Key" in json.loads(data)["detail"], data
    equal(len(jobs()), before)
    status, _, data = post("~" * 200, body)
    equal(status, 202, data)
    SERVER.wait(json.loads(data)["id"])


def of_many_at_once_one_makes_the_job_and_no_other_does():
    body = json.dumps(quick_job(URL, name="crowd"))
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(post("k-crowd", body))) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = {data for status, _, data in answers if status == 202}
    equal(len(made), 1, "one job, one answer")
    for status, headers, data in answers:
        assert status in (202, 409), (status, data)
        if status == 409:
            equal(json.loads(data)["type"], "https://quantd.dev/problems/under-way")
            equal(headers["retry-after"], "1")
            equal(json.loads(data)["retry_after"], 1)
    equal(len([j for j in jobs() if j["name"] == "crowd"]), 1)
    SERVER.wait(json.loads(made.pop())["id"])


def the_answer_outlives_the_job_a_kill_and_a_restart():
    global SERVER
    body = json.dumps(quick_job(URL, name="gone"))
    data = post("k-5", body)[2]
    SERVER.kill()
    SERVER = Server("--file-root", ROOT, state=SERVER.state)
    equal(post("k-5", body)[2], data, "acknowledged, so kept")
    job = json.loads(data)["id"]
    SERVER.wait(job)
    equal(SERVER.request("DELETE", "/jobs/" + job)[0], 204)
    status, headers, copy = post("k-5", body)
    equal((status, copy, headers["location"]), (202, data, "/jobs/" + job))
    equal(SERVER.request("GET", "/jobs/" + job)[0], 404, "the job itself is gone")


def after_a_day_the_key_is_free_again():
    global SERVER
    SERVER.stop()
    with sqlite3.connect(os.path.join(SERVER.state, "quantd.db")) as database:
        day = 24 * 3600 * 1000
        database.execute("UPDATE idempotency SET created_ms = created_ms - ? WHERE key = 'k-5'", (day,))
        database.execute("UPDATE idempotency SET created_ms = created_ms - ? WHERE key = 'k-1'", (day - 3600 * 1000,))
    database.close()
    SERVER = Server("--file-root", ROOT, state=SERVER.state)
    status, headers, data = post("k-5", json.dumps(quick_job(URL, name="another")))
    equal(status, 202, data)
    assert "idempotent-replayed" not in headers
    equal(post("k-1", json.dumps(quick_job(URL, name="once")))[1]["idempotent-replayed"], "true", "23 hours are no day")
    SERVER.stop()
    with sqlite3.connect(os.path.join(SERVER.state, "quantd.db")) as database:
        database.execute("UPDATE idempotency SET created_ms = 1 WHERE key <> 'k-1'")
    database.close()
    SERVER = Server("--file-root", ROOT, state=SERVER.state)
    assert SERVER.json("POST", "/admin/collect")["rows"] > 0
    with sqlite3.connect(os.path.join(SERVER.state, "quantd.db")) as database:
        left = [row[0] for row in database.execute("SELECT key FROM idempotency")]
    database.close()
    equal(left, ["k-1"])


run_claims([the_same_request_gets_the_same_answer_and_no_second_job, another_body_under_the_same_key_is_refused,
            a_refused_request_keeps_nothing_and_may_be_mended, keys_are_1_to_200_visible_ascii_characters,
            of_many_at_once_one_makes_the_job_and_no_other_does, the_answer_outlives_the_job_a_kill_and_a_restart,
            after_a_day_the_key_is_free_again])
