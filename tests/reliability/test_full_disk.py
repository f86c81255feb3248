"""R4: a disk of 4, 16 and 64 MB that is full, and stays full, while a model is downloaded, a layer's checkpoint is written, an artifact is
made, or a job is submitted. Reads are answered all the time; when there is room again the service heals by itself within ten seconds; no
job that was acknowledged is lost, and what comes out has the bytes of an undisturbed run.

The disks are tmpfs in a mount namespace of this test's own; where the system allows neither that nor a mount, everything is skipped."""
import os
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from kit import *  # noqa: E402,F403

INSIDE = "QUANTD_TEST_FULL_DISK_INSIDE"
MIB = 1 << 20
SIZES = (4, 16, 64)
HEALS_WITHIN = 10


def enter_namespace():
    """Runs this file again as root of a namespace of its own; returns where that is not possible, or we are there."""
    if os.environ.get(INSIDE):
        return
    probe = subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", temporary_folder()], capture_output=True)
    if probe.returncode == 0:
        atexit._run_exitfuncs()
        os.environ[INSIDE] = "unshare"
        os.execvp("unshare", ["unshare", "-rm", sys.executable] + sys.argv)


def mount(megabytes):
    if not os.environ.get(INSIDE):
        raise Skip("neither `unshare -rm` nor a mount of its own is allowed here")
    folder = temporary_folder()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dm" % megabytes, "none", folder], check=True)
    atexit.register(subprocess.run, ["umount", "-l", folder], capture_output=True)
    return folder


class Filler:
    """Takes every byte that is free on a disk, and every one that becomes free, until it is told to give them back."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "somebody-else-s")
        self.stop = threading.Event()
        self.full = threading.Event()
        self.thread = threading.Thread(target=self.fill, daemon=True)
        self.thread.start()
        assert self.full.wait(60)

    def fill(self):
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        size = MIB
        while not self.stop.is_set():
            try:
                os.write(fd, b"\0" * size)
            except OSError:
                if size == 1:
                    self.full.set()
                    time.sleep(0.01)
                size = max(1, size // 4)
        os.close(fd)

    def give_back(self):
        self.stop.set()
        self.thread.join()
        os.remove(self.path)


ROOT = None
MODELS = None
REFERENCE = {}
HEALED = []


def prepare():
    global ROOT, MODELS
    if MODELS is None:
        ROOT = temporary_folder()
        one_block_model(ROOT, "small")
        copy_model(ROOT, "whole")
        MODELS = ModelServer(ROOT)


def request(model, slow=False):
    url = MODELS.model(model)
    if slow:
        url = "%s/~slow:%d/files/%s/" % (MODELS.url, 300000, model)
    # Layers that take their time, so that a stage can be met, on little room: an input of 2 KB a token.
    effort = {"small": ({"samples": 4, "length": 64}, {"beam": 32, "coordinate_descent": 16}),
              "whole": ({"samples": 16, "length": 128}, {"beam": 8, "coordinate_descent": 4})}
    calibration, refine = effort[model]
    return small_job(url, format="safetensors:bf16", calibration=calibration, refine=refine,
                     evaluation={"length": 256, "windows": 24, "baseline": None})


def weights(server, job):
    return {e["path"]: e["sha256"] for e in server.json("GET", "/jobs/%s/artifacts" % job)["files"]
            if e["path"].endswith(".safetensors")}


def reference(model):
    if model not in REFERENCE:
        server = Server()
        REFERENCE[model] = weights(server, server.succeed(request(model))["id"])
        equal(server.stop(), 0)
    return REFERENCE[model]


def reads_are_answered(server, jobs):
    for path in ["/livez", "/jobs", "/metrics", "/catalog"] + ["/jobs/" + job for job in jobs]:
        started = time.monotonic()
        status = server.request("GET", path, timeout=10)[0]
        equal(status, 200, path)
        assert time.monotonic() - started < 5 * patience(), path


def wait_for(what, seconds=120):
    end = time.monotonic() + seconds * SLOW
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("it did not come to that")


def state_of(server, job):
    return server.json("GET", "/jobs/" + job)["state"]


def partial_bytes(server):
    size = 0
    for path in files_below(os.path.join(server.state, "models", "partial")):
        try:
            size += 0 if path.endswith((".lock", ".json")) else os.path.getsize(path)
        except FileNotFoundError:  # it is whole, and a blob by now
            pass
    return size


STAGES = {
    "download": lambda server, job: state_of(server, job) == "downloading" and partial_bytes(server) > 0,
    "checkpoint": lambda server, job: bool(server.json("GET", "/jobs/%s/layers" % job)["data"]) or state_of(server, job) in FINAL,
    "artifact": lambda server, job: state_of(server, job) in ("evaluating", "exporting") + FINAL,
    "database": lambda server, job: True,
}


def fill_and_heal(server, jobs, folder):
    """Full for two seconds with reads going on; how long it takes to be ready and take a job when there is room again."""
    filler = Filler(folder)
    try:
        gone = small_job(MODELS.model("no-such-model"))
        end = time.monotonic() + 2
        refused = 0
        while time.monotonic() < end:
            reads_are_answered(server, jobs)
            status, _, data = server.request("POST", "/jobs", gone)
            if status == 202:
                jobs.append(json.loads(data)["id"])
            else:
                refused += 1
                assert status in (503, 507), (status, data)
    finally:
        filler.give_back()
    started = time.monotonic()

    def ready():
        if server.request("GET", "/readyz")[0] != 200:
            return False
        status, _, data = server.request("POST", "/jobs", gone)
        if status == 202:
            jobs.append(json.loads(data)["id"])
        return status == 202

    wait_for(ready, seconds=60)
    healed = time.monotonic() - started
    HEALED.append(healed)
    assert healed < HEALS_WITHIN * patience(), "it took %.1f s" % healed
    return refused, healed


def case(megabytes, stage):
    def claim():
        folder = mount(megabytes)
        prepare()
        model = "small" if megabytes < 16 else "whole"
        wanted = reference(model)
        server = Server(state=os.path.join(folder, "state"))
        job = server.submit(request(model, slow=stage == "download"))
        jobs = [job]
        wait_for(lambda: STAGES[stage](server, job))
        refused, healed = fill_and_heal(server, jobs, folder)
        found = server.wait(job)
        retried = ""
        if found["state"] != "succeeded":
            equal((found["state"], found["problem"]["code"]), ("failed", "disk-full"), str(found["problem"]))
            server.json("POST", "/jobs/%s/retry" % job, want=202)
            retried = ", tried again"
            found = server.wait(job)
        equal(found["state"], "succeeded", str(found["problem"]))
        equal(weights(server, job), wanted)
        for other in jobs:
            server.wait(other)
        equal({j["id"] for j in server.json("GET", "/jobs?limit=200")["data"]} >= set(jobs[-200:]), True)
        for other in jobs:
            server.json("GET", "/jobs/" + other)
        equal(server.stop(), 0)
        check_disk(server.state)
        print("# %d MB, %s: %d submissions refused, %d jobs acknowledged, healed in %.2f s%s" %
              (megabytes, stage, refused, len(jobs), healed, retried))
    claim.__name__ = "a_full_disk_of_%d_mb_at_%s" % (megabytes, stage)
    return claim


def a_service_starts_on_a_full_disk():
    folder = mount(4)
    prepare()
    server = Server(state=os.path.join(folder, "state"))
    job = server.submit(small_job(MODELS.model("no-such-model")))
    equal(server.wait(job)["state"], "failed")
    server.kill()
    filler = Filler(folder)
    started = Server(state=os.path.join(folder, "state"))
    reads_are_answered(started, [job])
    filler.give_back()
    wait_for(lambda: started.request("GET", "/readyz")[0] == 200, seconds=HEALS_WITHIN)
    equal(started.stop(), 0)


enter_namespace()
run_claims([case(size, stage) for size in SIZES for stage in STAGES] + [a_service_starts_on_a_full_disk])
if HEALED:
    print("# %d cases healed, the slowest in %.2f s" % (len(HEALED), max(HEALED)))
