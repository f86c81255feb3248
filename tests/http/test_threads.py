"""One owner of the cores: a job has its share of the service's threads and no library adds any, whatever the environment asks for."""
import glob
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: E402,F403

ROOT = temporary_folder()
copy_model(ROOT, "novella-1m")
URL = ModelServer(ROOT).model("novella-1m")
JOB = quick_job(URL, calibration={"samples": 24, "length": 128}, evaluation={"length": 128, "windows": 2})
ASKED_FOR = {"OPENBLAS_NUM_THREADS": "6", "OMP_NUM_THREADS": "6", "OMP_PROC_BIND": "true", "GOTO_NUM_THREADS": "6"}
# Beside a job's own threads: the heartbeat.
BESIDE = 1


def runs_below(pid):
    """The children of the service that are past exec: `quantd run`."""
    found = []
    for children in glob.glob("/proc/%d/task/*/children" % pid):
        try:
            for child in open(children).read().split():
                if b"run" in open("/proc/%s/cmdline" % child, "rb").read().split(b"\0"):
                    found.append(int(child))
        except OSError:  # a thread or a child that has ended meanwhile
            pass
    return found


def most_threads(server, jobs):
    """Of each run while the jobs last, the most threads it was seen with; and the names of its variables."""
    most, variables = {}, {}
    while any(server.json("GET", "/jobs/" + job)["state"] not in FINAL for job in jobs):
        for run in runs_below(server.process.pid):
            try:
                most[run] = max(most.get(run, 0), len(os.listdir("/proc/%d/task" % run)))
                variables[run] = dict(word.split("=", 1) for word in
                                      open("/proc/%d/environ" % run).read().split("\0") if "=" in word)
            except OSError:
                pass
        time.sleep(0.01)
    return most, variables


def shares(threads, workers, each):
    server = Server("--threads", str(threads), "--workers", str(workers), environment=dict(os.environ, **ASKED_FOR))
    jobs = [server.submit(dict(JOB, name="job %d" % i)) for i in range(workers)]
    most, variables = most_threads(server, jobs)
    for job in jobs:
        equal(server.json("GET", "/jobs/" + job)["state"], "succeeded")
    equal(server.stop(), 0)
    equal(len(most), workers, "runs seen")
    equal(set(most.values()), {each + BESIDE}, "threads of the runs")
    return variables.values()


def a_job_has_all_threads_of_a_service_of_one_worker():
    for found in shares(3, 1, 3):
        equal((found["OPENBLAS_NUM_THREADS"], found["OMP_NUM_THREADS"]), ("1", "1"))
        assert "OMP_PROC_BIND" not in found, "its threads would share one core"


def two_jobs_share_them():
    shares(4, 2, 2)


def more_workers_than_threads_have_one_each():
    shares(1, 2, 1)


def kernels(asked):
    """What a job of a service whose OPENBLAS_CORETYPE is this says of OpenBLAS's kernels."""
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    server = Server(environment=dict(environment, **asked))
    job = server.submit(JOB)
    equal(server.wait(job)["state"], "succeeded")
    statement = json.loads(server.request("GET", "/jobs/%s/artifacts/provenance.json" % job)[2])
    equal(server.stop(), 0)
    return statement["predicate"]["buildDefinition"]["internalParameters"]["blas_kernels"]


def kernels_fit_the_processor():
    """OpenBLAS takes those from before AVX2 where it does not know a processor: the service chooses then; who asks for some gets them."""
    flags = open("/proc/cpuinfo").read().split()
    if "avx2" not in flags or "fma" not in flags:
        raise Skip("the processor has no AVX2")
    found = kernels({})
    assert found not in ("Prescott", "Core2", "Penryn", "Nehalem", "Sandybridge", "Barcelona"), found
    equal(kernels({"OPENBLAS_CORETYPE": "Haswell"}), "Haswell")
    equal(kernels({"OPENBLAS_CORETYPE": "Nehalem"}), "Nehalem")


run_claims([a_job_has_all_threads_of_a_service_of_one_worker, two_jobs_share_them, more_workers_than_threads_have_one_each,
            kernels_fit_the_processor])
