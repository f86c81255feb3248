"""readers.py: a virtual environment in the build folder with the Python packages that read artifacts.

First the small readers; then torch, compressed-tensors and transformers. The torch of PyPI for Linux on x86-64 is built for CUDA and asks for
gigabytes of NVIDIA libraries, of which a CPU needs no code: only the wheel is installed (540 MB), and empty stand-ins of the libraries, made here
from the symbols it names, let it load. A stand-in's functions answer 100, "no device", so that torch finds no GPU.

What cannot be installed is skipped with the reason. QUANTD_NO_TORCH leaves the second part out. Standard library only.
"""
import fcntl
import glob
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys

from llama import CACHE, HERE, said

from harness import Skip

VENV = os.path.join(CACHE, "venv")
PYTHON = os.path.join(VENV, "bin", "python")
STANDINS = os.path.join(CACHE, "standins")
TORCH = "torch==2.15.0"
LISTED = os.path.join(HERE, "requirements.txt")


def requirements():
    """(small readers, readers that need torch)"""
    parts = open(LISTED).read().split("# with torch")
    return [[line for line in part.splitlines() if line and not line.startswith("#")] for part in parts]


def pip(*words):
    said([PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check"] + list(words), timeout=600)


# ---- torch without CUDA's libraries ----

def symbols_of(libraries):
    """(sonames they need, {version: symbols they leave undefined}, {version: the soname it belongs to})"""
    needed, undefined, owner = set(), {}, {}
    for path in libraries:
        needed |= set(re.findall(r"\(NEEDED\).*\[(.*)\]", said(["readelf", "-dW", path]).decode()))
        for name, version in re.findall(r" [Uw] ([^@\s]+)(?:@(\S+))?", said(["nm", "-D", "--undefined-only", path]).decode()):
            undefined.setdefault(version, set()).add(name)
        soname = None
        for file, version in re.findall(r"File: (\S+)|Name: (\S+)  Flags", said(["readelf", "-VW", path]).decode()):
            soname = file or soname
            if version:
                owner.setdefault(version, soname)
    return needed, undefined, owner


def make_standins(folder):
    libraries = glob.glob(os.path.join(folder, "*.so*"))
    needed, undefined, owner = symbols_of(libraries)
    known = said(["/sbin/ldconfig", "-p"]).decode().split()
    missing = sorted(needed - {os.path.basename(path) for path in libraries} - set(known))
    unversioned = {name for name in undefined.get("", ()) if name.startswith(("cu", "nccl", "nv"))}
    os.makedirs(STANDINS, exist_ok=True)
    for number, soname in enumerate(missing):
        versions = [version for version in undefined if owner.get(version) == soname]
        names = set().union(*(undefined[version] for version in versions)) | (unversioned if number == 0 else set())
        source, script = os.path.join(STANDINS, "standin.c"), os.path.join(STANDINS, "standin.map")
        with open(source, "w") as out:
            out.write("".join("int %s(void) { return 100; }\n" % name for name in sorted(names)) or "typedef int nothing;\n")
        with open(script, "w") as out:
            out.write("".join("%s { %s; };\n" % (version, "; ".join(sorted(undefined[version]))) for version in versions))
        said(["cc", "-shared", "-fPIC", "-w", "-Wl,-soname," + soname, source, "-o", os.path.join(STANDINS, soname)] +
             (["-Wl,--version-script," + script] if versions else []))


def install_torch():
    pip("--no-deps", TORCH)
    packages, = glob.glob(os.path.join(VENV, "lib", "python3*", "site-packages"))
    told, = glob.glob(os.path.join(packages, "torch-*.dist-info", "METADATA"))
    kept = [line for line in open(told, encoding="utf-8") if not re.match(r"Requires-Dist: (cuda|nvidia|triton)", line)]
    open(told, "w", encoding="utf-8").writelines(kept)
    make_standins(os.path.join(packages, "torch", "lib"))
    pip(*requirements()[1])
    said([PYTHON, "-c", "import torch, transformers, compressed_tensors; assert not torch.cuda.is_available()"], env=environment(), timeout=300)


# ---- the environment ----

def make_venv():
    shutil.rmtree(VENV, ignore_errors=True)
    said(["/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable, "-m", "venv", VENV])
    pip(*requirements()[0])


def environment():
    return dict(os.environ, LD_LIBRARY_PATH=STANDINS, QUANTD_TEST_READERS="1", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", OMP_NUM_THREADS="1")


def once(step, name):
    """Runs a step that the folder has not seen in its present form; a step that failed is not tried again before `make distclean`."""
    digest = hashlib.sha256(open(LISTED, "rb").read() + TORCH.encode()).hexdigest()
    mark = os.path.join(CACHE, name + ".made")
    before = open(mark).read() if os.path.exists(mark) else ""
    if not before.startswith(digest):
        before = digest
        try:
            step()
        except (AssertionError, OSError, ValueError, subprocess.SubprocessError) as failed:
            before += "cannot be installed: " + " ".join(str(failed).split())[-400:]
        open(mark, "w").write(before)
    return before[len(digest):]


def prepare():
    """(python, why the small readers are not there or "", the same of those with torch)"""
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, "lock-venv"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        small = once(make_venv, "venv")
        if small:
            return PYTHON, small, small
        if os.environ.get("QUANTD_NO_TORCH"):
            return PYTHON, "", "QUANTD_NO_TORCH is set"
        if platform.system() != "Linux" or platform.machine() != "x86_64":
            return PYTHON, "", "tried with the torch for Linux on x86-64 only"
        return PYTHON, "", once(install_torch, "torch")


def enter():
    """Runs this test again in the environment; there: a reason why torch is missing, or "". Where nothing can be installed: Skip."""
    if os.environ.get("QUANTD_TEST_READERS"):
        return os.environ.get("QUANTD_TEST_NO_TORCH", "")
    python, small, torch = prepare()
    if small:
        raise Skip(small)
    os.execve(python, [python] + sys.argv, dict(environment(), QUANTD_TEST_NO_TORCH=torch))
