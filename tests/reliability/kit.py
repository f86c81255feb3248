"""kit.py: what the tests of this folder share: a very small model, a service that is started again whenever it has died, and what must
hold on disk afterwards, whatever happened. Standard library only."""
import os
import sqlite3
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))
from harness import *  # noqa: E402,F401,F403

LAYERS = 7  # linear layers of the one block


def one_block_model(root, name):
    """novella-1m's first block: seven linear layers, a job of a fraction of a second."""
    folder = copy_model(root, name)
    path = os.path.join(folder, "model.safetensors")
    tensors = read_safetensors(open(path, "rb").read())
    write_safetensors(path, {n: t for n, t in tensors.items() if ".layers." not in n or ".layers.0." in n})
    config = json.load(open(os.path.join(folder, "config.json")))
    config["num_hidden_layers"] = 1
    json.dump(config, open(os.path.join(folder, "config.json"), "w"))
    os.remove(os.path.join(folder, "reference.json"))
    return folder


def small_job(url, **fields):
    job = quick_job(url, bits=4, group_size=32, format=["gguf:q4_0", "safetensors:bf16"], algorithm="optq",
                    calibration={"samples": 4, "length": 64}, evaluation={"length": 64, "windows": 2, "baseline": None})
    job.update(fields)
    return job


def processes_of(state):
    """Live `quantd run` processes of a state folder: job -> process ids."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            words = open("/proc/%s/cmdline" % name, "rb").read().decode("utf-8", "replace").split("\0")
            stat = open("/proc/%s/stat" % name).read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if len(words) > 2 and words[1] == "run" and words[2].startswith(state + "/jobs/") and stat[0] not in "ZX":
            found.setdefault(words[2].split("/")[-2], []).append(int(name))
    return found


def files_below(folder):
    return [os.path.join(base, name) for base, _, names in os.walk(folder) for name in names]


def check_disk(state):
    """A stopped service's folder: the database is sound, every artifact is one that a succeeded job names and is whole, nothing half
    written lies where it could be taken for something."""
    database = sqlite3.connect("file:%s?mode=ro" % os.path.join(state, "quantd.db"), uri=True)
    equal(database.execute("PRAGMA integrity_check").fetchall(), [("ok",)], "integrity_check")
    equal(database.execute("PRAGMA foreign_key_check").fetchall(), [], "foreign_key_check")
    jobs = dict(database.execute("SELECT id, state FROM job"))
    rows = database.execute("SELECT job, path, size, sha256 FROM artifact").fetchall()
    database.close()
    for job, path, size, sha256 in rows:
        data = open(os.path.join(state, "artifacts", job, path), "rb").read()
        equal((len(data), hashlib.sha256(data).hexdigest()), (size, sha256), "%s/%s" % (job, path))
    folder = os.path.join(state, "artifacts")
    for job in os.listdir(folder) if os.path.isdir(folder) else []:
        equal(jobs.get(job), "succeeded", "owner of artifacts/" + job)
    for job in os.listdir(os.path.join(state, "jobs")) if os.path.isdir(os.path.join(state, "jobs")) else []:
        assert job in jobs, "jobs/%s belongs to nobody" % job
    for part in ("artifacts", "jobs", os.path.join("models", "blobs")):  # elsewhere in models/ they are kept for an hour, and never read
        left = [path for path in files_below(os.path.join(state, part)) if ".tmp." in path]
        equal(left, [], "temporary files in " + part)
    blobs = set()
    for path in files_below(os.path.join(state, "models", "blobs")):
        blobs.add(os.path.basename(path))
        equal(hashlib.sha256(open(path, "rb").read()).hexdigest(), os.path.basename(path), "blob")
    for path in files_below(os.path.join(state, "models", "snapshots")):
        if ".tmp." not in path:  # a link to a blob, or where linking fails its copy
            assert hashlib.sha256(open(path, "rb").read()).hexdigest() in blobs, "'%s' is no blob" % path
    return jobs


class Receiver(Process):
    """Takes webhooks; tests/http/receiver.py."""

    def __init__(self):
        script = os.path.join(SOURCE, "tests", "http", "receiver.py")
        super().__init__([sys.executable, script, "--port", "0"], os.path.join(temporary_folder(), "receiver.log"))

    def came(self, path):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        connection.request("GET", "/_log")
        return [entry for entry in json.loads(connection.getresponse().read()) if entry["path"] == path]


class Phoenix:
    """A service that is started again when it has died. Requests return (status, body); (None, None) when it died under them."""

    def __init__(self, *flags, state=None, armed=None):
        self.flags, self.state = flags, state or os.path.join(temporary_folder(), "state")
        self.server, self.starts, self.slowest_start, self.deaths = None, 0, 0.0, []  # deaths that no test made
        self.start(armed)

    def start(self, environment=None):
        for attempt in range(3):
            began = time.monotonic()
            try:
                self.server = Server(*self.flags, state=self.state, environment=environment)
            except AssertionError as reason:  # it ended before it listened
                assert attempt < 2, reason
                self.deaths.append("at start")
                environment = None
                continue
            self.starts += 1
            self.slowest_start = max(self.slowest_start, time.monotonic() - began)
            return

    def call(self, method, path, body=None, headers=None):
        try:
            status, _, data = self.server.request(method, path, body, headers, timeout=60 * SLOW)
        except (OSError, http.client.HTTPException):
            self.rise()
            return None, None
        return status, json.loads(data) if data else None

    def rise(self):
        try:
            code = self.server.process.wait(10 * patience())
        except subprocess.TimeoutExpired:
            raise AssertionError("the service breaks connections off and lives")
        self.deaths.append(code)
        assert len(self.deaths) < 8, "the service dies again and again: %s; %s" % (self.deaths, open(self.server.log_path).read()[-1500:])
        self.server.kill()
        self.start()

    def settle(self, method, path, body, accepted, tries=8, headers=None):
        """Asks until the answer is one of `accepted`; returns it and how often it is not known whether it was done."""
        unknown = 0
        for _ in range(tries):
            status, found = self.call(method, path, body, headers)
            if status in accepted:
                return found, unknown
            assert status is None or status in (500, 503, 507), "%s %s: %s %s" % (method, path, status, found)
            unknown += 1
            time.sleep(0.05)
        raise AssertionError("%s %s: no answer in %d tries" % (method, path, tries))

    def job(self, job):
        return self.settle("GET", "/jobs/" + job, None, (200,))[0]

    def wait(self, job, seconds=120):
        end = time.monotonic() + seconds * SLOW
        while time.monotonic() < end:
            for name, pids in processes_of(self.state).items():
                assert len(pids) <= 1, "job %s runs in processes %s" % (name, pids)
            found = self.job(job)
            if found["state"] in FINAL:
                return found
            time.sleep(0.02)
        raise AssertionError("job %s is still %s; %s" % (job, found["state"], open(self.server.log_path).read()[-1500:]))

    def digests(self, job):
        manifest = self.settle("GET", "/jobs/%s/artifacts" % job, None, (200,))[0]
        return {e["path"]: e["sha256"] for e in manifest["files"]}

    def stop(self):
        code = self.server.stop()
        if code != 0:  # it died while stopping: the next one stops
            self.deaths.append(code)
            self.start()
            equal(self.server.stop(), 0, "exit status of the service; " + open(self.server.log_path).read()[-1500:])
