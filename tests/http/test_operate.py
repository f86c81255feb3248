"""The service under its manager: signs of life, reload, the way to its end."""
import os
import socket
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: E402,F403

ROOT = temporary_folder()
copy_model(ROOT, "novella-1m")
MODELS = ModelServer(ROOT)
LONG = quick_job(MODELS.model("novella-1m"), calibration={"samples": 128, "length": 512})
# Some seconds: long enough to be met under way, short enough to be waited for.
SHORT = quick_job(MODELS.model("novella-1m"), calibration={"samples": 32, "length": 256})


class Manager:
    """What systemd is to the service: a datagram socket."""

    def __init__(self, abstract=False):
        name = "\0quantd-test-%d-%d" % (os.getpid(), id(self)) if abstract else os.path.join(temporary_folder(), "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(name)
        self.environment = dict(os.environ, NOTIFY_SOCKET=name.replace("\0", "@"))

    def hear(self, wanted, seconds=20):
        """The first message with `wanted` in it, and how many came before it."""
        end = time.monotonic() + seconds * SLOW
        before = 0
        while True:
            self.socket.settimeout(max(0.01, end - time.monotonic()))
            message = self.socket.recv(4096).decode()
            if wanted in message:
                return message, before
            before += 1


class Managed(Server):
    """A server whose manager listens; environment as the manager gives it."""

    def __init__(self, *flags, manager, **more):
        self.manager = manager
        self.extra = more
        os.environ.update(manager.environment, **more)
        try:
            super().__init__(*flags)
        finally:
            for name in ["NOTIFY_SOCKET"] + list(more):
                os.environ.pop(name, None)


def lines_of(server, event):
    return [line for line in open(server.log_path, errors="replace") if " %s " % event in line]


def wait_until(what, seconds=30):
    end = time.monotonic() + seconds * SLOW
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come to that")


def the_manager_hears_ready_status_watchdog_and_stopping():
    for abstract in (False, True):
        manager = Manager(abstract)
        # A quarter of it is what a thread may take for its sign: not too little where threads wait for processors.
        server = Managed(manager=manager, WATCHDOG_USEC="%d" % (2000000 * min(patience(), 4)))
        manager.hear("READY=1")
        manager.hear("WATCHDOG=1")
        manager.hear("WATCHDOG=1")
        assert not lines_of(server, "serve.no-sign-of-life")
        server.process.send_signal(signal.SIGTERM)
        assert "EXTEND_TIMEOUT_USEC=" in manager.hear("STOPPING=1")[0]
        equal(server.process.wait(), 0)


def a_service_that_hangs_gives_no_sign_of_life():
    manager = Manager()
    server = Managed(manager=manager, WATCHDOG_USEC="500000")
    manager.hear("WATCHDOG=1")
    # The database is locked against its writer: a hang that no signal of ours makes.
    import sqlite3
    database = sqlite3.connect(os.path.join(server.state, "quantd.db"), isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    time.sleep(2)  # all of this is over before the writer gives up its wait for the lock, on a slow machine too
    manager.socket.setblocking(False)
    try:
        while True:
            manager.socket.recv(4096)
    except BlockingIOError:
        pass
    try:
        manager.hear("WATCHDOG=1", seconds=3 / SLOW)
        raise AssertionError("a sign of life while nothing can be written")
    except TimeoutError:
        pass
    database.execute("ROLLBACK")
    manager.hear("WATCHDOG=1", seconds=30)
    equal(server.stop(), 0)


def a_stranger_s_watchdog_is_not_ours():
    manager = Manager()
    server = Managed(manager=manager, WATCHDOG_USEC="200000", WATCHDOG_PID="1")
    manager.hear("READY=1")
    try:
        manager.hear("WATCHDOG=1", seconds=1)
        raise AssertionError("WATCHDOG_PID names another process")
    except TimeoutError:
        pass
    equal(server.stop(), 0)


def runs_do_not_hear_of_the_manager():
    manager = Manager()
    server = Managed(manager=manager, WATCHDOG_USEC="5000000")
    server.submit(LONG)
    line = wait_until(lambda: lines_of(server, "run.started"))[0]
    pid = re.search(r"pid=(\d+)", line).group(1)
    environment = open("/proc/%s/environ" % pid).read()
    assert "NOTIFY_SOCKET" not in environment and "WATCHDOG" not in environment, environment
    equal(server.stop(), 0)


def write(path, text):
    with open(path, "w") as out:
        out.write(text)


def sighup_reads_the_file_again():
    path = os.path.join(temporary_folder(), "quantd.conf")
    write(path, "queue-limit = 10\nmax-file = 1G\nlog-format = text\n")
    manager = Manager()
    server = Managed("--config", path, manager=manager)
    manager.hear("READY=1")
    write(path, "queue-limit = 1\nmax-file = 2G\nlog-format = json\n")
    server.process.send_signal(signal.SIGHUP)
    message, _ = manager.hear("RELOADING=1")
    assert re.search(r"MONOTONIC_USEC=\d+", message), message
    manager.hear("READY=1")
    text = open(server.log_path).read()
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    reloaded = [line for line in lines if line["event"] == "serve.reloaded"]
    equal(len(reloaded), 1)
    equal(reloaded[0]["changed"], "queue-limit,log-format")
    assert [line for line in lines if line["event"] == "serve.restart-needed" and line["reason"].startswith("max-file:")], text
    server.submit(LONG)
    wait_until(lambda: server.json("GET", "/jobs?state=queued")["data"] == [])
    server.submit(LONG)
    equal(server.request("POST", "/jobs", LONG)[0], 429, "the queue is as long as the new file says")
    equal(server.stop(), 0)


def a_file_with_a_mistake_changes_nothing():
    path = os.path.join(temporary_folder(), "quantd.conf")
    write(path, "queue-limit = 2\n")
    server = Server("--config", path)
    write(path, "queue-limit = 1\nqueue-limits = 1\n")
    server.process.send_signal(signal.SIGHUP)
    line = wait_until(lambda: lines_of(server, "serve.not-reloaded"))[0]
    assert "did you mean 'queue-limit'" in line, line
    os.unlink(path)
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(lines_of(server, "serve.not-reloaded")) == 2)
    equal(server.request("GET", "/readyz")[0], 200)
    equal(server.stop(), 0)


def without_drain_the_end_comes_within_five_seconds_and_the_job_goes_on():
    server = Server()
    job = server.submit(LONG)
    wait_until(lambda: server.json("GET", "/jobs/%s/layers" % job)["data"])
    started = time.monotonic()
    equal(server.stop(), 0)
    seconds = time.monotonic() - started
    print("# a stop with a run under way: %.2f s" % seconds)
    assert seconds < 5 * patience(), seconds
    again = Server(state=server.state)
    found = again.wait(job)
    equal((found["state"], found["resumed"]), ("succeeded", 1), str(found["problem"]))
    equal(again.stop(), 0)


def a_drain_lets_runs_end_claims_no_more_and_answers_meanwhile():
    server = Server("--drain", "120s")
    first, second = server.submit(SHORT), server.submit(SHORT)
    stream = http.client.HTTPConnection(server.host, server.port, timeout=60)
    stream.request("GET", "/jobs/%s/events" % second, headers={"Accept": "text/event-stream"})
    reply = stream.getresponse()
    line = wait_until(lambda: lines_of(server, "run.started"))[0]
    run = int(re.search(r"pid=(\d+)", line).group(1))
    os.kill(run, signal.SIGSTOP)  # it takes as long as what follows does
    ended = []
    reader = threading.Thread(target=lambda: ended.append(reply.read()))
    reader.start()
    server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: server.request("GET", "/readyz")[0] == 503, seconds=2 * patience() / SLOW)
    reader.join(10 * SLOW)
    assert not reader.is_alive(), "the stream is open"
    equal(server.request("GET", "/jobs/%s/events" % second, headers={"Accept": "text/event-stream"})[0], 503)
    equal(server.json("GET", "/jobs/" + second)["state"], "queued")
    third = server.submit(SHORT)
    os.kill(run, signal.SIGCONT)
    equal(server.process.wait(), 0)
    again = Server(state=server.state)
    equal(again.json("GET", "/jobs/" + first)["state"], "succeeded")
    equal(again.json("GET", "/jobs/" + first)["resumed"], 0)
    for job in (second, third):
        equal(again.wait(job)["state"], "succeeded")
    equal(again.stop(), 0)


def a_second_signal_ends_the_drain():
    server = Server("--drain", "1h")
    job = server.submit(LONG)
    wait_until(lambda: lines_of(server, "run.started"))
    server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: lines_of(server, "serve.stop"))
    time.sleep(0.3)
    assert server.process.poll() is None, "it waits for the run"
    started = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    equal(server.process.wait(), 0)
    assert time.monotonic() - started < 5 * patience()
    assert lines_of(server, "serve.stop-now")
    again = Server(state=server.state)
    equal(again.json("GET", "/jobs/" + job)["resumed"], 1)
    equal(again.stop(), 0)


def the_lines_about_a_job_name_the_request_that_caused_it():
    server = Server("--log-format", "json")
    status, headers, data = server.request("POST", "/jobs", SHORT)
    job, request = json.loads(data)["id"], headers["x-request-id"]
    equal(server.wait(job)["state"], "succeeded")
    equal(server.stop(), 0)
    lines = [json.loads(line) for line in open(server.log_path)]
    mine = [line for line in lines if line.get("job") == job]
    events = [line["event"] for line in mine]
    for event in ("job.queued", "job.claimed", "run.started", "job.ended"):
        assert event in events, events
    equal({line["request_id"] for line in mine}, {request})
    first = open(os.path.join(server.state, "jobs", job, "log.txt")).readline()
    assert first.startswith("attempt 1 ") and request in first, first


def ten_thousand_jobs_do_not_keep_the_service_from_starting():
    import sqlite3
    server = Server()
    state = server.state
    equal(server.stop(), 0)
    database = sqlite3.connect(os.path.join(state, "quantd.db"))
    for i in range(10000):
        job = "%026d" % i
        database.execute("INSERT INTO job (id, state, tags, request, recipe, resolved, created_ms, finished_ms) "
                         "VALUES (?, ?, '{}', '{}', '{}', '{}', 1, ?)", (job, "failed" if i % 10 else "cancelled", 1))
        database.execute("INSERT INTO event VALUES (?, 1, 1, 'state', '{}')", (job,))
        os.makedirs(os.path.join(state, "jobs", job))
        open(os.path.join(state, "jobs", job, "log.txt"), "w").close()
    database.commit()
    database.close()
    started = time.monotonic()
    server = Server(state=state)
    equal(server.request("GET", "/readyz")[0], 200)
    seconds = time.monotonic() - started
    fields = open("/proc/%d/stat" % server.process.pid).read().rsplit(")", 1)[1].split()
    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    print("# a start with 10,000 jobs: %.2f s, of these %.2f s of processor time" % (seconds, cpu))
    assert cpu < 2 * SLOW, cpu
    started = time.monotonic()
    server.json("POST", "/admin/collect")
    print("# a collection among 10,000 jobs: %.2f s" % (time.monotonic() - started))
    equal(server.stop(), 0)


def check_config_prints_values_and_sources_and_starts_nothing():
    state = os.path.join(temporary_folder(), "state")
    command = [QUANTD, "serve", "--state", state, "--workers", "3", "--check-config"]
    done = subprocess.run(command, capture_output=True, env=dict(os.environ, QUANTD_DRAIN="2m"))
    equal(done.returncode, 0, done.stderr)
    for line in ("workers = 3  # flags", "drain = 120  # environment", "listen = 127.0.0.1:8080  # default"):
        assert line in done.stdout.decode().splitlines(), done.stdout.decode()
    assert not os.path.exists(state)
    done = subprocess.run(command + ["--evaluation-text", "/nowhere"], capture_output=True)
    equal(done.returncode != 0 and b"evaluation-text" in done.stderr, True, done.stderr)


run_claims([the_manager_hears_ready_status_watchdog_and_stopping, a_service_that_hangs_gives_no_sign_of_life,
            a_stranger_s_watchdog_is_not_ours, runs_do_not_hear_of_the_manager, sighup_reads_the_file_again,
            a_file_with_a_mistake_changes_nothing, without_drain_the_end_comes_within_five_seconds_and_the_job_goes_on,
            a_drain_lets_runs_end_claims_no_more_and_answers_meanwhile, a_second_signal_ends_the_drain,
            the_lines_about_a_job_name_the_request_that_caused_it,
            ten_thousand_jobs_do_not_keep_the_service_from_starting,
            check_config_prints_values_and_sources_and_starts_nothing])
