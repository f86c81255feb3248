#!/usr/bin/env python3
"""Makes tests/core/model/corpus_gguf: sound GGUF files, small and of every type, that the fuzz target begins with.
Standard library only; the committed files are its output."""
import os
import random
import struct

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus_gguf")
# name: (id, elements of a block, bytes of a block)
TYPES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24),
         "Q8_0": (8, 32, 34), "Q2_K": (10, 256, 84), "Q3_K": (11, 256, 110), "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176),
         "Q6_K": (14, 256, 210), "IQ4_NL": (20, 32, 18), "IQ4_XS": (23, 256, 136), "I8": (24, 1, 1), "I16": (25, 1, 2),
         "I32": (26, 1, 4), "I64": (27, 1, 8), "F64": (28, 1, 8), "BF16": (30, 1, 2), "TQ1_0": (34, 256, 54), "TQ2_0": (35, 256, 66),
         "MXFP4": (39, 32, 17), "NVFP4": (40, 64, 36), "Q1_0": (41, 128, 18), "Q2_0": (42, 64, 18)}
SCALARS = {"u8": (0, "B"), "i8": (1, "b"), "u16": (2, "H"), "i16": (3, "h"), "u32": (4, "I"), "i32": (5, "i"), "f32": (6, "f"),
           "bool": (7, "B"), "u64": (10, "Q"), "i64": (11, "q"), "f64": (12, "d")}


def string(text):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def element(kind, value):
    return string(value) if kind == "str" else struct.pack("<" + SCALARS[kind][1], value)


def number(kind):
    return 8 if kind == "str" else SCALARS[kind][0]


def value(kind, content):
    if isinstance(content, list):
        return struct.pack("<IIQ", 9, number(kind), len(content)) + b"".join(element(kind, v) for v in content)
    return struct.pack("<I", number(kind)) + element(kind, content)


def gguf(keys, tensors, alignment=32, version=3):
    """keys: (name, kind, content); tensors: (name, type, sizes innermost first, bytes)."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys))
    head += b"".join(string(name) + value(kind, content) for name, kind, content in keys)
    data = b""
    for name, kind, sizes, raw in tensors:
        data += b"\0" * (-len(data) % alignment)
        head += string(name) + struct.pack("<I", len(sizes)) + b"".join(struct.pack("<Q", n) for n in sizes)
        head += struct.pack("<IQ", TYPES[kind][0], len(data))
        data += raw
    return head + b"\0" * (-len(head) % alignment) + data


def blocks(kind, rng, rows, cols):
    _, block, size = TYPES[kind]
    return bytes(rng.randrange(256) for _ in range(rows * (cols // block) * size))


def llama(rng, extra=(), scaling=False, kind="Q8_0", width=32):
    keys = [("general.architecture", "str", "llama"), ("llama.block_count", "u32", 1), ("llama.context_length", "u32", 64),
            ("llama.embedding_length", "u32", width), ("llama.feed_forward_length", "u32", width),
            ("llama.attention.head_count", "u32", 4), ("llama.attention.head_count_kv", "u32", 2),
            ("llama.attention.layer_norm_rms_epsilon", "f32", 1e-5), ("llama.rope.freq_base", "f32", 10000.0),
            ("llama.rope.dimension_count", "u32", width // 4), ("tokenizer.ggml.model", "str", "gpt2"),
            ("tokenizer.ggml.tokens", "str", ["<s>", "</s>", "a", "b"]), ("tokenizer.ggml.bos_token_id", "u32", 0),
            ("tokenizer.ggml.token_type", "i32", [3, 3, 1, 1]), ("tokenizer.ggml.scores", "f32", [0.0, 0.0, -1.0, -2.0])]
    tensors = [("token_embd.weight", kind, (width, 4), blocks(kind, rng, 4, width)),
               ("blk.0.attn_q.weight", kind, (width, width), blocks(kind, rng, width, width)),
               ("blk.0.attn_k.weight", kind, (width, width // 2), blocks(kind, rng, width // 2, width)),
               ("output_norm.weight", "F32", (width,), struct.pack("<%df" % width, *[1.0] * width))]
    if scaling:
        divisors = [1.0, 1.0, 4.5, 8.0][: width // 8] + [8.0] * max(0, width // 8 - 4)
        tensors.append(("rope_freqs.weight", "F32", (width // 8,), struct.pack("<%df" % (width // 8), *divisors)))
    return keys + list(extra), tensors


def main():
    rng = random.Random(11)
    os.makedirs(HERE, exist_ok=True)
    every_key = [("k." + kind, kind, 1) for kind in SCALARS] + [("a." + kind, kind, [0, 1, 1]) for kind in SCALARS]
    every_key += [("text", "str", "w\u00f6rter"), ("texts", "str", ["", "a", "bc"]), ("nul", "str", "a\0b"), ("none", "str", [])]
    every_tensor = [(name.lower() + ".weight", name, (block * 2, 3), blocks(name, rng, 3, block * 2))
                    for name, (_, block, _) in TYPES.items()]
    yarn = [("llama.rope.scaling.type", "str", "yarn"), ("llama.rope.scaling.factor", "f32", 4.0),
            ("llama.rope.scaling.original_context_length", "u32", 16), ("llama.rope.scaling.yarn_attn_factor", "f32", 1.5)]
    files = {
        "keys": gguf(every_key, []),
        "types": gguf([("general.alignment", "u32", 8)], every_tensor, alignment=8),
        "version-2": gguf([("a", "u8", 1)], [("t", "F32", (1, 1, 1, 2), b"\0" * 8)], version=2),
        "llama": gguf(*llama(rng)),
        "llama-yarn": gguf(*llama(rng, extra=yarn)),
        "llama-divisors": gguf(*llama(rng, scaling=True)),
        "llama-split": gguf(*llama(rng, extra=[("split.no", "u16", 0), ("split.count", "u16", 2),
                                               ("split.tensors.count", "i32", 9)])),
        "empty": gguf([], []),
        "short": gguf([], [])[:11],
    }
    for name, raw in files.items():
        with open(os.path.join(HERE, name), "wb") as f:
            f.write(raw)


if __name__ == "__main__":
    main()
