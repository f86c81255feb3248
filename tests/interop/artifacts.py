"""artifacts.py: one quick run of quantd and its containers: the one a test is about, and the same weights in float32."""
from llama import *  # noqa: F403

QUICK = {"effort": "reference", "algorithm": "optq", "calibration": {"samples": 4, "length": 64}, "evaluation": {"length": 64, "windows": 2}}
FLOATS = "safetensors:f32"


def run_quantd(model, job):
    folder = temporary_folder()
    json.dump(dict(QUICK, model="file:///unused", **job), open(os.path.join(folder, "job.json"), "w"))
    out = os.path.join(folder, "out")
    said([QUANTD, "run", os.path.join(folder, "job.json"), "--out", out, "--model", model, "--calibration-text", CALIBRATION,
          "--evaluation-text", HELD_OUT, "--threads", "1"], timeout=600 * SLOW)
    return out


def containers(model, name, **fields):
    """(folder of the container `name`, folder of the weights in float32), of one run."""
    out = run_quantd(model, dict(fields, format=[name, FLOATS]))
    return tuple(os.path.join(out, one.replace(":", "-")) for one in (name, FLOATS))
