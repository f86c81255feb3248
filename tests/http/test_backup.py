"""Backup beside a running service, restore, and kills in the middle of both."""
import os
import random
import sqlite3
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: E402,F403

ROOT = temporary_folder()
copy_model(ROOT, "novella-1m")
MODELS = ModelServer(ROOT)
TINY = dict(quick_job(MODELS.model("novella-1m")), algorithm="rtn", evaluation={"length": 128, "windows": 2})
KILLS = int(os.environ.get("QUANTD_TEST_KILLS", "20"))
STATE = {}


def quantd(*words, want=0):
    done = subprocess.run([QUANTD] + list(words), capture_output=True, text=True)
    assert done.returncode == want, "quantd %s: exit %d: %s" % (" ".join(words), done.returncode, done.stderr)
    return done.stdout + done.stderr


def fresh(name):
    return os.path.join(temporary_folder(), name)


def insert_jobs(path, count):
    """Finished jobs as rows, so that the database is not small."""
    database = sqlite3.connect(path)
    database.executemany("INSERT INTO job (id, state, tags, request, recipe, resolved, created_ms, finished_ms) "
                         "VALUES (?, 'failed', '{}', ?, '{}', '{}', 1, 2)",
                         [("%026d" % i, json.dumps({"filler": "x" * 500})) for i in range(count)])
    database.commit()
    database.close()


def a_backup_is_of_one_moment_while_the_service_works():
    server = Server()
    STATE["jobs"] = [server.succeed(dict(TINY, name=str(i)))["id"] for i in range(2)]
    STATE["files"] = {job: server.artifact(job) for job in STATE["jobs"]}
    insert_jobs(os.path.join(server.state, "quantd.db"), 2000)
    stop, submitted = threading.Event(), []

    def submit():
        while not stop.is_set():
            submitted.append(server.submit(dict(TINY, model="http://127.0.0.1:1/x/")))

    thread = threading.Thread(target=submit)
    thread.start()
    STATE["backup"] = fresh("backup")
    before = list(submitted)
    said = quantd("backup", "--state", server.state, "--to", STATE["backup"], "--artifacts")
    stop.set()
    thread.join()
    assert re.match(r"backed up: \d+ jobs, 2 artifacts", said), said
    database = sqlite3.connect("file:%s/quantd.db?mode=ro" % STATE["backup"], uri=True)
    equal(database.execute("PRAGMA integrity_check").fetchone()[0], "ok")
    found = {row[0] for row in database.execute("SELECT id FROM job")}
    assert set(before) <= found, "what was acknowledged before the backup began is in it"
    # Ids grow with time: a moment cuts their row in two.
    inside = [job in found for job in submitted]
    equal(inside, sorted(inside, reverse=True))
    equal(sorted(os.listdir(STATE["backup"])), ["artifacts", "quantd.db"])
    equal(os.stat(os.path.join(STATE["backup"], "quantd.db")).st_mode & 0o777, 0o600)
    assert "exists already" in quantd("backup", "--state", server.state, "--to", STATE["backup"], want=1)
    equal(server.request("GET", "/readyz")[0], 200)
    equal(server.stop(), 0)
    STATE["state"] = server.state


def a_restored_service_serves_what_was_backed_up():
    state = fresh("state")
    said = quantd("restore", "--from", STATE["backup"], "--state", state)
    assert re.match(r"restored: \d+ jobs, 2 artifacts", said) and "absent" not in said, said
    server = Server(state=state)
    for job in STATE["jobs"]:
        equal(server.artifact(job), STATE["files"][job])
        equal(server.json("GET", "/jobs/" + job)["state"], "succeeded")
    server.succeed(TINY)
    assert "another quantd uses" in quantd("restore", "--from", STATE["backup"], "--state", state, want=1)
    equal(server.stop(), 0)
    assert "empty folder" in quantd("restore", "--from", STATE["backup"], "--state", state, want=1)


def an_artifact_that_is_absent_or_damaged_is_named():
    backup = fresh("backup")
    shutil.copytree(STATE["backup"], backup)
    first, second = STATE["jobs"]
    shutil.rmtree(os.path.join(backup, "artifacts", first))
    path = os.path.join(backup, "artifacts", second, "model.safetensors")
    data = bytearray(open(path, "rb").read())
    data[-1] ^= 1
    os.chmod(path, 0o644)
    open(path, "wb").write(data)
    state = fresh("state")
    said = quantd("restore", "--from", backup, "--state", state)
    for job in (first, second):
        assert "absent: the artifact of job " + job in said, said
    assert " 0 artifacts" in said, said
    server = Server(state=state)
    for job in (first, second):
        equal(server.request("GET", "/jobs/%s/artifacts" % job)[0], 410)
        assert server.json("GET", "/jobs/" + job)["result"]
    equal(server.stop(), 0)


def the_database_alone_is_enough_and_a_newer_one_is_refused():
    backup = fresh("backup")
    said = quantd("backup", "--state", STATE["state"], "--to", backup)
    equal(os.listdir(backup), ["quantd.db"])
    database = os.path.join(backup, "quantd.db")
    said = quantd("restore", "--from", database, "--state", fresh("state"))
    equal(said.count("absent:"), 2)
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA user_version = 900")
    connection.commit()
    connection.close()
    state = fresh("state")
    assert "version 900" in quantd("restore", "--from", database, "--state", state, want=1)
    assert "no backup" in quantd("restore", "--from", fresh("nothing"), "--state", state, want=1)
    open(database, "w").write("this is no database, whatever its name says, and it is longer than a header" * 20)
    quantd("restore", "--from", database, "--state", state, want=1)
    quantd("restore", "--from", STATE["backup"], "--state", state)
    quantd("backup", "--to", fresh("x"), want=2)
    quantd("restore", "--state", fresh("x"), want=2)


def kills_in_the_middle_leave_nothing_that_passes_for_whole():
    rng = random.Random(20261125)
    state = fresh("state")
    shutil.copytree(STATE["state"], state)
    insert = sqlite3.connect(os.path.join(state, "quantd.db"))
    insert.executemany("INSERT INTO job (id, state, tags, request, recipe, resolved, created_ms, finished_ms) "
                       "VALUES (?, 'failed', '{}', ?, '{}', '{}', 1, 2)",
                       [("%026d" % i, json.dumps({"filler": "y" * 3000})) for i in range(5000, 9000)])
    insert.commit()
    insert.close()
    started = time.monotonic()
    quantd("backup", "--state", state, "--to", fresh("backup"), "--artifacts")
    seconds = time.monotonic() - started
    started = time.monotonic()
    quantd("restore", "--from", STATE["backup"], "--state", fresh("state"))
    restoring = time.monotonic() - started
    whole = {"backup": 0, "restore": 0}
    folder = temporary_folder()
    target = os.path.join(folder, "state")
    for turn in range(KILLS):
        to = os.path.join(folder, "backup-%d" % turn)
        child = subprocess.Popen([QUANTD, "backup", "--state", state, "--to", to, "--artifacts"], stdout=subprocess.DEVNULL)
        time.sleep(rng.uniform(0, seconds * 1.2))
        child.kill()
        child.wait()
        if os.path.exists(to):
            whole["backup"] += 1
            connection = sqlite3.connect("file:%s/quantd.db?mode=ro" % to, uri=True)
            equal(connection.execute("PRAGMA integrity_check").fetchone()[0], "ok")
            equal(sorted(os.listdir(os.path.join(to, "artifacts"))), sorted(STATE["jobs"]))
        child = subprocess.Popen([QUANTD, "restore", "--from", STATE["backup"], "--state", target], stdout=subprocess.DEVNULL)
        time.sleep(rng.uniform(0, restoring * 1.2))
        child.kill()
        child.wait()
        if os.path.exists(os.path.join(target, "quantd.db")):
            whole["restore"] += 1
            equal(sorted(os.listdir(os.path.join(target, "artifacts"))), sorted(STATE["jobs"]))
            shutil.rmtree(target)
        elif os.path.exists(os.path.join(target, "restoring")):
            done = subprocess.run([QUANTD, "serve", "--listen", "127.0.0.1:0", "--state", target], capture_output=True, timeout=30)
            assert done.returncode != 0 and b"restore was broken off" in done.stderr, done.stderr
    quantd("restore", "--from", STATE["backup"], "--state", target)
    server = Server(state=target)
    for job in STATE["jobs"]:
        equal(server.artifact(job), STATE["files"][job])
    equal(server.stop(), 0)
    print("# %d kills each; %d backups and %d restores were whole by then" % (KILLS, whole["backup"], whole["restore"]))


run_claims([a_backup_is_of_one_moment_while_the_service_works, a_restored_service_serves_what_was_backed_up,
            an_artifact_that_is_absent_or_damaged_is_named, the_database_alone_is_enough_and_a_newer_one_is_refused,
            kills_in_the_middle_leave_nothing_that_passes_for_whole])
