"""decoder.py: a Llama decoder in float64 by numpy, from its folder: the second way to everything quantd's forward pass computes.

Source: the published architecture. Imported by the tests of this folder and by bench_quality.py, after they have made sure of numpy.
"""
import json
import os
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http"))
from harness import read_safetensors  # noqa: E402


def tensors_of(folder):
    found = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".safetensors"):
            found.update(read_safetensors(open(os.path.join(folder, name), "rb").read()))
    return found


def bf16_bits_to_float32(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def array(entry):
    dtype, shape, data = entry
    if dtype == "BF16":
        return bf16_bits_to_float32(np.frombuffer(data, "<u2")).reshape(shape)
    kinds = {"F32": "<f4", "F16": "<f2", "I32": "<u4", "I64": "<i8", "U8": "u1"}
    values = np.frombuffer(data, kinds[dtype]).reshape(shape)
    return values.astype(np.float32) if dtype == "F16" else values


class Decoder:
    def __init__(self, folder):
        self.config = c = json.load(open(os.path.join(folder, "config.json")))
        self.tensors, self.heads, self.kv = tensors_of(folder), c["num_attention_heads"], c["num_key_value_heads"]
        self.width = c.get("head_dim") or c["hidden_size"] // self.heads
        self.theta = c.get("rope_theta") or c["rope_parameters"]["rope_theta"]

    def get(self, name):
        return array(self.tensors[name]).astype(float)

    def norm(self, x, name):
        return self.get(name) * x / np.sqrt((x * x).mean(-1, keepdims=True) + self.config["rms_norm_eps"])

    def rotate(self, x):
        half = self.width // 2
        angle = np.arange(x.shape[1])[:, None] * self.theta ** (-np.arange(half) * 2 / self.width)
        cos, sin = np.cos(angle)[:, None, :], np.sin(angle)[:, None, :]
        a, b = x[..., :half], x[..., half:]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

    def attend(self, x, weight):
        batch, length = x.shape[:2]
        q, k, v = (x @ weight(s).T for s in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"))
        q = self.rotate(q.reshape(batch, length, self.heads, self.width))
        k = self.rotate(k.reshape(batch, length, self.kv, self.width))
        v = v.reshape(batch, length, self.kv, self.width)
        out = np.empty(q.shape)
        mask = np.triu(np.full((length, length), -np.inf), 1)
        for h in range(self.heads):
            g = h * self.kv // self.heads
            s = q[:, :, h] @ k[:, :, g].transpose(0, 2, 1) / np.sqrt(self.width) + mask
            s = np.exp(s - s.max(-1, keepdims=True))
            out[:, :, h] = s / s.sum(-1, keepdims=True) @ v[:, :, g]
        return out.reshape(batch, length, -1)

    def block(self, index, x, weight, see=None):
        """One block on x (batch, length, hidden); see(layers, input) is told what each group of layers is given."""
        prefix = "model.layers.%d." % index
        get, told = (lambda s: weight(prefix + s)), (lambda names, a: see and see([prefix + n for n in names], a))
        a = self.norm(x, prefix + "input_layernorm.weight")
        told(["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], a)
        a = self.attend(a, get)
        told(["self_attn.o_proj"], a)
        x = x + a @ get("self_attn.o_proj").T
        a = self.norm(x, prefix + "post_attention_layernorm.weight")
        told(["mlp.gate_proj", "mlp.up_proj"], a)
        gate = a @ get("mlp.gate_proj").T
        a = gate / (1 + np.exp(-gate)) * (a @ get("mlp.up_proj").T)
        told(["mlp.down_proj"], a)
        return x + a @ get("mlp.down_proj").T

    def walk(self, ids, weight, see=None):
        x = self.get("model.embed_tokens.weight")[ids]
        for index in range(self.config["num_hidden_layers"]):
            x = self.block(index, x, weight, see)
        return x

    def perplexity(self, ids, weight):
        x = self.norm(self.walk(ids, weight)[:, :-1], "model.norm.weight")
        head = "lm_head.weight" if "lm_head.weight" in self.tensors else "model.embed_tokens.weight"
        logits = x @ self.get(head).T
        top = logits.max(-1, keepdims=True)
        log_sum = np.log(np.exp(logits - top).sum(-1)) + top[..., 0]
        return np.exp((log_sum - np.take_along_axis(logits, ids[:, 1:, None], -1)[..., 0]).mean())
