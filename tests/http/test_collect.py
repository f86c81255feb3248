"""What is too old or too much is removed; what a job needs never is."""
import os
import sqlite3
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: E402,F403

ROOT = temporary_folder()
for name in ("a", "b", "c"):
    copy_model(ROOT, name)
    # Other weights, so that they are other blobs: the models share only their side files.
    path = os.path.join(ROOT, name, "model.safetensors")
    tensors = read_safetensors(open(path, "rb").read())
    key = sorted(tensors)[0]
    dtype, shape, data = tensors[key]
    tensors[key] = (dtype, shape, bytes([ord(name)]) + data[1:])
    write_safetensors(path, tensors)
os.makedirs(os.path.join(ROOT, "texts"))
for name, source in (("calibration.txt", CALIBRATION), ("evaluation.txt", HELD_OUT)):
    shutil.copy(source, os.path.join(ROOT, "texts", name))
MODELS = ModelServer(ROOT)
TINY = {"algorithm": "rtn", "evaluation": {"length": 128, "windows": 2}}


def tiny(model, **fields):
    return dict(quick_job(MODELS.model(model)), **dict(TINY, **fields))


def collect(server, **query):
    path, end = "/admin/collect" + ("?dry_run=true" if query.get("dry_run") else ""), time.monotonic() + 30 * SLOW
    while True:
        status, _, data = server.request("POST", path)
        if status != 429 or time.monotonic() > end:  # 429: the service collects of its own accord just now
            break
        time.sleep(0.02)
    equal(status, 200, data)
    return json.loads(data)


def kinds(report):
    return sorted({(item["kind"], item["name"]) for item in report["removed"]})


def names(server, *folders):
    path = os.path.join(server.state, *folders)
    return sorted(os.listdir(path)) if os.path.isdir(path) else []


def metric(server, name):
    text = server.request("GET", "/metrics")[2].decode()
    return int(re.search(r"^%s (\d+)$" % name, text, re.M).group(1))


def rest(server):
    """Until no worker has a job in hand: what a job leaves is put away after its end is written."""
    end = time.monotonic() + 30 * SLOW
    while metric(server, "quantd_jobs_running") > 0 and time.monotonic() < end:
        time.sleep(0.02)


def age(server, seconds):
    """The whole cache looks as if it had not been used for so long."""
    for folder, _, files in os.walk(os.path.join(server.state, "models")):
        for path in [folder] + [os.path.join(folder, f) for f in files]:
            try:
                os.utime(path, (os.stat(path).st_mtime - seconds,) * 2)
            except FileNotFoundError:  # a fetch beside this has renamed its temporary file
                pass


def hours_later(server, *flags):
    """The service is started again when the ends of its jobs are two hours old. Nobody sleeps for that, and the collector of its own, which looks
    after ten seconds, does not come before the test's."""
    equal(server.stop(), 0)
    with sqlite3.connect(os.path.join(server.state, "quantd.db")) as database:
        database.execute("UPDATE job SET finished_ms = finished_ms - 7200000 WHERE finished_ms > 0")
    database.close()
    return Server(*flags, state=server.state)


def nothing_is_removed_that_no_rule_names():
    server = Server()
    job = server.succeed(tiny("a"))["id"]
    report = collect(server)
    equal(report["removed"], [])
    assert report["cache_bytes"] > 1000000 and report["artifacts_bytes"] > 100000, report
    equal(names(server, "artifacts"), [job])
    equal(metric(server, "quantd_cache_bytes"), report["cache_bytes"])
    equal(metric(server, "quantd_artifacts_bytes"), report["artifacts_bytes"])
    for query in ("dry_run=maybe", "dry_run=", "dry_run"):
        equal(server.request("POST", "/admin/collect?" + query)[0], 400, query)
    equal(server.stop(), 0)


def old_jobs_go_with_everything_and_a_dry_run_says_so_before():
    server = Server("--keep-jobs", "1h")
    job = server.succeed(tiny("a"))["id"]
    equal(kinds(collect(server)), [], "it is not old yet")
    server = hours_later(server, "--keep-jobs", "1h")
    said = collect(server, dry_run=True)
    equal(kinds(said), [("job", job)])
    equal(server.json("GET", "/jobs/" + job)["state"], "succeeded")
    report = collect(server)
    equal((kinds(report), report["bytes"]), (kinds(said), said["bytes"]))
    equal(server.request("GET", "/jobs/" + job)[0], 404)
    equal(names(server, "artifacts") + names(server, "jobs"), [])
    equal(collect(server)["removed"], [])
    equal(server.stop(), 0)


def old_artifacts_are_gone_and_their_results_stay():
    server = Server("--keep-artifacts", "1h")
    job = server.succeed(tiny("a"))["id"]
    before = server.json("GET", "/jobs/" + job)
    files = server.json("GET", "/jobs/%s/artifacts" % job)["files"]
    equal(kinds(collect(server)), [], "it is not old yet")
    server = hours_later(server, "--keep-artifacts", "1h")
    equal(kinds(collect(server)), [("artifact", job)])
    for path in ("", "/" + files[0]["path"], "/no-such-file"):
        status, headers, data = server.request("GET", "/jobs/%s/artifacts%s" % (job, path))
        equal((status, headers["content-type"]), (410, "application/problem+json"), path)
        problem = json.loads(data)
        assert problem["type"].endswith("/gone") and "keep-artifacts" in problem["detail"], problem
    after = server.json("GET", "/jobs/" + job)
    equal((after["state"], after["result"]), ("succeeded", before["result"]))
    assert server.json("GET", "/jobs/%s/certificate" % job)["layers"]
    equal(names(server, "artifacts"), [])
    equal(server.stop(), 0)
    again = Server(state=server.state)
    equal(again.request("GET", "/jobs/%s/artifacts" % job)[0], 410)
    equal(again.stop(), 0)


def beyond_the_limit_the_oldest_artifact_goes_first():
    server = Server()
    jobs = [server.succeed(tiny("a", name=str(i)))["id"] for i in range(3)]
    size = collect(server)["artifacts_bytes"]
    equal(server.stop(), 0)
    again = Server("--artifacts-limit", str(size - 1), state=server.state)
    equal(kinds(collect(again)), [("artifact", jobs[0])])
    equal(again.request("GET", "/jobs/%s/artifacts" % jobs[0])[0], 410)
    for job in jobs[1:]:
        again.artifact(job)
    equal(again.stop(), 0)


def checkpoints_of_failed_jobs_go_after_their_time_and_a_retry_begins_anew():
    server = Server("--keep-failed", "1h")
    long = dict(quick_job(MODELS.model("a")), calibration={"samples": 64, "length": 512})
    job = server.submit(long)
    end = time.monotonic() + 120 * SLOW
    while not os.path.isdir(os.path.join(server.state, "jobs", job, "work", "layers")) and time.monotonic() < end:
        time.sleep(0.02)
    server.json("POST", "/jobs/%s/cancel" % job, want=202)
    end = time.monotonic() + 30 * SLOW
    while server.json("GET", "/jobs/" + job)["state"] != "cancelled" and time.monotonic() < end:
        time.sleep(0.02)
    rest(server)  # a cancelled job says so before its run has ended
    assert ("checkpoints", job) not in kinds(collect(server)), "it is not old yet"
    assert os.path.isdir(os.path.join(server.state, "jobs", job, "work"))
    server = hours_later(server, "--keep-failed", "1h")
    assert ("checkpoints", job) in kinds(collect(server))
    equal([n for n in names(server, "jobs", job) if n in ("work", "out", "texts")], [])
    equal(server.request("GET", "/jobs/%s/log" % job)[0], 200)
    server.json("POST", "/jobs/%s/retry" % job, want=202)
    equal(server.wait(job)["state"], "succeeded")
    equal(server.stop(), 0)


def folders_of_nobody_and_old_temporary_files_go():
    server = Server()
    job = server.succeed(tiny("a"))["id"]
    rest(server)
    stranger = "0" * 26
    for folder in ("jobs", "artifacts", "quarantine"):
        os.makedirs(os.path.join(server.state, folder, stranger))
    os.makedirs(os.path.join(server.state, "jobs", "a-note-of-the-operator"))
    old, new = (os.path.join(server.state, n) for n in ("quantd.db.backup-v1.tmp", "x.tmp.1.1"))
    for path in (old, new):
        open(path, "w").close()
    os.utime(old, (1, 1))
    os.makedirs(os.path.join(server.state, "jobs", job, "work"), exist_ok=True)
    open(os.path.join(server.state, "jobs", job, "work", "x"), "w").close()
    found = kinds(collect(server))
    for item in (("orphan", stranger), ("temporary", os.path.basename(old)), ("checkpoints", job)):
        assert item in found, (item, found)
    assert os.path.exists(new) and not os.path.exists(old)
    equal(names(server, "jobs"), sorted([job, "a-note-of-the-operator"]))
    server.artifact(job)
    equal(server.stop(), 0)


def the_cache_keeps_what_was_used_last_and_shared_files():
    server = Server()
    server.succeed(tiny("a"))
    server.succeed(tiny("b"))
    server.succeed(tiny("a"))
    size = collect(server)["cache_bytes"]
    equal(len(names(server, "models", "snapshots")), 2)
    # Only what has not been used for a minute is judged: a lease covers the rest.
    age(server, 600)
    equal(server.stop(), 0)
    again = Server("--cache-limit", str(size - 1), state=server.state)
    report = collect(again)
    equal([item["kind"] for item in report["removed"]], ["model"])
    assert report["cache_bytes"] < size
    equal(len(names(again, "models", "snapshots")), 1)
    # a is there still: nothing is downloaded; b comes again whole, its side files being a's.
    again.succeed(tiny("a"))
    equal(metric(again, "quantd_downloaded_bytes_total"), 0)
    again.succeed(tiny("b"))
    equal(metric(again, "quantd_downloaded_bytes_total"), os.path.getsize(os.path.join(ROOT, "b", "model.safetensors")))
    equal(len(names(again, "models", "snapshots")), 2)
    equal(again.stop(), 0)


def the_model_of_an_unfinished_job_stays_however_old_it_looks():
    server = Server("--keep-models", "1s", "--cache-limit", "1")
    job = server.submit(dict(quick_job(MODELS.model("a")), calibration={"samples": 128, "length": 512},
                             evaluation={"length": 128, "windows": 8, "text": MODELS.url + "/files/texts/evaluation.txt"}))
    server.wait(job, states=("quantizing",))
    age(server, 7200)
    snapshots = names(server, "models", "snapshots")
    equal([i["kind"] for i in collect(server)["removed"] if i["kind"] == "model"], [])
    equal(server.stop(), 0)
    again = Server("--keep-models", "1s", "--cache-limit", "1", "--workers", "1", state=server.state)
    age(again, 7200)
    collect(again)
    equal(names(again, "models", "snapshots"), snapshots, "of a job that waits to go on")
    equal(again.wait(job)["state"], "succeeded")
    rest(again)
    age(again, 7200)
    assert "model" in [i["kind"] for i in collect(again)["removed"]]
    equal((names(again, "models", "snapshots"), collect(again)["cache_bytes"]), ([], 0))
    equal(again.stop(), 0)


def a_collection_without_end_takes_nothing_from_jobs_that_download_and_run():
    reference = Server()
    wanted = {}
    request = {name: dict(quick_job(MODELS.model(name)), calibration={"samples": 8, "length": 128,
                          "source": "%s/files/texts/calibration.txt" % MODELS.url},
                          evaluation={"length": 128, "windows": 8, "text": "%s/files/texts/evaluation.txt" % MODELS.url})
               for name in ("a", "b", "c")}
    for name in request:
        wanted[name] = reference.json("GET", "/jobs/%s/artifacts" % reference.succeed(request[name])["id"])["files"]
    equal(reference.stop(), 0)
    # Every rule on, and every limit too small: whatever may go, goes.
    server = Server("--workers", "2", "--keep-models", "1s", "--cache-limit", "1", "--keep-failed", "1s", "--queue-limit", "100")
    stop, failures, rounds = threading.Event(), [], [0]
    aging = os.path.join(server.state, "models")

    def without_end():
        while not stop.is_set():
            status, _, data = server.request("POST", "/admin/collect")
            rounds[0] += 1
            time.sleep(0.01)
            if status not in (200, 429):
                failures.append((status, data))
            # Time flies: all that is older than a moment looks an hour old, unless a fetch or a job has it.
            now = time.time()
            for folder, _, files in os.walk(aging):
                for path in [folder] + [os.path.join(folder, f) for f in files]:
                    try:
                        if "partial" not in path and now - os.stat(path).st_mtime > 1.5 and metric(server, "quantd_jobs_running") == 0:
                            os.utime(path, (now - 3600,) * 2)
                    except OSError:
                        pass

    thread = threading.Thread(target=without_end)
    thread.start()
    try:
        for turn in range(2):
            jobs = [(name, server.submit(request[name])) for name in ("a", "b", "c", "a")]
            for name, job in jobs:
                found = server.wait(job)
                equal(found["state"], "succeeded", str(found["problem"]))
                got = server.json("GET", "/jobs/%s/artifacts" % job)["files"]
                # Provenance and card name the run; the numbers are in the weights.
                pick = lambda files: {f["path"]: f["sha256"] for f in files if f["path"].endswith(".safetensors")}
                equal(pick(got), pick(wanted[name]), "the same bytes as without a collector")
            end = time.monotonic() + 30 * SLOW
            while names(server, "models", "snapshots") and time.monotonic() < end:
                time.sleep(0.1)
            equal(names(server, "models", "snapshots"), [], "between jobs, all of the cache may go")
    finally:
        stop.set()
        thread.join()
    equal(failures, [])
    print("# %d collections beside 8 jobs" % rounds[0])
    equal(server.stop(), 0)


run_claims([nothing_is_removed_that_no_rule_names, old_jobs_go_with_everything_and_a_dry_run_says_so_before,
            old_artifacts_are_gone_and_their_results_stay, beyond_the_limit_the_oldest_artifact_goes_first,
            checkpoints_of_failed_jobs_go_after_their_time_and_a_retry_begins_anew,
            folders_of_nobody_and_old_temporary_files_go, the_cache_keeps_what_was_used_last_and_shared_files,
            the_model_of_an_unfinished_job_stays_however_old_it_looks,
            a_collection_without_end_takes_nothing_from_jobs_that_download_and_run])
