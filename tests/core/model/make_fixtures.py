#!/usr/bin/env python3
"""Makes tests/core/model/fixtures: small random models and what a float64 forward pass, written here from the formulas of
the architecture, says about them. Standard library only. Run from anywhere; the committed files are its output.

Each folder: config.json, model.safetensors (or two shards and an index) and reference.safetensors with
  ids I64 [T], positions I64 [k], logits F64 [k, V] at these positions, first_block F64 [k, D] (residual stream behind block 0).
"""
import json
import math
import os
import random
import struct

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixtures")
BYTES = {"F64": 8, "I64": 8, "F32": 4, "F16": 2, "BF16": 2}
LETTER = {"F64": "d", "I64": "q", "F32": "f", "F16": "e"}


def to_bytes(dtype, values):
    if dtype == "BF16":
        out = b""
        for v in values:
            bits = struct.unpack("<I", struct.pack("<f", v))[0]
            out += struct.pack("<H", ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16) & 0xFFFF)
        return out
    return struct.pack("<%d%s" % (len(values), LETTER[dtype]), *values)


def stored(dtype, value):
    """The value as the file holds it."""
    raw = to_bytes(dtype, [value])
    if dtype == "BF16":
        return struct.unpack("<f", b"\0\0" + raw)[0]
    return struct.unpack("<" + LETTER[dtype], raw)[0]


def write_safetensors(path, tensors, pad=8):
    """tensors: (name, dtype, shape, values), written in the order given. `pad` 1 leaves the data at an odd address."""
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, dtype, shape, values in tensors:
        raw = to_bytes(dtype, values)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % pad)
    if pad == 1 and len(text) % 2 == 0:
        text += b" "
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


class Model:
    def __init__(self, seed, config, dtype, head=False, positions=None, length=12):
        self.random = random.Random(seed)
        self.c, self.dtype, self.length = config, dtype, length
        self.positions = positions or list(range(length))
        self.t = {}
        d, v = config["hidden_size"], config["vocab_size"]
        self.heads = config["num_attention_heads"]
        self.kv = config.get("num_key_value_heads", self.heads)
        self.hd = config.get("head_dim") or d // self.heads
        f = config["intermediate_size"]
        self.add("model.embed_tokens.weight", [v, d], 1.0)
        for i in range(config["num_hidden_layers"]):
            p = "model.layers.%d." % i
            self.norm(p + "input_layernorm.weight", d)
            self.linear(p + "self_attn.q_proj", self.heads * self.hd, d, "attention_bias")
            self.linear(p + "self_attn.k_proj", self.kv * self.hd, d, "attention_bias")
            self.linear(p + "self_attn.v_proj", self.kv * self.hd, d, "attention_bias")
            self.linear(p + "self_attn.o_proj", d, self.heads * self.hd, "attention_bias")
            self.norm(p + "post_attention_layernorm.weight", d)
            self.linear(p + "mlp.gate_proj", f, d, "mlp_bias")
            self.linear(p + "mlp.up_proj", f, d, "mlp_bias")
            self.linear(p + "mlp.down_proj", d, f, "mlp_bias")
        self.norm("model.norm.weight", d)
        if head:
            self.add("lm_head.weight", [v, d], 1.0 / math.sqrt(d))
        self.ids = [self.random.randrange(v) for _ in range(length)]

    def add(self, name, shape, scale, offset=0.0):
        count = math.prod(shape)
        self.t[name] = (shape, [stored(self.dtype, offset + scale * self.random.gauss(0, 1)) for _ in range(count)])

    def norm(self, name, width):
        self.add(name, [width], 0.3, 1.0)

    def linear(self, name, rows, cols, flag):
        self.add(name + ".weight", [rows, cols], 1.5 / math.sqrt(cols))
        if self.c.get(flag):
            self.add(name + ".bias", [rows], 0.5)

    # ---- the forward pass in float64 ----
    def apply(self, name, x):
        (rows, cols), w = self.t[name + ".weight"]
        b = self.t[name + ".bias"][1] if name + ".bias" in self.t else [0.0] * rows
        return [[b[o] + math.fsum(w[o * cols + i] * r[i] for i in range(cols)) for o in range(rows)] for r in x]

    def rms(self, name, x):
        w, eps = self.t[name][1], self.c["rms_norm_eps"]
        out = []
        for r in x:
            s = 1.0 / math.sqrt(math.fsum(a * a for a in r) / len(r) + eps)
            out.append([a * s * b for a, b in zip(r, w)])
        return out

    def frequencies(self):
        """(frequency of each pair, multiplier of cosine and sine)."""
        c = self.c
        p = c.get("rope_parameters") or c.get("rope_scaling") or {}
        theta = p.get("rope_theta", c.get("rope_theta", 10000.0))
        kind = p.get("rope_type", p.get("type", "default"))
        r = int(self.hd * p.get("partial_rotary_factor", 1.0))
        plain = [theta ** (-2.0 * i / r) for i in range(r // 2)]
        if kind == "default":
            return plain, 1.0
        factor = p["factor"]
        if kind == "linear":
            return [f / factor for f in plain], 1.0
        original = p.get("original_max_position_embeddings", c["max_position_embeddings"])
        if kind == "llama3":
            low, high, out = p["low_freq_factor"], p["high_freq_factor"], []
            for f in plain:
                wave = 2 * math.pi / f
                if wave < original / high:
                    out.append(f)
                elif wave > original / low:
                    out.append(f / factor)
                else:
                    s = (original / wave - low) / (high - low)
                    out.append(f * ((1 - s) / factor + s))
            return out, 1.0
        assert kind == "yarn"

        def dim(turns):
            return r * math.log(original / (2 * math.pi * turns)) / (2 * math.log(theta))
        lo = max(math.floor(dim(p.get("beta_fast", 32))), 0)
        hi = min(math.ceil(dim(p.get("beta_slow", 1))), r - 1)
        out = []
        for i, f in enumerate(plain):
            ramp = min(max((i - lo) / (hi - lo), 0.0), 1.0)
            out.append(f / factor * ramp + f * (1 - ramp))
        return out, p.get("attention_factor", 0.1 * math.log(factor) + 1.0)

    def rotate(self, head, position):
        freqs, scale = self.frequencies()
        half, out = len(freqs), list(head)
        for i, f in enumerate(freqs):
            c, s = math.cos(position * f) * scale, math.sin(position * f) * scale
            a, b = head[i], head[i + half]
            out[i], out[i + half] = a * c - b * s, b * c + a * s
        return out

    def attention(self, p, x):
        hd, window = self.hd, self.c.get("sliding_window") if "Mistral" in self.c["architectures"][0] else None

        def heads(rows, count, rotated):
            out = [[r[h * hd:(h + 1) * hd] for r in rows] for h in range(count)]
            return [[self.rotate(row, t) for t, row in enumerate(head)] for head in out] if rotated else out
        q = heads(self.apply(p + "q_proj", x), self.heads, True)
        k = heads(self.apply(p + "k_proj", x), self.kv, True)
        v = heads(self.apply(p + "v_proj", x), self.kv, False)
        out = []
        for t in range(len(x)):
            row = []
            for h in range(self.heads):
                g = h * self.kv // self.heads
                first = max(0, t - window + 1) if window else 0
                scores = [math.fsum(a * b for a, b in zip(q[h][t], k[g][s])) / math.sqrt(hd) for s in range(first, t + 1)]
                top = max(scores)
                weights = [math.exp(s - top) for s in scores]
                total = math.fsum(weights)
                for j in range(hd):
                    row.append(math.fsum(w * v[g][first + s][j] for s, w in enumerate(weights)) / total)
            out.append(row)
        return self.apply(p + "o_proj", out)

    def forward(self):
        _, table = self.t["model.embed_tokens.weight"]
        d = self.c["hidden_size"]
        x = [table[i * d:(i + 1) * d] for i in self.ids]
        first = None
        for i in range(self.c["num_hidden_layers"]):
            p = "model.layers.%d." % i
            y = self.attention(p + "self_attn.", self.rms(p + "input_layernorm.weight", x))
            x = [[a + b for a, b in zip(r, s)] for r, s in zip(x, y)]
            n = self.rms(p + "post_attention_layernorm.weight", x)
            gate, up = self.apply(p + "mlp.gate_proj", n), self.apply(p + "mlp.up_proj", n)
            n = [[a / (1 + math.exp(-a)) * b for a, b in zip(r, s)] for r, s in zip(gate, up)]
            x = [[a + b for a, b in zip(r, s)] for r, s in zip(x, self.apply(p + "mlp.down_proj", n))]
            first = first or x
        name = "lm_head" if "lm_head.weight" in self.t and not self.c.get("tie_word_embeddings") else "model.embed_tokens"
        rows = self.positions
        logits = self.apply(name, self.rms("model.norm.weight", [x[t] for t in rows]))
        return logits, [first[t] for t in rows]

    # ---- files ----
    def write(self, folder, shards=1, pad=8):
        path = os.path.join(HERE, folder)
        os.makedirs(path, exist_ok=True)
        with open(os.path.join(path, "config.json"), "w") as f:
            json.dump(self.c, f, indent=1)
            f.write("\n")
        rows = [(n, self.dtype, s, v) for n, (s, v) in sorted(self.t.items())]
        if shards == 1:
            write_safetensors(os.path.join(path, "model.safetensors"), rows, pad)
        else:
            names = ["model-%05d-of-%05d.safetensors" % (i + 1, shards) for i in range(shards)]
            for i, name in enumerate(names):
                write_safetensors(os.path.join(path, name), rows[i::shards], pad)
            total = sum(len(v) * BYTES[self.dtype] for _, (_, v) in self.t.items())
            index = {"metadata": {"total_size": total},
                     "weight_map": {r[0]: names[i % shards] for i, r in enumerate(rows)}}
            with open(os.path.join(path, "model.safetensors.index.json"), "w") as f:
                json.dump(index, f, indent=1)
                f.write("\n")
        logits, first = self.forward()
        flat = lambda m: [a for r in m for a in r]
        write_safetensors(os.path.join(path, "reference.safetensors"), [
            ("first_block", "F64", [len(first), self.c["hidden_size"]], flat(first)),
            ("ids", "I64", [self.length], self.ids),
            ("logits", "F64", [len(logits), self.c["vocab_size"]], flat(logits)),
            ("positions", "I64", [len(self.positions)], self.positions)])


def config(d, f, layers, heads, v, **more):
    c = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": d, "intermediate_size": f,
         "num_hidden_layers": layers, "num_attention_heads": heads, "vocab_size": v, "hidden_act": "silu",
         "rms_norm_eps": 1e-5, "max_position_embeddings": 256}
    c.update(more)
    return {k: x for k, x in c.items() if x != "absent"}


def main():
    long = [0, 1, 31, 62, 63, 64, 65, 127, 128, 129]
    Model(1, config(16, 20, 2, 4, 23, num_key_value_heads=2, tie_word_embeddings=True, bos_token_id=0,
                    rope_parameters={"rope_type": "default", "rope_theta": 10000.0}),
          "BF16", length=130, positions=long).write("gqa-tied-bf16")
    # Odd sizes, head_dim apart from hidden/heads, all biases, transformers 4 keys, data at an odd address.
    Model(2, config(15, 11, 2, 3, 19, head_dim=6, attention_bias=True, mlp_bias=True, tie_word_embeddings=False,
                    rope_theta=500.0, rope_scaling=None, bos_token_id=None), "F32", head=True).write("mha-biases-f32", pad=1)
    # One key/value head, no flag and no head: tied; head_dim null; F16 in two shards; bos beyond the vocabulary.
    Model(3, config(16, 9, 3, 4, 31, num_key_value_heads=1, head_dim=None, bos_token_id=128000), "F16").write(
        "mqa-shards-f16", shards=2)
    # No flag but a head: not tied. Linear scaling in the old spelling; biases on attention only.
    Model(4, config(12, 8, 2, 2, 17, num_key_value_heads=1, attention_bias=True, rope_theta=100.0,
                    rope_scaling={"type": "linear", "factor": 2.5}), "F32", head=True).write("rope-linear")
    # Wavelengths 6, 17, 44 and 118 against the bands' edges 8 and 32: kept, blended, slowed down.
    Model(5, config(16, 8, 2, 2, 17, rope_parameters={
        "rope_type": "llama3", "rope_theta": 50.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32}), "F32", length=40, positions=[0, 1, 7, 20, 39]).write("rope-llama3")
    Model(6, config(32, 8, 2, 2, 17, rope_theta=200.0, max_position_embeddings=64, rope_scaling={
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 4, "beta_slow": 1}),
        "F32", length=40, positions=[0, 1, 7, 20, 39]).write("rope-yarn")
    Model(7, config(16, 8, 1, 2, 17, rope_parameters={
        "rope_type": "yarn", "rope_theta": 1000.0, "factor": 2.0, "attention_factor": 1.25}), "F32",
        length=20).write("rope-yarn-factor")
    Model(8, config(16, 8, 2, 2, 17, rope_parameters={"rope_theta": 1000.0, "partial_rotary_factor": 0.5}), "F32").write(
        "rope-partial")
    # Window 67: wider than the 64 rows that attention takes at a time, so both edges of the mask move inside a block of rows.
    Model(9, config(16, 12, 2, 4, 13, architectures=["MistralForCausalLM"], model_type="mistral", num_key_value_heads=2,
                    sliding_window=67, rope_theta=1000.0), "F32", length=200,
          positions=[0, 63, 64, 65, 66, 67, 68, 130, 131, 133, 134, 135, 199]).write("mistral-window-67")
    Model(10, config(16, 12, 2, 4, 13, architectures=["MistralForCausalLM"], model_type="mistral", num_key_value_heads=2,
                     sliding_window=5, rope_theta=1000.0), "BF16", length=70,
          positions=[0, 4, 5, 6, 63, 64, 65, 69]).write("mistral-window-5")


if __name__ == "__main__":
    main()
