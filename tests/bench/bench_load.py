"""The service under load: R7, R8, R10, R11 and R18 of tests/RELIABILITY.md, one line each. Not a test: figures depend on the machine.

    make bench && python3 ../tests/bench/bench_load.py [r7|r8|r10|r11|r18]...      from a build folder

LOAD_SECONDS (60), LOAD_CLIENTS (500), LOAD_STREAMS (2000), LOAD_SLOW (3000). QUANTD names the binary, LOAD_CLIENT the client (load_client).
"""
import os
import random
import re
import sqlite3
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))
from harness import *  # noqa: E402,F403

SECONDS = float(os.environ.get("LOAD_SECONDS", "60"))
CLIENTS = int(os.environ.get("LOAD_CLIENTS", "500"))
STREAMS = int(os.environ.get("LOAD_STREAMS", "2000"))
SLOW_ONES = int(os.environ.get("LOAD_SLOW", "3000"))
CLIENT = os.environ.get("LOAD_CLIENT", os.path.join(os.path.dirname(os.path.abspath(QUANTD)), "tests", "bench", "load_client"))
EVERY = 100  # one POST for so many requests
MODELS = None


def models():
    global MODELS
    if MODELS is None:
        root = temporary_folder()
        copy_model(root, "good")
        MODELS = ModelServer(root)
    return MODELS


def client(*arguments):
    return subprocess.Popen([CLIENT] + [str(a) for a in arguments], stdout=subprocess.PIPE)


def figures(process):
    out = process.communicate()[0]
    assert process.returncode == 0, "the client failed"
    return json.loads(out)


def resident(pid):
    for line in open("/proc/%d/status" % pid):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) << 10
    return 0


def processor_seconds(pid):
    fields = open("/proc/%d/stat" % pid).read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cut_of(server):
    return int(re.search(r"(?m)^quantd_http_cut_total (\d+)", server.request("GET", "/metrics")[2].decode()).group(1))


def milliseconds(figure):
    return "p50 %.1f ms, p99 %.1f ms, max %.0f ms" % (figure["p50"] * 1e3, figure["p99"] * 1e3, figure["max"] * 1e3)


def heavy_job(**fields):
    return quick_job(models().model("good"), algorithm="qronos", effort="balanced", calibration={"samples": 128, "length": 512},
                     evaluation={"length": 512, "windows": 200}, **fields)


def talker(seconds, rate):
    """A launcher whose runs say `rate` things a second for so long, and then are runs."""
    path = os.path.join(temporary_folder(), "talker")
    with open(path, "w") as out:
        out.write("#!%s\nimport os, sys, time\nend = time.monotonic() + %g\nnumber = 0\nstart = time.monotonic()\n"
                  "while time.monotonic() < end:\n    number += 1\n"
                  "    os.write(3, b'{\"event\":\"warning\",\"detail\":\"number %%d\"}\\n' %% number)\n"
                  "    time.sleep(max(0, start + number / %g - time.monotonic()))\nos.execvp(sys.argv[1], sys.argv[1:])\n"
                  % (sys.executable, seconds, rate))
    os.chmod(path, 0o755)
    return path


def until(found, seconds=60):
    end = time.monotonic() + seconds * SLOW
    while not found():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def state_of(server, job):
    return server.json("GET", "/jobs/" + job)["state"]


def runs_of(server):
    """Two jobs that run for long; their processor time tells how much they are slowed down."""
    jobs = [server.submit(heavy_job(seed=i)) for i in range(2)]
    until(lambda: all(state_of(server, job) == "quantizing" for job in jobs))
    return jobs


def seconds_of_two_jobs(server):
    began = time.monotonic()
    jobs = [server.submit(heavy_job(seed=i)) for i in range(2)]
    for job in jobs:
        equal(server.wait(job, seconds=900)["state"], "succeeded")
    return time.monotonic() - began


def r7():
    """Mixed load of keep-alive clients while two jobs run; then the jobs alone, for their slow-down."""
    server = Server("--workers", "2", "--queue-limit", "1000000", "--log-level", "warn", "--rate-limit", "0")
    alone = seconds_of_two_jobs(server)
    began = time.monotonic()
    jobs = runs_of(server)
    body = json.dumps(quick_job(models().model("good")))
    load = client("mix", server.port, CLIENTS, SECONDS, EVERY, body, "/jobs/" + jobs[0])
    ends = {}

    def follow():
        for job in jobs:
            ends[job] = server.wait(job, seconds=900)["state"]
        ends["seconds"] = time.monotonic() - began

    follower = threading.Thread(target=follow)
    follower.start()
    found = figures(load)
    follower.join()
    print("R7: %d clients, %.0f s, two jobs beside: %.0f GET/s (%s), %.0f POST/s (%s), statuses %s, cut replies %d; the two jobs took %.1f s, alone %.1f s"
          % (CLIENTS, found["seconds"], found["get"]["count"] / found["seconds"], milliseconds(found["get"]), found["post"]["count"] / found["seconds"],
             milliseconds(found["post"]), found["statuses"], found["truncated"], ends["seconds"], alone))
    server.kill()


def r8():
    """Everybody follows one job that says ten things a second."""
    server = Server("--launcher", talker(SECONDS + 30, 10), "--event-streams", str(STREAMS + 10), "--log-level", "warn")
    job = server.submit(quick_job(models().model("good")))
    until(lambda: state_of(server, job) == "quantizing" or len(server.json("GET", "/jobs/%s/events" % job)["data"]) > 3)
    before, spent = resident(server.process.pid), processor_seconds(server.process.pid)
    load = client("streams", server.port, STREAMS, SECONDS, "/jobs/%s/events" % job)
    memory = []
    time.sleep(min(5, SECONDS / 4))
    while load.poll() is None:
        memory.append(resident(server.process.pid))
        time.sleep(0.5)
    found = figures(load)
    spent = processor_seconds(server.process.pid) - spent
    print("R8: %d streams, %.0f s, %d events delivered: fan-out %s, gaps %d, fewest %d most %d events a client, last id %s, closed %d; "
          "memory %.1f KB a client, from %.1f to %.1f MB while it ran; %.1f us of processor an event delivered"
          % (STREAMS, found["seconds"], found["events"], milliseconds(found["fan_out"]), found["gaps"], found["fewest"], found["most"], found["last"],
             found["closed"], (max(memory) - before) / STREAMS / 1e3, min(memory) / 1e6, max(memory) / 1e6, spent / max(found["events"], 1) * 1e6))
    server.kill()


def big_artifact(server, size):
    """A finished job of which one file is made `size` bytes long, in the records too. -> server started again, path, bytes on disk"""
    job = server.succeed(quick_job(models().model("good")))["id"]
    equal(server.stop(), 0)
    folder = os.path.join(server.state, "artifacts", job)
    path = os.path.join(folder, "model.safetensors")
    os.chmod(folder, 0o755)
    os.remove(path)
    digest = hashlib.sha256()
    rng = random.Random(1)
    with open(path, "wb") as out:
        for _ in range(size >> 20):
            piece = rng.randbytes(1 << 20)
            digest.update(piece)
            out.write(piece)
    with sqlite3.connect(os.path.join(server.state, "quantd.db")) as database:
        equal(database.execute("UPDATE artifact SET size=?, sha256=? WHERE job=? AND path='model.safetensors'",
                               (size, digest.hexdigest(), job)).rowcount, 1)
    database.close()
    return "/jobs/%s/artifacts/model.safetensors" % job, path


def slow_attack(server, kind, path, seconds, limit):
    before = cut_of(server)
    load = client(kind, server.port, SLOW_ONES, seconds, path)
    time.sleep(2)
    waits = []
    while load.poll() is None:
        began = time.monotonic()
        equal(server.request("GET", "/livez")[0], 200)
        waits.append(time.monotonic() - began)
        time.sleep(0.02)
    found = figures(load)
    waits.sort()
    print("R10: %d connections, %s: cut %d (the clients saw %d), after %.1f to %.1f s (wanted: %g); others meanwhile p50 %.1f ms, p99 %.1f ms, max %.0f ms, %d asked; memory %.1f MB"
          % (SLOW_ONES, kind, cut_of(server) - before, found["cut"]["count"], found["cut"]["p50"], found["cut"]["max"], limit, waits[len(waits) // 2] * 1e3,
             waits[-1 - len(waits) // 100] * 1e3, waits[-1] * 1e3, len(waits), resident(server.process.pid) / 1e6))


def r10():
    """Slow headers, slow bodies, slow readers; meanwhile somebody asks as clients do."""
    server = Server("--log-level", "warn")
    path, _ = big_artifact(server, 256 << 20)
    server = Server("--log-level", "warn", "--downloads", str(SLOW_ONES + 10), state=server.state)
    slow_attack(server, "slow-header", "/livez", 30, 12)
    slow_attack(server, "slow-body", "/jobs", 30, 20)
    slow_attack(server, "slow-read", path, 60, 40)
    server.kill()


def r11():
    """Eight readers of 1 GiB, and 200 random ranges."""
    size = 1 << 30
    server = Server("--log-level", "warn")
    path, file = big_artifact(server, size)
    server = Server("--log-level", "warn", state=server.state)
    subprocess.run(["cat", file], stdout=subprocess.DEVNULL, check=True)
    server.request("GET", "/livez")
    before = resident(server.process.pid)
    began = time.monotonic()
    readers = [subprocess.Popen(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{size_download}", server.url + path], stdout=subprocess.PIPE)
               for _ in range(8)]
    peak = 0
    while any(reader.poll() is None for reader in readers):
        peak = max(peak, resident(server.process.pid))
        time.sleep(0.02)
    seconds = time.monotonic() - began
    for reader in readers:
        equal(reader.stdout.read().decode(), "200 %d" % size)
    rng, wrong = random.Random(2), 0
    with open(file, "rb") as source:
        for _ in range(200):
            first = rng.randrange(size)
            last = min(size - 1, first + int(2 ** rng.uniform(0, 22)))
            status, _, data = server.request("GET", path, headers={"Range": "bytes=%d-%d" % (first, last)})
            source.seek(first)
            wrong += status != 206 or data != source.read(last - first + 1)
    peak = max(peak, resident(server.process.pid))
    print("R11: 8 readers of 1 GiB: %.2f GB/s together; 200 random ranges, %d wrong; memory grew by %.1f MB" % (8 * size / seconds / 1e9, wrong, (peak - before) / 1e6))
    server.kill()


def r18():
    """SIGTERM while clients ask, streams are open and two jobs run."""
    server = Server("--workers", "2", "--queue-limit", "1000000", "--log-level", "warn", "--rate-limit", "0")
    jobs = runs_of(server)
    body = json.dumps(quick_job(models().model("good")))
    streams = client("streams", server.port, STREAMS // 2, 60, "/jobs/%s/events" % jobs[0])
    load = client("mix", server.port, CLIENTS, 60, EVERY, body, "/jobs/" + jobs[0])
    time.sleep(4)
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    equal(server.process.wait(60), 0)
    seconds = time.monotonic() - began
    found, heard = figures(load), figures(streams)
    again = Server("--workers", "2", "--queue-limit", "1000000", "--log-level", "warn", state=server.state)
    ready = time.monotonic() - began - seconds
    ends = [again.wait(job, seconds=900) for job in jobs]
    print("R18: stopped in %.2f s under %d clients and %d streams: cut replies %d, statuses %s, streams closed %d; started in %.2f s; jobs %s, resumed %s"
          % (seconds, CLIENTS, STREAMS // 2, found["truncated"], found["statuses"], heard["closed"], ready, [e["state"] for e in ends],
             [e["resumed"] for e in ends]))
    again.kill()


ROWS = {"r7": r7, "r8": r8, "r10": r10, "r11": r11, "r18": r18}
for name in sys.argv[1:] or ROWS:
    ROWS[name]()
    sys.stdout.flush()
