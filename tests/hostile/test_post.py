"""Hostile files as the model of a job: POST with a file:// source; the job fails by name, the service lives and publishes nothing."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "http")]
import gguf as g  # noqa: E402
import kit  # noqa: E402
from harness import *  # noqa: E402,F403
from kit import Repeat, config, folder, safetensors, tokenizer, weights  # noqa: E402

ROOT = temporary_folder()
kit.put(ROOT, {"text": b"abc ab a b c ab abc cab ab " * 400})
SERVER = Server("--file-root", ROOT, "--workers", "2", calibration=os.path.join(ROOT, "text"), evaluation=os.path.join(ROOT, "text"))


def job(name, **fields):
    return dict({"model": "file://" + os.path.join(ROOT, name), "algorithm": "rtn", "bits": 4, "group_size": 16, "calibration": {"samples": 2, "length": 16},
                 "evaluation": {"length": 16, "windows": 2}}, **fields)


def hostile(name, files, *parts):
    kit.put(os.path.join(ROOT, name), files)

    def claim():
        SERVER.fail(job(name), *parts)
    claim.__name__ = name.replace("-", "_") + "_fails_by_name"
    return claim


def a_sound_folder_succeeds():
    kit.put(os.path.join(ROOT, "sound"), folder())
    SERVER.succeed(job("sound"))


def a_sound_gguf_succeeds():
    kit.put(os.path.join(ROOT, "sound-gguf"), {"model.gguf": g.gguf()})
    SERVER.succeed(job("sound-gguf"))


def links_out_of_the_root_are_not_followed():
    kit.put(os.path.join(ROOT, "links"), folder(config=None))
    os.symlink("/etc/hostname", os.path.join(ROOT, "links", "config.json"))
    SERVER.fail(job("links"), "config.json")
    os.symlink("/", os.path.join(ROOT, "away"))
    status, _, data = SERVER.request("POST", "/jobs", job("away/etc"))
    if status == 202:
        found = SERVER.wait(json.loads(data)["id"])
        equal(found["state"], "failed", str(found["problem"]))
    else:
        equal(status, 422, data)


def a_fifo_keeps_no_worker_waiting():
    kit.put(os.path.join(ROOT, "fifo"), folder(model=None))
    os.mkfifo(os.path.join(ROOT, "fifo", "model.safetensors"))
    SERVER.fail(job("fifo"), "model.safetensors")


def numbers_of_no_grid_are_refused_for_every_format():
    for name in [f["name"] for f in SERVER.json("GET", "/catalog")["formats"]] + [["compressed-tensors", "gguf"]]:
        for field, value in (("bits", 64), ("bits", 0), ("bits", -1), ("bits", 1e9), ("group_size", 2**62), ("alphabet", "magic"), ("scale", {"type": "magic"}), ("alphabet", {"kind": "int", "zero": 7})):
            got = SERVER.request("POST", "/jobs", job("sound", format=name, **{field: value}))
            equal(got[0], 422, "%s %s %r: %s" % (name, field, value, got[2]))
            equal(SERVER.request("GET", "/livez")[0], 200, "livez")


run_claims([
    numbers_of_no_grid_are_refused_for_every_format,
    a_sound_folder_succeeds,
    a_sound_gguf_succeeds,
    hostile("no-config", folder(config=None), "config.json"),
    hostile("config-not-json", folder(config=b"{"), "config.json", "JSON"),
    hostile("config-huge", folder(config=config(hidden_size=2**62)), "config.json"),
    hostile("config-lies", folder(config=config(intermediate_size=4096)), "mlp"),
    hostile("header-lies", folder(model=safetensors(weights(), length=2**63)), "model.safetensors", "limit"),
    hostile("cut", folder(model=safetensors(weights())[:-1]), "model.safetensors"),
    hostile("nan", folder(model=safetensors(weights(**{"model.layers.0.mlp.up_proj.weight": kit.floats(kit.FFN, kit.HIDDEN, value=float("nan"))}))), "up_proj"),
    hostile("index-lies", dict(folder(model=None), **{"model.safetensors.index.json": b'{"weight_map":{"a":"../../x.safetensors"}}'}), "index.json"),
    hostile("index-huge", dict(folder(model=None), **{"model.safetensors.index.json": Repeat(b'{"metadata":[', b"[],", 9000000, b"[]]}")}), "index.json"),
    hostile("tokenizer-lies", folder(tokenizer=tokenizer(model={"merges": ["x y"]})), "tokenizer.json", "merges"),
    hostile("tokenizer-huge", folder(tokenizer=Repeat(b'{"model":[', b"[],", 20000000, b"[]]}")), "tokenizer.json"),
    hostile("gguf-magic", {"model.gguf": g.gguf(magic=b"GGUX")}, "model.gguf"),
    hostile("gguf-cut", {"model.gguf": g.gguf()[:-40]}, "model.gguf"),
    hostile("gguf-counts", {"model.gguf": g.gguf(tensor_count=2**63)}, "model.gguf", "tensors"),
    hostile("gguf-merges", {"model.gguf": g.gguf(keys=g.changed(**{"tokenizer.ggml.merges": g.value(g.ARRAY, g.array(g.STRING, ["x y"]))}))}, "merge"),
    links_out_of_the_root_are_not_followed,
    a_fifo_keeps_no_worker_waiting,
])
SERVER.stop()
