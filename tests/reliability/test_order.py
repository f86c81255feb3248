"""What must be on the disk before the row that says so is committed: seen in the system calls of a real service and its run. This is what the
promise about power cuts rests on: kill -9 leaves the page cache alive and shows nothing of it."""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from kit import *  # noqa: E402,F403

ROOT = temporary_folder()
CALLS = "write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,syncfs,accept4,sendto,sendmsg,writev"
LINE = re.compile(r"^(\d+)\s+(\d+\.\d+) (\w+)\((.*)\)\s+= (-?\d+)")
PATHS = re.compile(r'"([^"]*)"')
FD_PATH = re.compile(r"^\d+<([^>]*)>")
STATE = {}


def traced(command, log):
    return ["strace", "-f", "-y", "-ttt", "-e", "trace=" + CALLS, "-s", "0", "-o", log] + command


class Call:
    """One finished system call: its thread, its name, the file it was about, and where a rename went."""

    def __init__(self, thread, name, arguments, result):
        self.thread, self.name, self.result = thread, name, int(result)
        paths, fd = PATHS.findall(arguments), FD_PATH.match(arguments)
        self.path = fd.group(1) if fd else paths[0] if paths else ""
        self.target = paths[-1] if name.startswith("rename") and paths else None


def join(lines):
    """strace cuts a call in two when another thread comes in between: by the thread's id it is made whole, where it ended."""
    begun, whole = {}, []
    for line in lines:
        thread = line.split(" ", 1)[0]
        if line.endswith("<unfinished ...>"):
            begun[thread] = line[:-len("<unfinished ...>")].rstrip()
        elif " resumed>" in line and thread in begun:
            whole.append(begun.pop(thread) + line.split(" resumed>", 1)[1])
        else:
            whole.append(line)
    return whole


def calls(log):
    found = []
    for line in join(open(log, errors="replace").read().splitlines()):
        match = LINE.match(re.sub(r"\s+", " ", line))
        if match and int(match.group(5)) >= 0:
            found.append(Call(match.group(1), match.group(3), match.group(4), match.group(5)))
    return found


def record():
    """A service under strace brings one job to its end."""
    if "calls" in STATE:
        return STATE["calls"]
    if shutil.which("strace") is None or subprocess.run(["strace", "-o", "/dev/null", "true"]).returncode != 0:
        raise Skip("strace is not there, or may not trace")
    one_block_model(ROOT, "block")
    models = ModelServer(ROOT)
    log = os.path.join(temporary_folder(), "strace.log")
    state = os.path.join(temporary_folder(), "state")
    os.makedirs(state)
    STATE["state"] = os.path.realpath(state)
    command = traced([QUANTD, "serve", "--listen", "127.0.0.1:0", "--state", state, "--allow-http", "--allow-net", "127.0.0.0/8",
                      "--disk-floor", "0", "--calibration-text", CALIBRATION, "--evaluation-text", HELD_OUT,
                      "--workers", "1", "--threads", "1"], log)
    options = ":".join(o for o in (os.environ.get("ASAN_OPTIONS"), "detect_leaks=0") if o)  # leaks are not found below a tracer
    service = Process(command, os.path.join(state, "serve.log"), dict(os.environ, ASAN_OPTIONS=options))
    client = Server.__new__(Server)
    client.host, client.port, client.state = service.host, service.port, state
    found = client.succeed(small_job(models.model("block")))
    STATE["job"] = found["id"]
    tracer = service.process.pid
    for name in os.listdir("/proc"):  # the service is the tracer's child
        if name.isdigit() and parent_of(name) == tracer:
            os.kill(int(name), signal.SIGTERM)
    service.process.wait(60 * SLOW)
    service.kill()
    STATE["calls"] = calls(log)
    assert len(STATE["calls"]) > 100, "strace told next to nothing"
    return STATE["calls"]


def parent_of(pid):
    try:
        return int(open("/proc/%s/stat" % pid).read().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


def position(found, start, want):
    for i in range(start, len(found)):
        if want(found[i]):
            return i
    return None


def is_database(call):
    return call.path.startswith(os.path.join(STATE["state"], "quantd.db"))


def ends_on_disk(found, at, why):
    """The rename at `at`: what was written under the old name was synced before it, the folder is synced after it. Returns where that was."""
    rename = found[at]
    synced = [i for i in range(at) if found[i].name in ("fsync", "fdatasync") and found[i].path == rename.path]
    written = [i for i in range(at) if found[i].name in ("write", "pwrite64") and found[i].path == rename.path]
    assert synced, "%s: '%s' was renamed without having been synced" % (why, rename.path)
    assert not written or written[-1] < synced[-1], "%s: '%s' was written to after its last sync" % (why, rename.path)
    folder = os.path.dirname(rename.target)
    after = position(found, at + 1, lambda c: c.name == "fsync" and c.path == folder)
    assert after is not None, "%s: the folder '%s' was not synced after the rename" % (why, folder)
    return after


def renames(found, part, end=""):
    return [i for i, c in enumerate(found) if c.target and part in c.target and c.target.endswith(end)]


def every_file_is_written_synced_renamed_and_its_folder_synced():
    found = record()
    seen = {"/layers/": 0, "/blobs/": 0, "/index/": 0, "/job.json": 0, "/manifest.json": 0}
    for at in [i for i, c in enumerate(found) if c.target and c.target.startswith(STATE["state"])]:
        for part in seen:
            seen[part] += part in found[at].target
        if os.path.basename(os.path.dirname(found[at].target)) not in ("artifacts", "snapshots"):
            if "/shard-" not in found[at].path:  # a file that was renamed once before, and synced then
                ends_on_disk(found, at, "file")
    assert all(seen.values()), seen
    equal(seen["/layers/"], LAYERS, "checkpoints")


def a_checkpoint_is_on_disk_before_its_row():
    """A run reports a layer after its checkpoint; the service commits the row after the report. A heartbeat, from a thread of its own, is no report."""
    found = record()
    for at in renames(found, "/layers/"):
        def reported(call, thread=found[at].thread):
            return call.thread == thread and call.name == "write" and call.path.startswith("pipe:")
        synced = ends_on_disk(found, at, "checkpoint")
        told = position(found, synced, reported)
        assert told is not None, "nothing was reported after '%s'" % found[at].target
        assert position(found, told, lambda c: c.name == "fdatasync" and is_database(c)) is not None, "no commit after the report"
        early = position(found, at, reported)
        assert early >= synced, "'%s' was reported before it was on the disk" % found[at].target


def the_artifact_is_on_disk_before_the_job_has_succeeded():
    found = record()
    at = [i for i in renames(found, "/artifacts/") if found[i].target.endswith(STATE["job"])][-1]
    whole = position(found, 0, lambda c: c.name == "syncfs")
    assert whole is not None and whole < at, "the artifact's files were not synced before it was shown"
    folder = position(found, at, lambda c: c.name == "fsync" and c.path.endswith("/artifacts"))
    assert folder is not None, "the folder of artifacts was not synced"
    commit = position(found, at, lambda c: c.name in ("write", "pwrite64") and is_database(c))
    assert commit is not None and commit > folder, "the row was written before the artifact was on the disk"
    assert position(found, commit, lambda c: c.name == "fdatasync" and is_database(c)) is not None, "the row was not synced"


def a_job_is_on_disk_before_it_is_acknowledged():
    """The first request of all is the POST: between its connection and the first bytes of its answer the log is written and synced."""
    found = record()
    accepted = position(found, 0, lambda c: c.name == "accept4")
    answered = position(found, accepted, lambda c: c.name in ("sendto", "sendmsg", "writev", "write") and "socket:" in c.path)
    assert answered is not None, "no answer was seen"
    log = [(i, found[i].name) for i in range(accepted, answered) if found[i].path.endswith("quantd.db-wal")]
    written = [i for i, name in log if name == "pwrite64"]
    synced = [i for i, name in log if name == "fdatasync"]
    assert written and synced and written[0] < synced[-1], "the answer left before the row was on the disk: %s" % log


run_claims([every_file_is_written_synced_renamed_and_its_folder_synced, a_checkpoint_is_on_disk_before_its_row,
            the_artifact_is_on_disk_before_the_job_has_succeeded, a_job_is_on_disk_before_it_is_acknowledged])
