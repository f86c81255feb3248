"""SIGKILL of the service, of a run, of both, at random moments, on one state folder that lives through all of it: no acknowledged job is lost,
none runs twice at once, every artifact has the bytes of an undisturbed run, a kill costs one layer at most, and the service is back below two
seconds. QUANTD_TEST_KILLS says how many (100), QUANTD_TEST_SEED where to begin."""
import collections
import os
import random
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from kit import *  # noqa: E402,F403

KILLS = int(os.environ.get("QUANTD_TEST_KILLS", "100"))
SEED = int(os.environ.get("QUANTD_TEST_SEED", "1"))
WAITING = 2  # jobs that are not finished, at least
ROOT = temporary_folder()
copy_model(ROOT, "novella-1m")
MODELS = ModelServer(ROOT)
JOB = quick_job(MODELS.model("novella-1m"), calibration={"samples": 24, "length": 256}, evaluation={"length": 256, "windows": 4})
FLAGS = ("--workers", "1", "--threads", "1")
ALL_LAYERS = 42
STATE = {}


class Siege:
    def __init__(self):
        self.service = Phoenix(*FLAGS)
        self.rng = random.Random(SEED)
        self.jobs, self.kinds = [], collections.Counter()
        self.layers_at_child_kill = None
        self.unknown = 0

    def unfinished(self):
        return [job for job in self.jobs if self.service.job(job)["state"] not in FINAL]

    def feed(self):
        while len(self.unfinished()) < WAITING:
            found, unknown = self.service.settle("POST", "/jobs", JOB, (202,))
            self.jobs.append(found["id"])
            self.unknown += unknown

    def layers(self):
        return sum(len(self.service.settle("GET", "/jobs/%s/layers" % job, None, (200,))[0]["data"]) for job in self.jobs)

    def choose(self):
        """A run that dies three times without a new layer is given up, as it should be: that is not what is tried here."""
        layers = self.layers()
        kind = self.rng.choice(["server", "child", "both"])
        if kind == "child" and layers == self.layers_at_child_kill:
            return "server"
        if kind == "child":
            self.layers_at_child_kill = layers
        return kind

    def kill(self):
        kind = self.choose()
        running = processes_of(self.service.state)
        assert all(len(pids) == 1 for pids in running.values()), running
        if kind != "server":
            for pids in running.values():
                kill_quietly(pids[0])
        if kind != "child":
            self.service.server.kill()
            self.service.start()
        self.kinds[kind] += 1

    def redone(self, job):
        """Layers that were finished more than once, by the run's own log."""
        lines = open(os.path.join(self.service.state, "jobs", job, "log.txt")).read().splitlines()
        made = collections.Counter(line.split(" ")[1] for line in lines
                                   if re.match(r"layer \d+ ", line) and not line.endswith("(from its checkpoint)"))
        return sum(times - 1 for times in made.values())


def kill_quietly(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def an_undisturbed_run_gives_the_reference_digests():
    service = Phoenix(*FLAGS)
    began = time.monotonic()
    job = service.settle("POST", "/jobs", JOB, (202,))[0]["id"]
    equal(service.wait(job)["state"], "succeeded")
    STATE["seconds"], STATE["digests"] = time.monotonic() - began, service.digests(job)
    service.stop()


def random_kills_lose_nothing_change_nothing_and_cost_a_layer_at_most():
    siege = Siege()
    for _ in range(KILLS):
        siege.feed()
        time.sleep(siege.rng.uniform(0.0, STATE["seconds"] * 0.7))
        siege.kill()
    redone = 0
    for job in siege.jobs:
        found = siege.service.wait(job)
        equal(found["state"], "succeeded", "job %s: %s" % (job, found["problem"]))
        equal(siege.service.digests(job), STATE["digests"], "bytes of " + job)
        equal(len(siege.service.settle("GET", "/jobs/%s/layers" % job, None, (200,))[0]["data"]), ALL_LAYERS, "layers")
        redone += siege.redone(job)
    listed = []
    cursor = ""
    while cursor is not None:
        page = siege.service.settle("GET", "/jobs?limit=100" + cursor, None, (200,))[0]
        listed += [job["id"] for job in page["data"]]
        cursor = "&cursor=" + page["next_cursor"] if page["has_more"] else None
    equal(sorted(set(siege.jobs) - set(listed)), [], "acknowledged jobs that are lost")
    assert len(listed) <= len(siege.jobs) + siege.unknown, "jobs that nobody asked for"
    siege.service.stop()
    siege.service.start()
    siege.service.stop()
    check_disk(siege.service.state)
    print("# %d kills (%s), seed %d: %d jobs acknowledged, 0 lost; %d layers made twice; slowest start %.2f s of %d" %
          (KILLS, ", ".join("%s %d" % k for k in sorted(siege.kinds.items())), SEED, len(siege.jobs), redone,
           siege.service.slowest_start, siege.service.starts))
    assert redone <= KILLS, "%d layers were made twice" % redone
    assert siege.service.slowest_start < 2 * patience(), "%.2f s to start" % siege.service.slowest_start


run_claims([an_undisturbed_run_gives_the_reference_digests, random_kills_lose_nothing_change_nothing_and_cost_a_layer_at_most])
