"""transformers runs what quantd writes of every fixture architecture, and computes our logits of it.

compressed-tensors at 4 bits; where transformers knows no such layers (Conv1D of GPT-2), dequantized. Experts it decompresses while loading, in the type
of their scales, bfloat16. Runs in the virtual environment of readers.py; skipped with the reason where that cannot be installed.
"""
import os
import random
import string
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from llama import *  # noqa: E402,F403
import readers  # noqa: E402

FOLDERS = os.path.join(os.path.dirname(HERE), "core", "model", "architectures")
NO_TORCH = ""
JOB = {"model": "file:///unused", "algorithm": "optq", "effort": "reference", "bits": 4, "group_size": 8,
       "calibration": {"samples": 40, "length": 12, "bos": False}}


def make_model(name, folder):
    """The fixture with a tokenizer of single letters."""
    shutil.copytree(os.path.join(FOLDERS, name), folder, ignore=shutil.ignore_patterns("reference.*"))
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {"type": "BPE", "merges": [], "vocab": {letter: i for i, letter in enumerate(string.ascii_letters)}}
    with open(os.path.join(folder, "tokenizer.json"), "w") as out:
        json.dump({"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": byte_level, "post_processor": None,
                   "decoder": byte_level, "model": model}, out)


def quantized(name, container):
    folder = temporary_folder()
    model, job, text, out = (os.path.join(folder, part) for part in ("model", "job.json", "text.txt", "out"))
    make_model(name, model)
    with open(text, "w") as file:
        file.write("".join(random.Random(1).choices(string.ascii_letters, k=480)))
    with open(job, "w") as file:
        json.dump(dict(JOB, format=container), file)
    said([QUANTD, "run", job, "--out", out, "--model", model, "--calibration-text", text, "--threads", "1"], timeout=60 * SLOW)
    return out


def their_logits(folder, window):
    import torch
    import transformers
    torch.cuda.is_current_stream_capturing = lambda: False  # the stand-ins of CUDA's libraries know of no streams
    name, = json.load(open(os.path.join(folder, "config.json")))["architectures"]
    model, told = getattr(transformers, name).from_pretrained(folder, attn_implementation="eager", dtype=torch.float32, output_loading_info=True)
    assert not any(told[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), told
    with torch.no_grad():
        return model.eval()(input_ids=torch.tensor([window])).logits[0].float().numpy()


def architecture(name):
    def claim():
        if NO_TORCH:
            raise Skip(NO_TORCH)
        import numpy as np
        folder = quantized(name, "safetensors:f32" if name.startswith("gpt2") else "compressed-tensors")
        window = random.Random(2).choices(range(52), k=12)
        theirs = their_logits(folder, window)
        ours = np.frombuffer(our_logits(folder, [window]), "<f4").reshape(theirs.shape)
        apart = float(np.abs(theirs - ours).max() / np.abs(ours).max())
        print("# %s: logits differ by at most %.1e of the largest" % (name, apart))
        experts = name.startswith("mixtral") or "_moe" in name
        assert apart <= (2e-2 if experts else 1e-5), apart
    claim.__name__ = "transformers computes our logits of %s" % name
    return claim


try:
    if SLOW > 1:
        raise Skip("a sanitizer build: the plain suite runs this")
    NO_TORCH = readers.enter()
except Skip as reason:
    print("1..0 # SKIP %s" % reason)
    sys.exit(0)
run_claims([architecture(name) for name in sorted(os.listdir(FOLDERS))])
