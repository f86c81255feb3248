"""compare.py: numpy for the tests of this folder: distributions compared, texts and windows to compare them on, a small model whose rows are wide.

Imported first: where this interpreter has no numpy, the distribution's own, which its numpy package serves, runs the test instead.
"""
import os
import random
import sys
import unicodedata

try:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import numpy as np
except ImportError:
    np = None
    system = "/usr/bin/python3"
    if os.access(system, os.X_OK) and "QUANTD_TEST_SYSTEM_PYTHON" not in os.environ:
        os.environ["QUANTD_TEST_SYSTEM_PYTHON"] = "1"
        os.execv(system, [system] + sys.argv)

from llama import *  # noqa: E402,F403

if np is not None:
    from gguf_file import BLOCKS, FILE_TYPES, TYPES, Gguf, gguf_name, interleaved, write_float_gguf  # noqa: E402,F401


def needs_numpy():
    if np is None:
        raise Skip("numpy is not installed")


# ---- distributions ----

def log_probabilities(raw, windows):
    logits = np.frombuffer(raw, "<f4").reshape(len(windows), len(windows[0]), -1).astype(float)
    logits = logits - logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def divergence(p, q):
    """Mean over tokens of KL(p || q), of log-probabilities."""
    assert p.shape == q.shape, (p.shape, q.shape)
    return float((np.exp(p) * (p - q)).sum(-1).mean())


# ---- what they are compared on ----

def held_out_windows(model, count, length, begin):
    """Windows of the held-out text, each after the token that begins a text."""
    lines = open(HELD_OUT, encoding="utf-8").read().splitlines(keepends=True)[40:40 + count * length // 8]
    ids = [i for found in our_tokenize(model, lines, special=False) for i in found]
    assert len(ids) >= count * (length - 1), len(ids)
    return [[begin] + ids[k * (length - 1):(k + 1) * (length - 1)] for k in range(count)]


def random_text(draw, length):
    """Assigned characters of many scripts: which class one that is not assigned yet belongs to, depends on the version of the tables."""
    ranges = [(0x20, 0x7e), (0xa0, 0x24f), (0x300, 0x36f), (0x370, 0x52f), (0x5d0, 0x6ff), (0x900, 0xd7f), (0xe01, 0xe5b), (0x1e00, 0x1fff),
              (0x2000, 0x2bff), (0x3000, 0x30ff), (0x4e00, 0x9fff), (0xac00, 0xd7a3), (0xfb00, 0xfdff), (0x1d400, 0x1d7ff), (0x1f300, 0x1faff)]
    text = ""
    while len(text) < length:
        one = chr(draw.randint(*draw.choice(ranges)))
        if unicodedata.category(one) not in ("Cn", "Cs", "Co"):
            text += one
    return text


def texts_to_tokenize(special):
    """200 texts: held-out lines, scripts, white space, digits, contractions and punctuation, the model's special tokens."""
    draw = random.Random(4)
    lines = [line for line in open(HELD_OUT, encoding="utf-8").read().splitlines() if line.strip()]
    texts = lines[:90] + [random_text(draw, draw.randint(1, 60)) for _ in range(50)]
    blanks = " \t\n\r\u00a0\u2003\u3000\u2028\x0b\x0c"
    texts += ["".join(draw.choice(blanks + "ab1.") for _ in range(draw.randint(1, 24))) for _ in range(20)]
    texts += ["".join(draw.choice("0123456789٣४½²,. -") for _ in range(draw.randint(1, 24))) for _ in range(20)]
    texts += ["".join(draw.choice(["'s", "'LL", "'ſ", "n't", "--", "...", "\n", " ", "I", "we", "(", "!?", "é", "e\u0301", "_"])
                      for _ in range(draw.randint(1, 12))) for _ in range(10)]
    texts += ["".join(draw.choice(special + [" ", "a", "\n", "<|", "|>"]) for _ in range(draw.randint(1, 8))) for _ in range(10)]
    assert len(texts) == 200
    return texts


# ---- models ----

def special_tokens(folder):
    with open(os.path.join(folder, "tokenizer.json"), encoding="utf-8") as file:
        return [token["content"] for token in json.load(file)["added_tokens"]]


def wide_model(folder, hidden=256, middle=512, layers=2, head=64):
    """A random model whose rows are whole blocks of 256, with the tokenizer of novella-1m: bf16, sharp enough that its words are not alike."""
    config = json.load(open(os.path.join(MODEL, "config.json")))
    config.update(hidden_size=hidden, intermediate_size=middle, num_hidden_layers=layers, num_attention_heads=hidden // head,
                  num_key_value_heads=hidden // head // 2, head_dim=head)
    os.makedirs(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copyfile(os.path.join(MODEL, name), os.path.join(folder, name))
    json.dump(config, open(os.path.join(folder, "config.json"), "w"))
    draw = np.random.default_rng(11)
    shapes = {"model.embed_tokens.weight": (config["vocab_size"], hidden), "model.norm.weight": (hidden,)}
    for i in range(layers):
        parts = {"input_layernorm": (hidden,), "post_attention_layernorm": (hidden,), "self_attn.q_proj": (hidden, hidden),
                 "self_attn.k_proj": (hidden // 2, hidden), "self_attn.v_proj": (hidden // 2, hidden), "self_attn.o_proj": (hidden, hidden),
                 "mlp.gate_proj": (middle, hidden), "mlp.up_proj": (middle, hidden), "mlp.down_proj": (hidden, middle)}
        shapes.update(("model.layers.%d.%s.weight" % (i, name), shape) for name, shape in parts.items())
    tensors = {}
    for name, shape in shapes.items():
        values = draw.normal(size=shape) * (0.2 if "embed" in name else shape[-1] ** -0.5) if len(shape) > 1 else 1 + 0.2 * draw.normal(size=shape)
        raw = (values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
        tensors[name] = ("BF16", list(shape), raw)
    write_safetensors(os.path.join(folder, "model.safetensors"), tensors)
    return folder
