"""kill -9 of server, child, or both, at random moments: the artifact has the bytes of an undisturbed run."""
import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: E402,F403

ROOT = temporary_folder()
copy_model(ROOT, "novella-1m")
MODELS = ModelServer(ROOT)
KILLS = int(os.environ.get("QUANTD_TEST_KILLS", "20"))
REQUEST = quick_job(MODELS.model("novella-1m"), calibration={"samples": 48, "length": 256},
                    evaluation={"length": 256, "windows": 16})


def children_of(pid):
    """Process ids whose parent is pid."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = open("/proc/%s/stat" % name).read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found.append(int(name))
    return found


def kill_quietly(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def digests(server, job):
    return {e["path"]: e["sha256"] for e in server.json("GET", "/jobs/%s/artifacts" % job)["files"]}


STATE = {}


def an_undisturbed_run_gives_the_reference_digests():
    server = Server()
    started = time.monotonic()
    job = server.succeed(REQUEST)
    STATE["seconds"] = time.monotonic() - started
    STATE["digests"] = digests(server, job["id"])
    equal(server.stop(), 0)
    print("# undisturbed: %.1f s" % STATE["seconds"])


def one_and_two_threads_give_the_same_bytes():
    for threads in ("1", "2"):
        server = Server("--threads", threads)
        equal(digests(server, server.succeed(REQUEST)["id"]), STATE["digests"], threads + " threads")
        server.stop()


def random_kills_lose_nothing_and_change_nothing():
    rng = random.Random(20261124)
    kills = 0
    kinds = {"server": 0, "child": 0, "both": 0}
    while kills < KILLS:
        state = os.path.join(temporary_folder(), "state")
        server = Server(state=state)
        job = server.submit(REQUEST)
        crashes = 0
        while kills < KILLS and crashes < 6:
            time.sleep(rng.uniform(0.05, STATE["seconds"] * 0.5))
            if server.json("GET", "/jobs/" + job)["state"] in FINAL:
                break
            kind = rng.choice(sorted(kinds)) if crashes < 2 else "server"
            children = children_of(server.process.pid)
            if kind != "server":
                for child in children:
                    kill_quietly(child)
            if kind != "child":
                server.kill()
                server = Server(state=state)
            kinds[kind] += 1
            kills += 1
            crashes += 1
        found = server.wait(job)
        equal(found["state"], "succeeded", "after %d kills: %s" % (crashes, found["problem"]))
        equal(digests(server, job), STATE["digests"], "after %d kills" % crashes)
        equal([j["id"] for j in server.json("GET", "/jobs")["data"]], [job])
        equal(len(server.json("GET", "/jobs/%s/layers" % job)["data"]), 42)
        equal(server.stop(), 0)
    print("# %d kills: %s" % (kills, kinds))


def a_job_whose_run_always_dies_ends_as_failed():
    server = Server()
    job = server.submit(dict(REQUEST, calibration={"samples": 256, "length": 512}))
    end = time.monotonic() + 120 * SLOW
    while time.monotonic() < end and server.json("GET", "/jobs/" + job)["state"] not in FINAL:
        for child in children_of(server.process.pid):
            kill_quietly(child)
        time.sleep(0.02)
    found = server.json("GET", "/jobs/" + job)
    equal(found["state"], "failed")
    assert "signal" in found["problem"]["detail"], found["problem"]
    equal(server.stop(), 0)


run_claims([an_undisturbed_run_gives_the_reference_digests, one_and_two_threads_give_the_same_bytes,
            random_kills_lose_nothing_and_change_nothing, a_job_whose_run_always_dies_ends_as_failed])
