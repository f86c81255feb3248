"""harness.py: a real quantd, a real model server, and TAP, for the black-box tests of this folder.

Standard library only. QUANTD names the binary (build/quantd), QUANTD_SOURCE the source tree (this file's).
"""
import atexit
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback

SOURCE = os.environ.get("QUANTD_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
QUANTD = os.environ.get("QUANTD", os.path.join(SOURCE, "build", "quantd"))
SHARED = os.environ.get("QUANTD_SHARED") or None
MODEL = os.path.join(SOURCE, "tests", "models", "novella-1m")
CALIBRATION = os.path.join(SOURCE, "tests", "texts", "novella-calibration.txt")
HELD_OUT = os.path.join(SOURCE, "tests", "texts", "novella-heldout.txt")
FINAL = ("succeeded", "failed", "cancelled", "quarantined")
# Sanitizer builds are several times slower; waits are scaled, claims are not.
SLOW = float(os.environ.get("QUANTD_TEST_SLOW", "1"))


def patience():
    """How many times longer than on an idle machine a thing may take by now; check_patience of tests/check.h."""
    return max(1, SLOW) * max(1, os.getloadavg()[0] / os.cpu_count())


class Skip(Exception):
    """Raised by a claim that cannot be tried here; the reason is shown."""


def run_claims(claims):
    """Runs functions (their docstring, or name, is the claim) and prints TAP; exit status is always 0: TAP says it."""
    print("1..%d" % len(claims), flush=True)
    for number, claim in enumerate(claims, 1):
        name = claim.__name__
        try:
            claim()
            print("ok %d - %s" % (number, name), flush=True)
        except Skip as reason:
            print("ok %d - %s # SKIP %s" % (number, name, reason), flush=True)
        except BaseException:
            print("not ok %d - %s" % (number, name), flush=True)
            for line in traceback.format_exc().splitlines():
                print("# " + line, flush=True)


def equal(got, want, what=""):
    assert got == want, "%s: got %r, want %r" % (what, got, want)


def temporary_folder():
    folder = tempfile.mkdtemp(prefix="quantd-test-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def kept_port(port=0):
    """A socket that keeps a port for a server that comes later (or again): what asks the system for any port does not get this one meanwhile,
    and who connects to it is refused."""
    keeper = socket.socket()
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    keeper.bind(("127.0.0.1", port))
    return keeper


class Process:
    """A child that prints `listening on http://HOST:PORT`, or https."""

    def __init__(self, command, log, environment=None):
        self.log_path = log
        self.log = open(log, "ab")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, env=environment)
        atexit.register(self.kill)
        line = self.process.stdout.readline().decode()
        found = re.match(r"listening on (https?)://([^:]+):(\d+)", line)
        if not found:
            self.kill()
            raise AssertionError("%s printed %r; log: %s" % (command[:2], line, open(log).read()[-2000:]))
        self.host, self.port = found.group(2), int(found.group(3))
        self.url = "%s://%s:%d" % (found.group(1), self.host, self.port)

    def kill(self, with_signal=signal.SIGKILL):
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
            self.process.wait()
        self.process.stdout.close()
        self.log.close()
        atexit.unregister(self.kill)

    def stop(self):
        self.kill(signal.SIGTERM)
        return self.process.returncode


class ModelServer(Process):
    """Serves the folders below `root` as /files/NAME/."""

    def __init__(self, root, *arguments):
        script = os.path.join(SOURCE, "tests", "server", "fetch", "fake_hub.py")
        super().__init__([sys.executable, script, "--port", "0", "--root", root] + list(arguments),
                         os.path.join(temporary_folder(), "models.log"))

    def model(self, name):
        return "%s/files/%s/" % (self.url, name)

    def stats(self):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        connection.request("GET", "/_stats")
        return json.loads(connection.getresponse().read())


class Server(Process):
    """quantd serve on its own state folder; extra flags follow the usual ones."""

    def __init__(self, *flags, state=None, calibration=CALIBRATION, evaluation=HELD_OUT, environment=None):
        self.state = state or os.path.join(temporary_folder(), "state")
        command = [QUANTD, "serve", "--listen", "127.0.0.1:0", "--state", self.state, "--allow-http",
                   "--allow-net", "127.0.0.0/8", "--disk-floor", "0", "--log-level", "debug"]
        if calibration:
            command += ["--calibration-text", calibration]
        if evaluation:
            command += ["--evaluation-text", evaluation]
        os.makedirs(self.state, exist_ok=True)
        super().__init__(command + list(flags), os.path.join(self.state, "serve.log"), environment)

    def request(self, method, path, body=None, headers=None, timeout=60 * max(1, SLOW)):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        connection.request(method, path, body, headers or {})
        reply = connection.getresponse()
        data = reply.read()
        connection.close()
        return reply.status, {k.lower(): v for k, v in reply.getheaders()}, data

    def json(self, method, path, body=None, want=200, headers=None):
        status, _, data = self.request(method, path, body, headers)
        assert status == want, "%s %s: %d %s" % (method, path, status, data[:1000])
        return json.loads(data) if data else None

    def submit(self, request):
        return self.json("POST", "/jobs", request, want=202)["id"]

    def wait(self, job, states=FINAL, seconds=240):
        end = time.monotonic() + seconds * SLOW
        while time.monotonic() < end:
            found = self.json("GET", "/jobs/" + job)
            if found["state"] in states or found["state"] in FINAL:
                return found
            time.sleep(0.05)
        raise AssertionError("job %s is still %s: %s" % (job, found["state"], found.get("progress")))

    def succeed(self, request, seconds=240):
        found = self.wait(self.submit(request), seconds=seconds)
        assert found["state"] == "succeeded", "%s: %s" % (found["state"], found["problem"])
        return found

    def fail(self, request, *parts, state="failed"):
        """The job ends as `state` with a problem whose text holds all `parts`; the service is alive, nothing is published."""
        found = self.wait(self.submit(request))
        assert found["state"] == state, "%s instead of %s: %s" % (found["state"], state, found["problem"])
        for part in parts:
            assert part in found["problem"]["detail"], "%r is not in %r" % (part, found["problem"])
        equal(self.request("GET", "/livez")[0], 200, "livez")
        equal(self.request("GET", "/jobs/%s/artifacts" % found["id"])[0], 404, "artifacts of a failed job")
        assert not os.path.exists(os.path.join(self.state, "artifacts", found["id"])), "something was published"
        return found

    def artifact(self, job):
        """name -> bytes, by HTTP, digests checked against the manifest."""
        manifest = self.json("GET", "/jobs/%s/artifacts" % job)
        files = {}
        for entry in manifest["files"]:
            status, headers, data = self.request("GET", "/jobs/%s/artifacts/%s" % (job, entry["path"]))
            equal(status, 200, entry["path"])
            digest = hashlib.sha256(data).hexdigest()
            equal(digest, entry["sha256"], entry["path"])
            equal(headers["etag"], '"%s"' % digest, "ETag of " + entry["path"])
            files[entry["path"]] = data
        return files

    def refused(self, request, pointer, *parts, status=422):
        """POST answers a problem document that points at the field."""
        got, headers, data = self.request("POST", "/jobs", request)
        assert got == status, "%d instead of %d: %s" % (got, status, data)
        equal(headers["content-type"].split(";")[0], "application/problem+json")
        problem = json.loads(data)
        texts = [problem["detail"]] + [e["detail"] for e in problem.get("errors", [])]
        if pointer is not None:
            assert pointer in [e["pointer"] for e in problem["errors"]], problem
        for part in parts:
            assert any(part in text for text in texts), "%r is not in %r" % (part, problem)
        return problem


def quick_job(url, **fields):
    """A small but whole job on novella-1m."""
    job = {"model": url, "algorithm": "optq", "effort": "reference", "bits": 4, "group_size": 128,
           "calibration": {"samples": 8, "length": 128},
           "evaluation": {"length": 128, "windows": 8}}
    job.update(fields)
    return job


def read_safetensors(data):
    """bytes -> name -> (dtype, shape, bytes)."""
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    start = 8 + length
    return {name: (entry["dtype"], entry["shape"], data[start + entry["data_offsets"][0]:start + entry["data_offsets"][1]])
            for name, entry in header.items() if name != "__metadata__"}


def write_safetensors(path, tensors, header_text=None):
    """name -> (dtype, shape, bytes) in file order; header_text replaces the header as it is."""
    offset, header = 0, {"__metadata__": {"format": "pt"}}
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = (json.dumps(header) if header_text is None else header_text).encode()
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values()))


def shard_model(folder):
    """Turns a single-file model folder into three shards and an index."""
    path = os.path.join(folder, "model.safetensors")
    tensors = list(read_safetensors(open(path, "rb").read()).items())
    names = ["model-%05d-of-00003.safetensors" % (i + 1) for i in range(3)]
    index = {"metadata": {"total_size": sum(len(t[2]) for _, t in tensors)}, "weight_map": {}}
    for i, name in enumerate(names):
        part = dict(tensors[i::3])
        write_safetensors(os.path.join(folder, name), part)
        index["weight_map"].update({tensor: name for tensor in part})
    json.dump(index, open(path + ".index.json", "w"))
    os.remove(path)


def copy_model(root, name, source=MODEL):
    folder = os.path.join(root, name)
    shutil.copytree(source, folder)
    for base, _, files in os.walk(folder):
        os.chmod(base, 0o755)
        for file in files:
            os.chmod(os.path.join(base, file), 0o644)
    return folder
