"""Real runs, confined: the same bytes as unconfined, nothing of the service within reach, ended by their memory limit, gone with their server."""
import os
import resource
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: E402,F403

ROOT = temporary_folder()
copy_model(ROOT, "novella-1m")
URL = "file://" + os.path.join(ROOT, "novella-1m")
LONG = quick_job(URL, calibration={"samples": 256, "length": 512}, evaluation={"length": 256, "windows": 16})
STATE = {}


def children_of(pid):
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = open("/proc/%s/stat" % name).read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(name))
    return found


def below(pid):
    """All processes started below this one."""
    found = children_of(pid)
    return found + [inner for child in found for inner in below(child)]


def alive(pid):
    try:
        return open("/proc/%d/stat" % pid).read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds * SLOW
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("waited %s seconds" % seconds)


def status_of(pid):
    lines = open("/proc/%d/status" % pid).read().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def digests(server, job):
    return {e["path"]: e["sha256"] for e in server.json("GET", "/jobs/%s/artifacts" % job)["files"]}


def log_of(server, job):
    return server.request("GET", "/jobs/%s/log" % job)[2].decode()


def launcher_script(text):
    path = os.path.join(temporary_folder(), "launcher")
    with open(path, "w") as out:
        out.write("#!/bin/sh\n" + text)
    os.chmod(path, 0o755)
    return path


def readyz_and_metrics_say_what_confines_runs():
    server = STATE["server"] = Server("--file-root", ROOT)
    told = STATE["told"] = server.json("GET", "/readyz")["confinement"]
    equal(told["mode"], "auto")
    metrics = server.request("GET", "/metrics")[2].decode()
    assert 'quantd_confinement{part="landlock"} %d\n' % told["landlock_abi"] in metrics
    assert 'quantd_confinement{part="seccomp"} %d\n' % told["seccomp"] in metrics
    assert ("landlock abi %d" % told["landlock_abi"] in told["applied"]) == (told["landlock_abi"] > 0), told
    assert ("seccomp" in told["applied"]) == told["seccomp"], told
    assert 'event=confine' in open(server.log_path).read() or "confine applied=" in open(server.log_path).read()


def a_run_at_work_is_held_and_finds_no_secret():
    os.environ["AWS_SECRET_ACCESS_KEY"] = os.environ["HF_TOKEN"] = "s3cret-of-the-operator"
    server = Server("--file-root", ROOT)
    del os.environ["AWS_SECRET_ACCESS_KEY"], os.environ["HF_TOKEN"]
    job = server.submit(LONG)
    server.wait(job, states=("quantizing",))
    run = wait_for(lambda: children_of(server.process.pid))[0]
    wait_for(lambda: "layer 0" in log_of(server, job))
    status = status_of(run)
    equal(status["NoNewPrivs"], "1")
    if STATE["told"]["seccomp"]:
        equal((status["Seccomp"], status["Seccomp_filters"]), ("2", "2"))
    equal(open("/proc/%d/oom_score_adj" % run).read().strip(), "800")
    equal(os.getpriority(os.PRIO_PROCESS, run), 10)
    equal(os.sched_getscheduler(run), os.SCHED_BATCH)
    environment = open("/proc/%d/environ" % run, "rb").read()
    assert b"s3cret" not in environment and b"HOME=" not in environment, environment
    open_files = sorted(int(fd) for fd in os.listdir("/proc/%d/fd" % run))
    assert open_files[:5] == [0, 1, 2, 3, 4], open_files
    names = [os.readlink("/proc/%d/fd/%d" % (run, fd)) for fd in open_files]
    assert not any("quantd.db" in name or "socket:" in name for name in names), names
    threads = os.listdir("/proc/%d/task" % run)
    if STATE["told"]["seccomp"]:
        for thread in threads:
            filters = dict(line.split(":\t", 1) for line in open("/proc/%d/task/%s/status" % (run, thread)).read().splitlines() if ":\t" in line)
            equal(filters["Seccomp_filters"], "2", "thread " + thread)
    server.json("POST", "/jobs/%s/cancel" % job, want=202)
    equal(server.stop(), 0)


def confined_and_unconfined_runs_make_the_same_bytes():
    server = STATE["server"]
    request = quick_job(URL, format=["compressed-tensors", "gptq"])
    confined = server.succeed(request)["id"]
    assert "confined: " + STATE["told"]["applied"] in log_of(server, confined)
    runs = [e["data"] for e in server.json("GET", "/jobs/%s/events" % confined)["data"] if e["type"] == "run"]
    equal(runs, [{"attempt": 1, "confined": STATE["told"]["applied"], "memory_limit": None}])
    free = Server("--file-root", ROOT, "--confine", "off")
    job = free.succeed(request)["id"]
    assert "confined: nothing" in log_of(free, job)
    equal(digests(free, job), digests(server, confined))
    equal(free.json("GET", "/readyz")["confinement"]["mode"], "off")
    free.stop()
    again = "--confine", "require"
    if STATE["told"]["missing"] is None:
        strict = Server("--file-root", ROOT, *again)
        equal(digests(strict, strict.succeed(request)["id"]), digests(server, confined))
        strict.stop()


def below_a_launcher_the_run_closes_itself_in():
    server = Server("--file-root", ROOT, "--launcher", launcher_script('"$@"\n'))
    equal(server.json("GET", "/readyz")["confinement"]["by_run"], True)
    request = quick_job(URL, format=["compressed-tensors", "gptq"])
    job = server.succeed(request)["id"]
    log = log_of(server, job)
    assert "by the run itself" in log, log
    if STATE["told"]["missing"] is None:
        assert "\nconfined: landlock abi %d, seccomp\n" % STATE["told"]["landlock_abi"] in log, log
    equal(digests(server, job), digests(STATE["server"], STATE["server"].succeed(request)["id"]))
    running = server.submit(LONG)
    wait_for(lambda: "layer 0" in log_of(server, running))
    run = [pid for pid in below(server.process.pid) if not children_of(pid)][0]
    if STATE["told"]["seccomp"]:
        equal(status_of(run)["Seccomp_filters"], "2")
    STATE["launched"] = server, running, run


def a_killed_server_takes_its_run_with_it_below_a_launcher_too():
    server, job, run = STATE["launched"]
    assert alive(run)
    server.kill()
    started = time.monotonic()
    wait_for(lambda: not alive(run))
    took = time.monotonic() - started
    assert took < 2 * patience(), took
    server = Server("--file-root", ROOT, state=server.state)
    found = server.wait(job)
    equal((found["state"], found["resumed"]), ("succeeded", 1), found["problem"])
    server.stop()


def a_run_that_gets_no_memory_fails_and_says_so_and_the_next_one_succeeds():
    if os.environ.get("ASAN_OPTIONS") or os.environ.get("TSAN_OPTIONS"):
        raise Skip("a sanitizer's shadow does not fit below RLIMIT_DATA")
    server = STATE["server"]
    job = server.submit(dict(LONG, limits={"memory": 1 << 30}))
    wait_for(lambda: "quantizing" in log_of(server, job))
    run = children_of(server.process.pid)[0]
    resource.prlimit(run, resource.RLIMIT_DATA, (1 << 20, 1 << 20))  # less than it has: what it still wants is refused
    found = server.wait(job)
    equal((found["state"], found["problem"]["code"]), ("failed", "out-of-memory"), found["problem"])
    assert "its memory limit is 1073741824 bytes, its peak was " in found["problem"]["detail"], found["problem"]
    assert 'quantd_runs_died_total{why="out-of-memory"} 1\n' in server.request("GET", "/metrics")[2].decode()
    server.succeed(quick_job(URL))


def a_run_by_hand_closes_itself_in_when_asked_to():
    folder = temporary_folder()
    job = os.path.join(folder, "job.json")
    json.dump(quick_job(URL), open(job, "w"))
    command = [QUANTD, "run", job, "--out", os.path.join(folder, "out"), "--model", os.path.join(ROOT, "novella-1m"), "--calibration-text", CALIBRATION,
               "--evaluation-text", HELD_OUT]
    done = subprocess.run(command + ["--confine", "auto"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    equal(done.returncode, 2)
    assert b"--work" in done.stderr, done.stderr
    done = subprocess.run(command + ["--confine", "sometimes", "--work", os.path.join(folder, "work")], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    equal(done.returncode, 2)
    assert b"auto, require or off" in done.stderr, done.stderr
    done = subprocess.run(command + ["--confine", "auto", "--work", os.path.join(folder, "work")], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    equal(done.returncode, 0, done.stderr[-1000:])
    assert done.stderr.startswith(b"confined: "), done.stderr[:200]
    assert os.path.exists(os.path.join(folder, "out", "manifest.json"))


run_claims([
    readyz_and_metrics_say_what_confines_runs,
    a_run_at_work_is_held_and_finds_no_secret,
    confined_and_unconfined_runs_make_the_same_bytes,
    below_a_launcher_the_run_closes_itself_in,
    a_killed_server_takes_its_run_with_it_below_a_launcher_too,
    a_run_that_gets_no_memory_fails_and_says_so_and_the_next_one_succeeds,
    a_run_by_hand_closes_itself_in_when_asked_to,
])
