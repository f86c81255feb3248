"""artifacts.py: artifacts of the tiny model, made by the real binary, as files in memory; and ways to change one and seal it again."""
import hashlib
import subprocess
import tempfile

from kit import *  # noqa: F401,F403
from kit import QUANTD, SLOW, environment, folder, json, os, put, shutil, struct, safetensors

MADE = {}


def read_folder(path):
    found = {}
    for base, _, files in os.walk(path):
        for name in files:
            full = os.path.join(base, name)
            with open(full, "rb") as file:
                found[os.path.relpath(full, path)] = file.read()
    return found


def artifact(format_name="compressed-tensors", flags=(), **fields):
    """Files of the artifact that this job gives; each made once."""
    key = json.dumps([format_name, fields, flags], sort_keys=True)
    if key not in MADE:
        root = tempfile.mkdtemp(prefix="quantd-hostile-")
        try:
            put(os.path.join(root, "m"), folder(model=fields.pop("model", None) or folder()["model.safetensors"]))
            put(root, {"text": b"abc ab a b c ab abc cab ab " * 200})
            job = dict({"model": "file:///m", "format": format_name, "algorithm": "rtn", "calibration": {"samples": 4, "length": 32},
                        "evaluation": {"length": 32, "windows": 2}}, **fields)
            put(root, {"job.json": json.dumps(job).encode()})
            text = os.path.join(root, "text")
            ran = subprocess.run([QUANTD, "run", os.path.join(root, "job.json"), "--model", os.path.join(root, "m"), "--out", os.path.join(root, "out"),
                                  "--calibration-text", text, "--evaluation-text", text, "--threads", "1"] + list(flags),
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment(), timeout=60 * SLOW)
            assert ran.returncode == 0, "%s: %s" % (key, ran.stdout.decode("utf-8", "replace"))
            MADE[key] = read_folder(os.path.join(root, "out"))
        finally:
            shutil.rmtree(root, ignore_errors=True)
    return dict(MADE[key])


def sealed(files, manifest=None):
    """The manifest lists what is there: sizes and digests of the lie itself. manifest: members changed. Provenance, which may be left out, is."""
    files = {name: content for name, content in files.items() if content is not None and name != "provenance.json"}
    made = json.loads(files["manifest.json"])
    roles = {entry["path"]: entry["role"] for entry in made["files"]}
    made["files"] = [{"path": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "role": roles.get(name, "side")}
                     for name, content in sorted(files.items()) if name != "manifest.json"]
    made.update(manifest or {})
    return dict(files, **{"manifest.json": json.dumps(made).encode()})


def tensors_of(content):
    """bytes -> name -> (dtype, shape, bytes), in the order of their places."""
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8:8 + length])
    header.pop("__metadata__", None)
    data = content[8 + length:]
    return {name: (e["dtype"], tuple(e["shape"]), data[e["data_offsets"][0]:e["data_offsets"][1]])
            for name, e in sorted(header.items(), key=lambda item: item[1]["data_offsets"])}


def with_tensors(files, **other):
    """Tensors replaced, or left out (None), in model.safetensors."""
    found = dict(tensors_of(files["model.safetensors"]), **other)
    return dict(files, **{"model.safetensors": safetensors({n: t for n, t in found.items() if t is not None}, {"format": "pt"})})


def with_json(files, name, change):
    """One JSON file changed by a function of its tree."""
    tree = json.loads(files[name])
    again = change(tree)
    return dict(files, **{name: json.dumps(tree if again is None else again).encode()})


def place(tree, path):
    for key in path[:-1]:
        tree = tree[key]
    return tree, path[-1]


def setting(path, value, drop=False):
    """A change that sets one place of a tree, or removes it."""
    def change(tree):
        where, key = place(tree, path)
        if drop:
            del where[key]
        else:
            where[key] = value
    return change
