"""gguf.py: GGUF files from rules: the tiny model, with any part of the file replaced."""
from kit import *  # noqa: F401,F403
from kit import HIDDEN, FFN, HEADS, VOCAB, struct, some_floats, floats

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
FORMATS = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B", U64: "Q", I64: "q", F64: "d"}
# name -> id, elements and bytes of a block
TYPES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24), "Q8_0": (8, 32, 34),
         "Q2_K": (10, 256, 84), "Q3_K": (11, 256, 110), "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210), "IQ4_NL": (20, 32, 18),
         "BF16": (30, 1, 2), "TQ1_0": (34, 256, 54), "TQ2_0": (35, 256, 66), "MXFP4": (39, 32, 17), "NVFP4": (40, 64, 36), "Q1_0": (41, 128, 18),
         "Q2_0": (42, 64, 18)}


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(value)) + value


def scalar(kind, value):
    return text(value) if kind == STRING else struct.pack("<" + FORMATS[kind], value)


def array(kind, values, count=None):
    """An array's bytes after the type word of the value; count: another number of elements."""
    return struct.pack("<IQ", kind, len(values) if count is None else count) + b"".join(scalar(kind, v) for v in values)


def value(kind, content):
    """Type word and bytes: (U32, 7), (ARRAY, array(...)) or bytes as they are."""
    return struct.pack("<I", kind) + (content if isinstance(content, bytes) and kind != STRING else scalar(kind, content))


class Tensor:
    """ne innermost first, as in the file."""

    def __init__(self, name, kind, ne, data, rank=None, offset=None, type_id=None):
        self.name, self.kind, self.ne, self.data = name, kind, ne, data
        self.rank, self.offset = rank, offset
        self.type_id = TYPES[kind][0] if type_id is None else type_id

    def changed(self, **other):
        made = Tensor(self.name, self.kind, self.ne, self.data, self.rank, self.offset, self.type_id)
        for key, new in other.items():
            assert hasattr(made, key), key
            setattr(made, key, new)
        return made


def blocks(kind, *ne):
    """A tensor's bytes: small numbers for floats, else blocks of one harmless pattern (scales of 1/8 in half precision, MXFP4 2^-3)."""
    count = 1
    for n in ne:
        count *= n
    if kind == "F32":
        return some_floats(count)[2]
    if kind in ("F16", "BF16"):
        return struct.pack("<H", 0x3000 if kind == "F16" else 0x3E00) * count
    _, elements, size = TYPES[kind]
    return (b"\x00\x30" * size)[:size] * (count // elements) if kind not in ("MXFP4",) else (b"\x7c" + b"\x31" * (size - 1)) * (count // elements)


NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def model_tensors(kind="Q8_0", hidden=HIDDEN, ffn=FFN, vocab=VOCAB):
    ones = floats(hidden, value=1.0)[2]
    made = [Tensor("token_embd.weight", "F32", (hidden, vocab), blocks("F32", hidden, vocab)), Tensor("output_norm.weight", "F32", (hidden,), ones),
            Tensor("blk.0.attn_norm.weight", "F32", (hidden,), ones), Tensor("blk.0.ffn_norm.weight", "F32", (hidden,), ones)]
    for name in NAMES.values():
        out, inner = (ffn, hidden) if name in ("ffn_gate", "ffn_up") else (hidden, ffn) if name == "ffn_down" else (hidden, hidden)
        made.append(Tensor("blk.0.%s.weight" % name, kind, (inner, out), blocks(kind, inner, out)))
    return made


WORDS = ["<s>", "a", "b", "ab", "c", "\u0120", "\u0120a", "abc"]


def model_keys():
    return {"general.architecture": value(STRING, "llama"), "general.name": value(STRING, "tiny"), "general.file_type": value(U32, 7),
            "general.quantization_version": value(U32, 2), "llama.context_length": value(U32, 64), "llama.embedding_length": value(U32, HIDDEN),
            "llama.block_count": value(U32, 1), "llama.feed_forward_length": value(U32, FFN), "llama.attention.head_count": value(U32, HEADS),
            "llama.attention.head_count_kv": value(U32, HEADS), "llama.attention.layer_norm_rms_epsilon": value(F32, 1e-5),
            "llama.rope.freq_base": value(F32, 10000.0), "llama.rope.dimension_count": value(U32, HIDDEN // HEADS), "llama.vocab_size": value(U32, VOCAB),
            "tokenizer.ggml.model": value(STRING, "gpt2"), "tokenizer.ggml.pre": value(STRING, "gpt-2"),
            "tokenizer.ggml.tokens": value(ARRAY, array(STRING, WORDS)), "tokenizer.ggml.token_type": value(ARRAY, array(I32, [3] + [1] * (VOCAB - 1))),
            "tokenizer.ggml.merges": value(ARRAY, array(STRING, ["a b", "\u0120 a", "ab c"])), "tokenizer.ggml.bos_token_id": value(U32, 0),
            "tokenizer.ggml.eos_token_id": value(U32, 0)}


def gguf(keys=None, tensors=None, magic=b"GGUF", version=3, tensor_count=None, key_count=None, alignment=32, tail=b"", key_bytes=None, short=0):
    """The file; counts may lie. key_bytes: raw bytes behind the keys. short: bytes less of data at the end."""
    keys = model_keys() if keys is None else keys
    tensors = model_tensors() if tensors is None else tensors
    pairs = list(keys.items()) if isinstance(keys, dict) else keys
    out = magic + struct.pack("<IQQ", version, len(tensors) if tensor_count is None else tensor_count, len(pairs) if key_count is None else key_count)
    out += b"".join(text(key) + content for key, content in pairs) + (key_bytes or b"")
    offset, data = 0, b""
    for t in tensors:
        out += text(t.name) + struct.pack("<I", len(t.ne) if t.rank is None else t.rank) + struct.pack("<%dQ" % len(t.ne), *t.ne)
        out += struct.pack("<IQ", t.type_id, offset if t.offset is None else t.offset)
        data += t.data + b"\0" * (-len(t.data) % alignment)
        offset = len(data)
    out += b"\0" * (-len(out) % alignment) + data + tail
    return out[:len(out) - short] if short else out


def changed(**other):
    """model_keys with keys replaced (None: left out); __ stands for a dot's dot: pass a dict instead where names are odd."""
    return {key: content for key, content in dict(model_keys(), **other).items() if content is not None}
