"""blocks.py: codes, scales, zeros and offsets of a GGUF's matrices, from their bytes (formats.md 6.5): what the grids of containers are checked by."""
import os
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
from gguf_file import Gguf, gguf_name  # noqa: E402


def halves(raw):
    return np.ascontiguousarray(raw).view("<f2").astype(np.float32)


def nibbles(raw):
    """Element j in the low half of byte j, element j + n in the high one."""
    return np.concatenate([raw & 15, raw >> 4], -1)


def around_the_middle(u, d, middle):
    """Of a negative scale the codes run the other way, and the middle one is one lower: stored u is 2 middle - 1 - code."""
    negative = d < 0
    codes = np.where(negative, 2 * middle - 1 - u.astype(np.int64), u)
    return codes, np.abs(d), np.where(negative, middle - 1, middle).astype(np.float32), None


def q4_0(raw):
    return around_the_middle(nibbles(raw[..., 2:]), halves(raw[..., :2]), 8)


def q5_0(raw):
    high = np.ascontiguousarray(raw[..., 2:6]).view("<u4")
    return around_the_middle(nibbles(raw[..., 6:]) + 16 * (high >> np.arange(32, dtype=np.uint32) & 1), halves(raw[..., :2]), 16)


def below_an_offset(u, scale, offset):
    return u.astype(np.int64), scale, np.float32(offset.astype(float) / scale.astype(float)), offset


def q4_1(raw):
    return below_an_offset(nibbles(raw[..., 4:]), halves(raw[..., :2]), -halves(raw[..., 2:4]))


def q4_k(raw):
    """Eight groups of 32: a block becomes eight."""
    s, j = raw[..., 4:16], np.arange(4)
    k = np.concatenate([s[..., j] & 63, s[..., j + 8] & 15 | (s[..., j] >> 6) << 4], -1)
    m = np.concatenate([s[..., j + 4] & 63, s[..., j + 8] >> 4 | (s[..., j + 4] >> 6) << 4], -1)
    assert k.min() > 0, "a scale of 0"
    u = nibbles(raw[..., 16:].reshape(raw.shape[:-1] + (4, 32))).reshape(raw.shape[:-1] + (8, 32))
    scale, offset = halves(raw[..., :2]) * np.float32(k), halves(raw[..., 2:4]) * np.float32(m)
    parts = below_an_offset(u, scale[..., None], offset[..., None])
    return tuple(x.reshape(x.shape[0], -1, x.shape[-1]) for x in parts)


KINDS = {"Q4_0": (18, q4_0), "Q5_0": (22, q5_0), "Q4_1": (20, q4_1), "Q4_K": (144, q4_k)}


class Blocks:
    """The matrices of an artifact by their layers' own names, rows of q and k as the model has them."""

    def __init__(self, folder):
        path, = [name for name in os.listdir(folder) if name.endswith(".gguf")]
        self.file = Gguf(os.path.join(folder, path))

    def layer(self, name):
        """codes O x I; scale, zero and offset (None: none is stored) O x G."""
        kind, (columns, rows), raw = self.file.tensors[gguf_name(name + ".weight")]
        size, read = KINDS[kind]
        parts = [x if x is None else x.reshape(rows, -1) for x in read(np.frombuffer(raw, np.uint8).reshape(rows, -1, size))]
        heads = {"q_proj": "llama.attention.head_count", "k_proj": "llama.attention.head_count_kv"}.get(name.rsplit(".", 1)[1])
        if heads is not None:
            half = rows // self.file.keys[heads] // 2
            order = np.arange(rows).reshape(-1, half, 2).swapaxes(1, 2).ravel()
            parts = [x if x is None else x[order] for x in parts]
        assert parts[0].shape == (rows, columns)
        return parts
