"""Hostile clients, models, texts and hands: requests no client should send, files changed under a live service, disks that fill, kills at bad
moments. Each gets a clear answer or a job problem; the service stays alive and nothing is lost or half published."""
import fcntl
import errno
import os
import random
import socket
import sqlite3
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: E402,F403

ROOT = temporary_folder()
copy_model(ROOT, "good")
MODELS = ModelServer(ROOT)
ROUNDS = int(os.environ.get("QUANTD_TEST_KILLS", "4"))
STATE = {}


def small_job(url=None, **fields):
    return quick_job(url or MODELS.model("good"), **dict({"algorithm": "rtn", "calibration": {"samples": 2, "length": 32},
                                                         "evaluation": {"length": 32, "windows": 2}}, **fields))


def long_job(**fields):
    return small_job(**dict({"algorithm": "optq", "calibration": {"samples": 256, "length": 512}}, **fields))


def server():
    """The one that most claims share."""
    if "server" not in STATE:
        STATE["server"] = Server("--workers", "2")
    return STATE["server"]


def inside(path):
    """This test only ever writes or removes below temporary folders of its own."""
    real = os.path.realpath(path)
    assert os.path.basename(os.path.dirname(real)).startswith("quantd-test-") or "/quantd-test-" in real, real
    return path


def children_of(pid):
    """pid -> state of the processes whose parent is pid."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = open("/proc/%s/stat" % name).read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found[int(name)] = fields[0]
    return found


def until(found, seconds=20, what=""):
    end = time.monotonic() + seconds * SLOW
    while time.monotonic() < end:
        value = found()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError("waited in vain for " + what)


def is_run(pid):
    """Between fork and exec a child still has its server's command line, and none of a run's manners."""
    try:
        return open("/proc/%d/cmdline" % pid, "rb").read().split(b"\0")[1:2] == [b"run"]
    except OSError:
        return False


def child_of(a_server):
    return until(lambda: [pid for pid in children_of(a_server.process.pid) if is_run(pid)], what="a run")[0]


def has_ended(pid):
    try:
        return open("/proc/%d/stat" % pid).read().rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


def events(a_server, job):
    return a_server.json("GET", "/jobs/%s/events" % job, headers={"Accept": "application/json"})


def raw(a_server, data, seconds=30):
    """Bytes -> the status line and all that follows."""
    connection = socket.create_connection((a_server.host, a_server.port), timeout=seconds)
    connection.sendall(data)
    reply = b""
    try:
        while True:
            more = connection.recv(65536)
            if not more:
                break
            reply += more
    except (ConnectionResetError, socket.timeout):
        pass
    connection.close()
    return reply


def status_of(reply):
    return int(reply.split(b" ")[1]) if reply.startswith(b"HTTP/1.1 ") else 0


# ---- requests ----

def only_hosts_of_this_service_are_served():
    def ask(host, method="GET", target="/livez", where=None):
        return status_of(raw(where or server(), ("%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                                                 % (method, target, host)).encode()))
    for host in ("localhost", "LocalHost:1", "127.0.0.1:%d" % server().port, "127.1.2.3", "[::1]:80", "[::ffff:127.0.0.1]"):
        equal(ask(host), 200, host)
        equal(ask(host, "POST", "/jobs"), 400, host)
    for host in ("evil.example", "evil.example:%d" % server().port, "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1",
                 "[::2]", "127.0.0.1@evil.example", "[::1", "", "localhost:x", "0.0.0.0", "a" * 300):
        for method, target in (("GET", "/livez"), ("GET", "/"), ("POST", "/jobs"), ("DELETE", "/jobs/x"), ("GET", "/jobs")):
            equal(ask(host, method, target), 403, "%s %s for Host %r" % (method, target, host))
    problem = server().request("GET", "/jobs", headers={"Host": "evil.example"})
    equal(problem[1]["content-type"], "application/problem+json")
    assert "Host: 'evil.example'" in json.loads(problem[2])["detail"], problem
    open_server = Server("--insecure")
    equal(ask("quantd.example", where=open_server), 200, "with --insecure")
    equal(open_server.stop(), 0)


HOSTILE_BODIES = (
    ('{"model":"http://127.0.0.1/m/\\u0000x"}', None), ('{"mo\\u0000del":"x"}', None), ('{"model":"\\ud800"}', None),
    ('{"model":"hf://a/b","bits":1e999}', None), ('{"model":"hf://a/b","bits":1e-400}', "/bits"),
    ('{"model":"hf://a/b","bits":-0}', "/bits"), ('{"model":"hf://a/b","bits":%s}' % ("9" * 40), None),
    ('{"model":"hf://a/b","bits":4.5}', "/bits"), ('{"model":"hf://a/b","group_size":-1}', "/group_size"),
    ('{"model":"hf://a/b","group_size":9223372036854775807}', "/group_size"),
    ('{"model":"hf://a/b","group_size":9223372036854775808}', None),
    ('{"model":"hf://a/b","name":"a\\u0007b"}', "/name"), ('{"model":"hf://a/b","name":"a\\u0085b"}', "/name"),
    ('{"model":"hf://a/b","name":"%s"}' % ("n" * 201), "/name"), ('{"model":"hf://a/b","name":["x"]}', "/name"),
    ('{"model":"hf://a/b","tags":%s}' % json.dumps({"k%d" % i: "v" for i in range(10000)}), "/tags"),
    ('{"model":"hf://a/b","tags":{"k":%s}}' % ("[" * 200 + "]" * 200), None),
    ('{"model":"hf://a/b","tags":{"a\\nb":"v"}}', None), ('{"model":"hf://a/b","tags":{"":"v"}}', None),
    ('{"model":{"url":null}}', None), ('{"model":17}', "/model"), ('{"model":[]}', "/model"), ('{"model":null}', "/model"),
    ('{"model":"hf://a/b","calibration":[]}', "/calibration"), ('{"model":"hf://a/b","calibration":{"samples":0}}', "/calibration/samples"),
    ('{"model":"hf://a/b","calibration":{"samples":1e308}}', "/calibration/samples"),
    ('{"model":"hf://a/b","regularization":{"value":-1}}', None), ('{"model":"hf://a/b","__proto__":{}}', "/__proto__"),
    ('\ufeff{"model":"hf://a/b"}', None), ('{"model":"hf://a/b"}x', None), ('{"model":"hf://a/b",}', None), ("NaN", None), ("null", None),
    ('{"a":' * 3000 + "1" + "}" * 3000, None), ('{"%s":1}' % ("k" * 100000), None), ('{"model":"hf://a/%s"}' % ("b" * 100000), None),
    ('{"model":"hf://a/b","a/b~c":1}', "/a~1b~0c"))


def hostile_json_is_refused_by_field_and_never_a_fault_of_ours():
    wrong = []
    for body, pointer in HOSTILE_BODIES + ((b'{"model":"\xff\xfe"}', None), (b'{"model":"a\x00b"}', None), (b"\x00" * 1000, None)):
        status, headers, data = server().request("POST", "/jobs", body if isinstance(body, bytes) else body.encode())
        problem = json.loads(data)
        pointers = [e.get("pointer") for e in problem.get("errors", [])]
        if status not in (400, 413, 422) or (pointer is not None and pointer not in pointers):
            wrong.append((body[:70], status, data[:300]))
    assert not wrong, "\n".join(map(str, wrong))
    equal(server().request("POST", "/jobs", ('{"model":"hf://a/b","name":"%s","bits":17}' % ("\u00fc" * 200)).encode())[0], 422)


def five_hundred_parameters_are_answered():
    started = time.monotonic()
    for count in (60, 150, 200, 250, 300, 400, 500, 1500):
        target = "/jobs?" + "&".join("p%d=1" % i for i in range(count))
        reply = raw(server(), ("GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % target).encode())
        assert status_of(reply) in (400, 413, 414, 431), "%d parameters: %r" % (count, reply[:200])
    assert time.monotonic() - started < 8 * patience(), "answered, not cut"


# ---- models and texts ----

def a_perplexity_that_overflows_is_warned_of():
    folder = copy_model(ROOT, "loud")
    path = os.path.join(folder, "model.safetensors")
    tensors = read_safetensors(open(path, "rb").read())
    dtype, shape, data = tensors["model.norm.weight"]
    loud = struct.pack("<f", 1e19)
    tensors["model.norm.weight"] = (dtype, shape, (loud[2:] if dtype == "BF16" else loud) * shape[0])
    write_safetensors(inside(path), tensors)
    found = server().succeed(small_job(MODELS.model("loud")))
    assert found["result"]["perplexity"]["source"] is None, found["result"]["perplexity"]
    warnings = [e["data"]["detail"] for e in events(server(), found["id"])["data"] if e["type"] == "warning"]
    for who in ("source", "quantized"):
        assert any("perplexity of the %s model is not finite: mean negative log-likelihood" % who in w for w in warnings), warnings
    assert "is not finite" in server().request("GET", "/jobs/%s/log" % found["id"])[2].decode(), "the log says it too"


TEXTS = {"empty": b"", "one-byte": b"a", "one-word": b"w" * (2 << 20), "not-utf8": b"\xff\xfe\x80" * 40000, "nul": b"a\x00b " * 40000,
         "crlf": b"It was a line.\r\n" * 20000, "blanks": b" " * 200000, "bom": b"\xef\xbb\xbf" + b"The text. " * 20000}


def hostile_texts_give_a_result_or_a_clear_problem():
    folder = os.path.join(ROOT, "texts")
    os.makedirs(folder, exist_ok=True)
    jobs = {}
    for name, data in TEXTS.items():
        open(inside(os.path.join(folder, name + ".txt")), "wb").write(data)
        jobs[name] = server().submit(small_job(calibration={"source": MODELS.model("texts") + name + ".txt", "samples": 2, "length": 32}))
    for name, job in jobs.items():
        found = server().wait(job)
        if found["state"] == "failed":
            assert "calibration" in found["problem"]["detail"] or "text" in found["problem"]["detail"], found["problem"]
        else:
            equal(found["state"], "succeeded", name)
    for name in ("empty", "one-byte"):
        equal(server().json("GET", "/jobs/" + jobs[name])["state"], "failed", name)
    equal(server().json("GET", "/jobs/" + jobs["crlf"])["state"], "succeeded", "crlf")


# ---- hands ----

def a_removed_cache_is_made_again():
    """Whoever deletes models/ or artifacts/ to free space need not restart the service."""
    server().succeed(small_job())
    for folder in ("models", "artifacts"):
        shutil.rmtree(inside(os.path.join(server().state, folder)))
        server().succeed(small_job())
    shutil.rmtree(inside(os.path.join(server().state, "jobs")), ignore_errors=True)
    server().succeed(small_job())


def the_lock_is_held_until_the_end_is_written():
    """Cancel and retry while an artifact is being published: the next attempt must wait for the old one to let go. The launcher here is a program
    that stays: what it is to start is quantd and not /proc/self."""
    folder = temporary_folder()
    script = os.path.join(folder, "launch")
    open(script, "w").write('#!/bin/sh\n"$@"\ncode=$?\ntouch %s/ran\nwhile [ ! -e %s/go ]; do sleep 0.02; done\nexit $code\n' % (folder, folder))
    os.chmod(script, 0o755)
    own = Server("--launcher", script)
    job = own.submit(small_job())
    until(lambda: os.path.exists(os.path.join(folder, "ran")), 60, "the run")
    until(lambda: own.json("GET", "/jobs/" + job)["state"] == "verifying", what="the last words of the run")
    time.sleep(1 * min(SLOW, 3))  # and its last rows
    database = sqlite3.connect(inside(os.path.join(own.state, "quantd.db")), timeout=10, isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    open(os.path.join(folder, "go"), "w").close()
    until(lambda: os.path.exists(os.path.join(own.state, "artifacts", job)), what="the artifact")
    time.sleep(0.2)
    with open(inside(os.path.join(own.state, "jobs", job, "lock"))) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = False
        except BlockingIOError:
            held = True
    database.execute("ROLLBACK")
    database.close()
    assert held, "the lock was free while the end was not written"
    equal(own.wait(job)["state"], "succeeded")
    equal(own.stop(), 0)


def a_stopped_run_is_gone_within_a_second_of_its_server():
    own = Server()
    job = own.submit(long_job())
    child = child_of(own)
    os.kill(child, signal.SIGSTOP)
    until(lambda: children_of(own.process.pid).get(child) == "T", what="the stop")
    own.kill()
    killed = time.monotonic()
    until(lambda: has_ended(child), 10, "the stopped run's end")
    assert time.monotonic() - killed < 1 * patience(), "gone after %.2f s" % (time.monotonic() - killed)
    again = Server(state=own.state)
    until(lambda: again.json("GET", "/jobs/" + job)["state"] == "quantizing", what="the next attempt")
    again.json("POST", "/jobs/%s/cancel" % job, want=202)
    equal(again.stop(), 0)


def snapshot_of(a_server):
    folder = os.path.join(a_server.state, "models", "snapshots")
    return os.path.join(folder, os.listdir(folder)[0], "model.safetensors")


def a_model_truncated_under_a_run_is_named_and_fetched_again():
    own = Server()
    job = own.submit(long_job())
    until(lambda: own.json("GET", "/jobs/" + job)["state"] == "quantizing", what="quantizing")
    child = child_of(own)
    time.sleep(0.3)
    os.kill(child, signal.SIGSTOP)
    os.truncate(inside(snapshot_of(own)), 8192)
    os.kill(child, signal.SIGCONT)
    found = until(lambda: [e for e in events(own, job)["data"] if e["type"] in ("warning", "problem")], 60, "a word")
    sanitized = SLOW > 1 and "exit status 1" in json.dumps(found)  # a sanitizer makes a report of the signal
    assert "signal 7" in json.dumps(found) or "model.safetensors" in json.dumps(found) or sanitized, found
    until(lambda: own.json("GET", "/jobs/" + job)["state"] not in ("queued", "downloading"), what="the next attempt")
    if own.request("POST", "/jobs/%s/cancel" % job)[0] == 409:  # it has come to an end by itself
        assert own.json("GET", "/jobs/" + job)["state"] in FINAL
    own.succeed(small_job())
    equal(own.stop(), 0)


def start_fails(state, *parts):
    done = subprocess.run([QUANTD, "serve", "--listen", "127.0.0.1:0", "--state", state, "--disk-floor", "0"], timeout=30 * SLOW,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = done.stdout.decode()
    assert done.returncode > 0 and "listening" not in text, (done.returncode, text)
    for part in parts:
        assert part in text, "%r is not in %r" % (part, text)


def a_damaged_database_is_refused_by_name_and_left_as_it_is():
    own = Server()
    job = own.succeed(small_job())["id"]
    equal(own.stop(), 0)
    path = os.path.join(own.state, "quantd.db")
    good = open(path, "rb").read()
    noise = random.Random(1).randbytes(len(good))
    fresh = os.path.join(temporary_folder(), "fresh.db")
    database = sqlite3.connect(inside(fresh))
    database.execute("PRAGMA journal_mode=WAL")
    database.close()
    no_tables = open(fresh, "rb").read()
    for name, data in (("noise", noise), ("header only", good[:100]), ("half", good[:len(good) // 2]), ("text", b"hello\n" * 1000),
                       ("first page", noise[:4096] + good[4096:]), ("schema", good[:100] + noise[100:4096] + good[4096:]),
                       ("no tables", no_tables), ("empty", b""), ("missing", None)):
        for extra in ("-wal", "-shm"):
            if os.path.exists(path + extra):
                os.remove(inside(path + extra))
        if data is None:
            os.remove(inside(path))
        else:
            open(inside(path), "wb").write(data)
        try:
            start_fails(own.state, "quantd.db")
        except (AssertionError, subprocess.TimeoutExpired) as why:
            raise AssertionError("%s: %s" % (name, why))
        equal(open(path, "rb").read() if os.path.exists(path) else None, data, name + ": left as it was")
        assert os.path.exists(os.path.join(own.state, "artifacts", job)), name + ": the artifact is not swept"
    open(inside(path), "wb").write(good)
    again = Server(state=own.state)
    equal(again.json("GET", "/jobs/" + job)["state"], "succeeded")
    equal(again.stop(), 0)


def a_state_folder_that_cannot_be_written_is_named():
    folder = temporary_folder()
    if os.geteuid() != 0 or subprocess.call(["mount", "-t", "tmpfs", "-o", "size=8m,ro", "tmpfs", inside(folder)], stderr=subprocess.DEVNULL) != 0:
        raise Skip("needs a read-only mount, which only root may make")
    try:
        start_fails(folder, folder)
        start_fails(os.path.join(folder, "state"), folder)
    finally:
        subprocess.call(["umount", "-l", folder])


def jobs_whose_folder_is_gone_have_a_defined_end():
    own = Server("--workers", "1")
    finished = own.succeed(small_job())["id"]
    running = own.submit(long_job())
    queued = own.submit(small_job())
    child_of(own)
    for job in (finished, running, queued):
        shutil.rmtree(inside(os.path.join(own.state, "jobs", job)), ignore_errors=True)
    equal(own.json("GET", "/jobs/%s" % finished)["state"], "succeeded")
    assert own.artifact(finished)
    for job in (finished, running, queued):
        assert own.request("GET", "/jobs/%s/log" % job)[0] in (200, 404)
    if own.request("POST", "/jobs/%s/cancel" % running)[0] == 409:  # it has met the missing folder already
        found = own.json("GET", "/jobs/" + running)
        assert found["state"] == "failed" and running in found["problem"]["detail"], found
    equal(own.wait(queued)["state"], "succeeded")
    own.json("POST", "/jobs/%s/retry" % running, want=202)
    child_of(own)
    own.json("POST", "/jobs/%s/cancel" % running, want=202)
    equal(own.stop(), 0)
    again = Server(state=own.state)
    for job in (finished, running, queued):
        status, _, data = again.request("DELETE", "/jobs/" + job)
        equal(status, 204, data)
    equal(again.json("GET", "/jobs")["data"], [])
    equal(again.stop(), 0)


def leftovers_of_a_crash_are_no_obstacle():
    own = Server()
    job = own.succeed(small_job())["id"]
    equal(own.stop(), 0)
    for folder, name in (("models/partial", "0" * 64), ("models/partial", "0" * 64 + ".json"), ("models/index", "x.tmp.1"),
                         ("artifacts", "stranger"), ("jobs", "stranger"), ("jobs", "0" * 26), (".", "quantd.db.tmp.7")):
        open(inside(os.path.join(own.state, folder, name)), "wb").write(b"\x00" * 100)
    shutil.rmtree(inside(os.path.join(own.state, "models", "blobs")))
    again = Server(state=own.state)
    equal(again.json("GET", "/jobs/" + job)["state"], "succeeded")
    again.succeed(small_job())
    equal(again.stop(), 0)


# ---- disks ----

def fill_disk(folder, filler, left):
    """Takes all but `left` KiB. The service writes too: what was free when asked may be gone when taken."""
    with open(inside(filler), "wb") as out:
        for _ in range(100):
            out.truncate(0)
            space = os.statvfs(folder)
            try:
                return os.posix_fallocate(out.fileno(), 0, max(space.f_bavail * space.f_bsize - (left << 10), 4096))
            except OSError as refused:
                if refused.errno != errno.ENOSPC:
                    raise
                time.sleep(0.02)
    raise AssertionError("the disk never held still")


FULL_AT = (  # when the disk fills, what is left of it in KiB, and where the job is to be met by that
    ("POST", 300, "downloading"),  # the model does not fit; the retry brings it
    ("POST", 0, "downloading"),  # it is there already; the rest is foreseen not to fit
    ("quantizing", 0, "quantizing"),  # nobody could foresee it: checkpoints
    ("evaluating", 0, "exporting"),  # the artifact
)


def meet_full_disk(own, folder, filler, when, left):
    """A job on a disk that fills at some moment: where it was met, and the job."""
    if when == "POST":
        fill_disk(folder, filler, left)
    status, _, data = own.request("POST", "/jobs", small_job(algorithm="optq", evaluation={"length": 128, "windows": 64}))
    assert status in (202, 507), data
    if status == 507:  # the database was full already, and said so
        return "POST", None
    job = json.loads(data)["id"]
    if when != "POST":
        own.wait(job, states=(when,))
        fill_disk(folder, filler, left)
    found = own.wait(job)
    if found["state"] == "succeeded":
        return "done", job
    text = json.dumps(found["problem"])
    assert "disk" in text or "space" in text or "free" in text, found
    assert not os.path.exists(os.path.join(own.state, "artifacts", job)), "something was published"
    return found["problem"]["phase"], job


def a_disk_that_fills_at_any_stage_fails_the_job_and_space_heals_it():
    folder = temporary_folder()
    if os.geteuid() != 0 or subprocess.call(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", inside(folder)], stderr=subprocess.DEVNULL) != 0:
        raise Skip("needs a small tmpfs, which only root may mount")
    filler = os.path.join(folder, "filler")
    try:
        own = Server(state=os.path.join(folder, "state"))
        for when, left, wanted in FULL_AT:
            for _ in range(20):  # a job may be quicker than we are
                where, job = meet_full_disk(own, folder, filler, when, left)
                equal(own.request("GET", "/livez")[0], 200)
                equal(own.request("GET", "/jobs")[0], 200)
                os.remove(inside(filler))
                if job is None:
                    job = own.submit(small_job(algorithm="optq"))
                elif where != "done":
                    own.json("POST", "/jobs/%s/retry" % job, want=202)
                equal(own.wait(job)["state"], "succeeded", where)
                assert own.artifact(job)
                own.json("DELETE", "/jobs/" + job, want=204)
                if where in (wanted, "POST"):
                    break
            assert where in (wanted, "POST"), "full at %s: met at %s, not at %s" % (when, where, wanted)
        equal(own.stop(), 0)
    finally:
        subprocess.call(["umount", "-l", folder])


# ---- kills ----

def kills_while_publishing_and_deleting_leave_no_half_artifact_and_lose_no_job():
    rng = random.Random(7)
    state = os.path.join(temporary_folder(), "state")
    own = Server(state=state)
    request = small_job(MODELS.model("good"))
    want = {name: data for name, data in own.artifact(own.succeed(request)["id"]).items() if name.endswith(".safetensors")}
    jobs = [own.json("GET", "/jobs")["data"][0]["id"]]
    outcomes = {"deleted": 0, "whole": 0}
    for _ in range(ROUNDS):
        job = own.submit(request)
        until(lambda: own.json("GET", "/jobs/" + job)["state"] in ("exporting", "verifying") + FINAL, 60, "the export")
        time.sleep(rng.uniform(0, 0.12))
        own.kill()
        own = Server(state=state)
        equal(own.wait(job)["state"], "succeeded")
        jobs.append(job)
        old = jobs.pop(0)
        connection = socket.create_connection((own.host, own.port))
        connection.sendall(("DELETE /jobs/%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % old).encode())
        time.sleep(rng.uniform(0, 0.02))
        own.kill()
        connection.close()
        own = Server(state=state)
        if own.request("GET", "/jobs/" + old)[0] == 404:
            outcomes["deleted"] += 1
            for folder in ("jobs", "artifacts"):
                assert not os.path.exists(os.path.join(state, folder, old)), folder + " of a deleted job"
        else:
            outcomes["whole"] += 1
            jobs.insert(0, old)
        for kept in jobs:
            equal({n: d for n, d in own.artifact(kept).items() if n.endswith(".safetensors")}, want, "artifact of " + kept)
        equal(sorted(os.listdir(os.path.join(state, "artifacts"))), sorted(jobs))
        equal(sorted(j["id"] for j in own.json("GET", "/jobs")["data"]), sorted(jobs))
    print("# %d rounds: %s" % (ROUNDS, outcomes))
    equal(own.stop(), 0)


# ---- hubs ----

# fault -> what the problem says; None: the job succeeds
FAULTS = {"redirect:http%253A%252F%252F10.0.0.1%252Fm": "10.0.0.1 is not public", "redirect:file%253A%252F%252F%252Fetc%252Fpasswd": "only https and http",
          "loop": "redirects", "headers:300000": "response header", "status:404": "there is no 'model.safetensors'", "status:401": "401", "status:451": "451",
          "corrupt:9": "model.safetensors", "endless:3": "model.safetensors", "drop:100*1": None, "norange": None, "badrange": None, "chunked": None}
HUB_FAULTS = {"api-json": "JSON", "api-etag": "digest", "api-path:..%252Fx": "../x", "api-next:http%253A%252F%252F10.0.0.1%252Fx": "10.0.0.1",
              "api-size:999999999999999": "the limit is"}


def hostile_answers_of_a_hub_end_as_results_or_clear_problems():
    own = Server("--workers", "2")
    jobs = [(own, fault, part, own.submit(small_job("%s/~%s/files/good/" % (MODELS.url, fault)))) for fault, part in FAULTS.items()]
    for fault, part in HUB_FAULTS.items():
        hub = Server("--hub-url", "%s/~%s/hub" % (MODELS.url, fault))
        jobs.append((hub, fault, part, hub.submit(small_job("hf://org/good"))))
    for where, fault, part, job in jobs:
        found = where.wait(job)
        equal(found["state"], "failed" if part else "succeeded", "%s: %s" % (fault, found["problem"]))
        assert part is None or part in found["problem"]["detail"], "%s: %s" % (fault, found["problem"])
        if where != own:
            equal(where.stop(), 0)
    equal(own.stop(), 0)


run_claims([only_hosts_of_this_service_are_served, hostile_json_is_refused_by_field_and_never_a_fault_of_ours,
            five_hundred_parameters_are_answered, a_perplexity_that_overflows_is_warned_of,
            hostile_texts_give_a_result_or_a_clear_problem, a_removed_cache_is_made_again, the_lock_is_held_until_the_end_is_written,
            a_stopped_run_is_gone_within_a_second_of_its_server, a_model_truncated_under_a_run_is_named_and_fetched_again,
            a_damaged_database_is_refused_by_name_and_left_as_it_is, a_state_folder_that_cannot_be_written_is_named,
            jobs_whose_folder_is_gone_have_a_defined_end, leftovers_of_a_crash_are_no_obstacle,
            a_disk_that_fills_at_any_stage_fails_the_job_and_space_heals_it,
            kills_while_publishing_and_deleting_leave_no_half_artifact_and_lose_no_job,
            hostile_answers_of_a_hub_end_as_results_or_clear_problems])
