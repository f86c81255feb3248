"""The example clients, run as a user runs them, against a real server: done, failed, refused, and with accidents on the way."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))
from harness import *  # noqa: E402,F403

EXAMPLES = os.path.join(SOURCE, "deploy", "examples")
ROOT = temporary_folder()
copy_model(ROOT, "good")
URL = "file://" + os.path.join(ROOT, "good")
SERVER = Server("--file-root", ROOT)


def request(**fields):
    path = os.path.join(temporary_folder(), "job.json")
    with open(path, "w") as out:
        json.dump(quick_job(URL, **fields), out)
    return path


def run(*command, want=0, environment=None):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300 * SLOW,
                          env=dict(os.environ, **(environment or {})))
    equal(done.returncode, want, "%s\n%s\n%s" % (" ".join(map(str, command)), done.stdout, done.stderr))
    return done


def holds(folder, job):
    for path, content in SERVER.artifact(job).items():
        with open(os.path.join(folder, path), "rb") as file:
            assert file.read() == content, path


def named(name):
    return SERVER.json("GET", "/jobs?name=" + name)["data"]


def submit_sh_brings_the_artifact_home_and_makes_one_job():
    job, folder = request(name="by-shell"), temporary_folder()
    for _ in range(2):
        done = run(os.path.join(EXAMPLES, "submit.sh"), SERVER.url, job, folder)
        assert done.stdout.endswith("succeeded\n"), done.stdout
    equal(len(named("by-shell")), 1)
    holds(folder, named("by-shell")[0]["id"])
    run(os.path.join(EXAMPLES, "submit.sh"), SERVER.url, job, folder, environment={"RUN": "2"})
    equal(len(named("by-shell")), 2, "another run is another job")


def submit_sh_says_what_went_wrong():
    script = os.path.join(EXAMPLES, "submit.sh")
    done = run(script, SERVER.url, request(bits=17), temporary_folder(), want=2)
    assert "bits: 17 is not in" in done.stderr, done.stderr
    done = run(script, SERVER.url, request(gate={"perplexity_ratio": 1.0000001}), temporary_folder(), want=1)
    assert done.stdout.endswith("quarantined\n") and "perplexity" in done.stderr, done
    run(script, SERVER.url, want=2)


def quantize_py_brings_the_artifact_home():
    job, folder = request(name="by-python"), temporary_folder()
    done = run(sys.executable, os.path.join(EXAMPLES, "quantize.py"), SERVER.url, job, folder)
    found = named("by-python")
    equal(json.loads(done.stdout.splitlines()[-1]), found[0]["result"])
    holds(folder, found[0]["id"])
    with open(os.path.join(folder, "model.safetensors"), "r+b") as file:
        file.write(b"spoilt")
    run(sys.executable, os.path.join(EXAMPLES, "quantize.py"), SERVER.url, job, folder)
    holds(folder, found[0]["id"])
    equal(len(named("by-python")), 1)


def quantize_py_ends_as_the_job_ends():
    script = os.path.join(EXAMPLES, "quantize.py")
    done = run(sys.executable, script, SERVER.url, request(gate={"perplexity_ratio": 1.0000001}), temporary_folder(), want=1)
    assert done.stderr.startswith("quarantined: ") and "perplexity" in done.stderr, done.stderr
    done = run(sys.executable, script, SERVER.url, request(bits=17), temporary_folder(), want=2)
    assert "bits: 17 is not in" in done.stderr, done.stderr


def quantize_py_outlives_a_kill_of_the_service():
    global SERVER
    folder = temporary_folder()
    client = subprocess.Popen([sys.executable, os.path.join(EXAMPLES, "quantize.py"), SERVER.url,
                               request(name="killed", calibration={"samples": 128, "length": 512}), folder], stdout=subprocess.PIPE, text=True)
    end = time.monotonic() + 120 * SLOW
    while not named("killed") or named("killed")[0]["state"] != "quantizing":
        assert time.monotonic() < end, named("killed")
        time.sleep(0.05)
    port = SERVER.port
    SERVER.kill()
    keeper = kept_port(port)
    SERVER = Server("--file-root", ROOT, "--listen", "127.0.0.1:%d" % port, state=SERVER.state)
    keeper.close()
    out, _ = client.communicate(timeout=300 * SLOW)
    equal(client.returncode, 0, out)
    found = named("killed")
    equal(len(found), 1)
    holds(folder, found[0]["id"])


def make_makes_it_once():
    folder = temporary_folder()
    words = ["make", "-f", os.path.join(EXAMPLES, "Makefile"), "SERVER=" + SERVER.url, "REQUEST=" + request(name="by-make"), "FOLDER=" + folder + "/out"]
    environment = {"PATH": os.path.dirname(sys.executable) + ":" + os.environ["PATH"], "MAKEFLAGS": "", "MAKELEVEL": ""}
    run(*words, environment=environment)
    assert "up to date" in run(*words, environment=environment).stdout
    found = named("by-make")
    equal(len(found), 1)
    equal(json.load(open(os.path.join(folder, "out", "result.json"))), found[0]["result"])
    holds(os.path.join(folder, "out"), found[0]["id"])


def the_request_of_the_examples_is_one():
    body = json.load(open(os.path.join(EXAMPLES, "job.json")))
    body["model"] = URL
    body["gate"] = {"perplexity_ratio": 9}
    equal(SERVER.request("POST", "/jobs", body)[0], 202)


run_claims([submit_sh_brings_the_artifact_home_and_makes_one_job, submit_sh_says_what_went_wrong, quantize_py_brings_the_artifact_home,
            quantize_py_ends_as_the_job_ends, quantize_py_outlives_a_kill_of_the_service, make_makes_it_once,
            the_request_of_the_examples_is_one])
