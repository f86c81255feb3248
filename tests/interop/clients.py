"""clients.py: a virtual environment in the build folder with programs that others use beside what quantd sends: botocore, standardwebhooks, moto.

What cannot be installed is skipped with the reason. Standard library only.
"""
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys

from llama import CACHE, HERE, said

from harness import Skip

VENV = os.path.join(CACHE, "venv-clients")
PYTHON = os.path.join(VENV, "bin", "python")
LISTED = os.path.join(HERE, "requirements-clients.txt")


def make_venv():
    shutil.rmtree(VENV, ignore_errors=True)
    said(["/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable, "-m", "venv", VENV])
    said([PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", LISTED], timeout=600)


def prepare():
    """Why it is not there, or "". What failed is not tried again before `make distclean`."""
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, "lock-clients"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        digest = hashlib.sha256(open(LISTED, "rb").read()).hexdigest()
        mark = os.path.join(CACHE, "clients.made")
        before = open(mark).read() if os.path.exists(mark) else ""
        if not before.startswith(digest):
            before = digest
            try:
                make_venv()
            except (AssertionError, OSError, subprocess.SubprocessError) as failed:
                before += "cannot be installed: " + " ".join(str(failed).split())[-400:]
            with open(mark, "w") as out:
                out.write(before)
        return before[len(digest):]


def enter():
    """Runs this test again in the environment. Where nothing can be installed: Skip."""
    if os.environ.get("QUANTD_TEST_CLIENTS"):
        return
    missing = prepare()
    if missing:
        raise Skip(missing)
    os.execve(PYTHON, [PYTHON] + sys.argv, dict(os.environ, QUANTD_TEST_CLIENTS="1"))
