"""gguf_file.py: GGUF files by a second hand: a reader of the header, and a writer of a model's weights as they are, for llama.cpp's own quantizer.

The writer knows what the test models need: architecture llama, byte-level BPE. Standard library and numpy.
"""
import json
import os
import struct

import numpy as np

NAMES = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K",
         20: "IQ4_NL", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0", 42: "Q2_0"}
TYPES = {name: number for number, name in NAMES.items()}
FILE_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K": 11, "Q4_K": 14, "Q5_K": 16, "Q6_K": 18,
              "IQ4_NL": 25, "BF16": 32, "TQ1_0": 36, "TQ2_0": 37, "MXFP4": 38, "NVFP4": 39, "Q1_0": 40, "Q2_0": 41}
BLOCKS = {"F32": (1, 4), "F16": (1, 2), "BF16": (1, 2), "Q4_0": (32, 18), "Q4_1": (32, 20), "Q5_0": (32, 22), "Q5_1": (32, 24), "Q8_0": (32, 34),
          "IQ4_NL": (32, 18), "MXFP4": (32, 17), "NVFP4": (64, 36), "Q1_0": (128, 18), "Q2_0": (64, 18), "Q2_K": (256, 84), "Q3_K": (256, 110),
          "Q4_K": (256, 144), "Q5_K": (256, 176), "Q6_K": (256, 210), "TQ1_0": (256, 54), "TQ2_0": (256, 66)}
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
U32, F32, BOOL, STRING, ARRAY, I32 = 4, 6, 7, 8, 9, 5


# ---- reading ----

class Gguf:
    """keys: name -> value; tensors: name -> (type name, ne, bytes)."""

    def __init__(self, path):
        self.bytes, self.at = open(path, "rb").read(), 0
        magic, self.version, count, keys = self.take("<4sIQQ")
        assert magic == b"GGUF" and self.version == 3, (magic, self.version)
        self.keys = dict((self.text(), self.value(self.take("<I")[0])) for _ in range(keys))
        self.tensors, entries = {}, []
        for _ in range(count):
            name, ranks = self.text(), self.take("<I")[0]
            entries.append((name, self.take("<%dQ" % ranks)) + self.take("<IQ"))
        align = self.keys.get("general.alignment", 32)
        start = -(-self.at // align) * align
        for name, shape, number, offset in entries:
            elements, size = BLOCKS[NAMES[number]]
            length = int(np.prod(shape)) // elements * size
            assert shape[0] % elements == 0 and start + offset + length <= len(self.bytes), name
            self.tensors[name] = (NAMES[number], shape, self.bytes[start + offset:start + offset + length])

    def take(self, layout):
        found = struct.unpack_from(layout, self.bytes, self.at)
        self.at += struct.calcsize(layout)
        return found

    def text(self):
        length, = self.take("<Q")
        self.at += length
        return self.bytes[self.at - length:self.at].decode("utf-8", "surrogateescape")

    def value(self, kind):
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            element, count = self.take("<IQ")
            return [self.value(element) for _ in range(count)]
        return self.take("<" + SCALARS[kind])[0]


# ---- writing ----

def string(text):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def packed(kind, value):
    if kind == STRING:
        return string(value)
    if kind == ARRAY:
        element, values = value
        return struct.pack("<IQ", element, len(values)) + b"".join(packed(element, one) for one in values)
    return struct.pack("<" + SCALARS[kind], value)


def model_tensors(folder):
    """name -> (dtype name, array of the stored bits) of a model folder, shards or not."""
    found = {}
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".safetensors"):
            continue
        data = open(os.path.join(folder, name), "rb").read()
        length, = struct.unpack_from("<Q", data)
        for tensor, entry in json.loads(data[8:8 + length]).items():
            if tensor != "__metadata__":
                begin, end = entry["data_offsets"]
                kind = {"BF16": "<u2", "F16": "<f2", "F32": "<f4"}[entry["dtype"]]
                found[tensor] = (entry["dtype"], np.frombuffer(data[8 + length + begin:8 + length + end], kind).reshape(entry["shape"]))
    return found


def gguf_name(name):
    fixed = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}
    if name in fixed:
        return fixed[name]
    _, _, layer, rest = name.split(".", 3)
    part = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
            "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
            "mlp.down_proj": "ffn_down"}[rest.rsplit(".", 1)[0]]
    return "blk.%s.%s.weight" % (layer, part)


def interleaved(rows, head):
    """Rotary pairs (i, i + head / 2) side by side, head by head."""
    return rows.reshape(-1, 2, head // 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def tokenizer_keys(folder, pre):
    model = json.load(open(os.path.join(folder, "tokenizer.json"), encoding="utf-8"))
    special = {token["content"]: token["id"] for token in model["added_tokens"]}
    tokens = {**model["model"]["vocab"], **special}
    pieces = sorted(tokens, key=tokens.get)
    merges = [merge if isinstance(merge, str) else " ".join(piece.replace(" ", "Ġ") for piece in merge) for merge in model["model"]["merges"]]
    settings = json.load(open(os.path.join(folder, "tokenizer_config.json"), encoding="utf-8"))
    return [("tokenizer.ggml.model", STRING, "gpt2"), ("tokenizer.ggml.pre", STRING, pre), ("tokenizer.ggml.tokens", ARRAY, (STRING, pieces)),
            ("tokenizer.ggml.token_type", ARRAY, (I32, [3 if piece in special else 1 for piece in pieces])),
            ("tokenizer.ggml.merges", ARRAY, (STRING, merges)), ("tokenizer.ggml.bos_token_id", U32, tokens[settings["bos_token"]]),
            ("tokenizer.ggml.eos_token_id", U32, tokens[settings["eos_token"]]), ("tokenizer.ggml.add_bos_token", BOOL, True)]


def model_keys(folder, file_type):
    config = json.load(open(os.path.join(folder, "config.json"), encoding="utf-8"))
    assert config["model_type"] == "llama", config["model_type"]
    heads, width = config["num_attention_heads"], config["hidden_size"]
    head = config.get("head_dim") or width // heads
    theta = config.get("rope_theta") or config["rope_parameters"]["rope_theta"]
    keys = [("general.architecture", STRING, "llama"), ("general.name", STRING, os.path.basename(os.path.normpath(folder))),
            ("general.file_type", U32, FILE_TYPES[file_type]), ("general.quantization_version", U32, 2)]
    sizes = {"context_length": config["max_position_embeddings"], "embedding_length": width, "block_count": config["num_hidden_layers"],
             "feed_forward_length": config["intermediate_size"], "attention.head_count": heads,
             "attention.head_count_kv": config.get("num_key_value_heads", heads), "rope.dimension_count": head, "attention.key_length": head,
             "attention.value_length": head, "vocab_size": config["vocab_size"]}
    keys += [("llama." + name, U32, size) for name, size in sizes.items()]
    return keys + [("llama.attention.layer_norm_rms_epsilon", F32, config["rms_norm_eps"]), ("llama.rope.freq_base", F32, theta)], heads, \
        config.get("num_key_value_heads", heads), head


def as_stored(name, dtype, values, matrix_type):
    """Bytes of a tensor: matrices in the type asked for, vectors in float32."""
    wide = (values.astype("<u4") << 16).view("<f4") if dtype == "BF16" else values.astype("<f4")
    kind = matrix_type if values.ndim > 1 else "F32"
    if kind == dtype:
        return kind, np.ascontiguousarray(values).tobytes()
    assert kind == "F32", "%s: %s of %s" % (name, kind, dtype)
    return kind, np.ascontiguousarray(wide).tobytes()


def write_float_gguf(folder, path, matrix_type="F32", pre="llama-bpe"):
    """The weights of a model folder in one GGUF file, exactly: matrices F32, or in the folder's own type; vectors F32."""
    keys, heads, key_heads, head = model_keys(folder, matrix_type)
    keys += tokenizer_keys(folder, pre)
    table, data = b"", b""
    tensors = model_tensors(folder)
    for name in sorted(tensors):
        dtype, values = tensors[name]
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            values = interleaved(values, head)
        kind, raw = as_stored(name, dtype, values, matrix_type)
        table += string(gguf_name(name)) + struct.pack("<I", values.ndim) + struct.pack("<%dQ" % values.ndim, *values.shape[::-1])
        table += struct.pack("<IQ", TYPES[kind], len(data))
        data += raw + bytes(-len(raw) % 32)
    head_bytes = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(keys))
    head_bytes += b"".join(string(name) + struct.pack("<I", kind) + packed(kind, value) for name, kind, value in keys) + table
    with open(path, "wb") as out:
        out.write(head_bytes + bytes(-len(head_bytes) % 32) + data)
