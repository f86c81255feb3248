"""Schemathesis, from PyPI, reads the contract that the server hands out and asks what no test of ours thought of.

Every answer must be declared: its status, its type, its headers, and a body that fits the schema; none may be of 500 or above (but for a dry run
whose model's host is not there: 502); methods that the contract does not name are refused. (Its two other checks, that whatever fits a schema is
taken and whatever does not is refused, cannot hold: a schema does not know hosts, files, or fields that disagree, and an empty parameter counts as
absent here.) Hundreds of requests; with QUANTD_LONG_TESTS more than 5,000. Installed once into a virtual environment of the build folder; where
that cannot be done the reason is shown.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from llama import *  # noqa: E402,F403

WANTED = "schemathesis==4.32.5"
VENV = os.path.join(CACHE, "schemathesis")
PROGRAM = os.path.join(VENV, "bin", "st")
CHECKS = "status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,unsupported_method"
ROOT = temporary_folder()
copy_model(ROOT, "good")
URL = "file://" + os.path.join(ROOT, "good")
ASKED = []


def install():
    """Once a version; what failed is not tried again before `make distclean`."""
    mark = VENV + ".made"
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, "lock-schemathesis"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = open(mark).read() if os.path.exists(mark) else ""
        if not before.startswith(WANTED + "\n"):
            before = WANTED + "\n"
            try:
                shutil.rmtree(VENV, ignore_errors=True)
                said([sys.executable, "-m", "venv", VENV])
                said([os.path.join(VENV, "bin", "pip"), "install", "-q", "--disable-pip-version-check", WANTED], timeout=600)
            except (AssertionError, OSError, subprocess.SubprocessError) as failed:
                before += "cannot be installed: " + " ".join(str(failed).split())[-300:]
            open(mark, "w").write(before)
    reason = before.partition("\n")[2]
    if reason:
        raise Skip(reason)


def ask(server, examples, *words, parameters=()):
    """Runs it; its findings are the failure. The number of requests that the server saw is kept."""
    install()
    settings = os.path.join(temporary_folder(), "schemathesis.toml")
    with open(settings, "w") as out:
        out.write("[parameters]\n" + "".join('"%s" = "%s"\n' % pair for pair in parameters) if parameters else "")
    command = [PROGRAM, "--config-file", settings, "run", server.url + "/openapi.json", "--checks", CHECKS, "--max-examples", str(examples),
               "--seed", "1", "--no-color", "--workers", "1", "--suppress-health-check", "all"] + list(words)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=3000, cwd=os.path.dirname(settings))
    text = done.stdout.decode(errors="replace")
    found = text.partition("FAILURES")[2] or text.partition("ERRORS")[2] or text
    assert done.returncode == 0, found[:6000]
    requests = [line for line in open(server.log_path, errors="replace") if " http.request " in line]
    # A dry run asks the model's host, and 502 says that there is none: the only failure that is not ours.
    broken = [line for line in requests if re.search(r" status=5\d\d", line) and not re.search(r" method=POST path=/jobs status=502", line)]
    assert not broken, broken[:5]
    ASKED.append(len(requests))
    equal(server.request("GET", "/livez")[0], 200)
    equal(server.stop(), 0, "and it stops cleanly")


def phases():
    return ["--phases", "examples,coverage,fuzzing" if LONG else "examples,fuzzing"]


def whatever_is_asked_the_answer_is_in_the_contract():
    server = Server("--file-root", ROOT, "--queue-limit", "20", "--auth", "none")
    server.succeed(quick_job(URL, tags={"team": "a"}))
    ask(server, 40 if LONG else 6, *phases())


def a_job_that_is_there_answers_as_the_contract_says():
    server = Server("--file-root", ROOT, "--queue-limit", "20", "--auth", "none")
    job = server.succeed(quick_job(URL, tags={"team": "a"}))["id"]
    ask(server, 25 if LONG else 5, "--include-path-regex", r"\{id\}", "--include-method", "GET", "--include-method", "PATCH", *phases(),
        parameters=[("path.id", job), ("path.path", "config.json")])


def who_shows_no_key_is_answered_as_the_contract_says():
    ask(Server("--file-root", ROOT, "--auth", "keys"), 5 if LONG else 1, *phases())


def enough_was_asked():
    if not ASKED:
        raise Skip("nothing was asked")
    assert sum(ASKED) >= (5000 if LONG else 300), ASKED
    print("# %d requests" % sum(ASKED), flush=True)


run_claims([whatever_is_asked_the_answer_is_in_the_contract, a_job_that_is_there_answers_as_the_contract_says,
            who_shows_no_key_is_answered_as_the_contract_says, enough_was_asked])
