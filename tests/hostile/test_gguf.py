"""Hostile GGUF files: magic, counts, strings, arrays, types, alignment, offsets, blocks, metadata and vocabularies that lie; cut at every boundary."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from gguf import *  # noqa: E402,F403
from gguf import text as string  # noqa: E402

EVAL = ("eval", "./model.gguf", "--text", "./text", "--length", "8", "--threads", "1")
INSPECT = ("inspect", "./model.gguf")
TEXT = b"ab abc ab a b c ab abc " * 4
ONE = [Tensor("t", "F32", (4, 2), b"\0" * 32)]


def parsed(name, content, match, sound=False):
    """The parser alone: `quantd inspect`."""
    case("gguf: " + name, {"model.gguf": content}, match, INSPECT, names=None if sound else "model.gguf", sound=sound)


def opened(name, content, match, sound=False, names="model.gguf"):
    """As a model, with its tokenizer, over a text."""
    case("gguf model: " + name, {"model.gguf": content, "text": TEXT}, match, EVAL, names=None if sound else names, sound=sound)


def keyed(name, match, sound=False, names="model.gguf", **other):
    """The tiny model with keys changed; keys are written with __ for a dot."""
    opened(name, gguf(keys=changed(**{key.replace("__", "."): content for key, content in other.items()})), match, sound, names)


def with_tensor(name, match, which="blk.0.ffn_up.weight", sound=False, drop=False, names=None, **other):
    tensors = [t.changed(**other) if t.name == which else t for t in model_tensors() if not (drop and t.name == which)]
    opened(name, gguf(tensors=tensors), match, sound, names or "model.gguf")


parsed("sound", gguf(), r"11 tensors", sound=True)
parsed("sound, version 2", gguf(version=2), r"GGUF version 2", sound=True)
parsed("sound, nothing in it", gguf(keys={}, tensors=[]), r"0 tensors", sound=True)
parsed("sound, bytes behind the last tensor", gguf(tail=b"x" * 999), r"11 tensors", sound=True)
for kind, (_, block, size) in TYPES.items():
    ne = (max(block, 32), 3)
    parsed("sound, a tensor of %s" % kind, gguf(keys={}, tensors=[Tensor("t", kind, ne, blocks(kind, *ne))]), r"1 tensors", sound=True)
opened("sound", gguf(), r"perplexity", sound=True)

# The start.
for size in (0, 1, 3, 4, 7, 8, 15, 16, 23):
    parsed("%d bytes" % size, gguf()[:size], r"empty|magic|GGUF|bytes at byte|ends after")
for magic in (b"GGUX", b"gguf", b"FUGG", b"ggml", b"ggjt", b"PK\3\4", b"\0\0\0\0", b"\x7fELF"):
    parsed("magic %r" % magic, gguf(magic=magic), r"magic|no GGUF|GGUF")
for version in (0, 1, 4, 5, 0x03000000, 2**31, 2**32 - 1):
    parsed("version %d" % version, gguf(version=version), r"version|big-endian")
for count in (1, 12, 1000, 65537, 2**31, 2**32, 2**40, HUGE, 2**63, 2**64 - 1):
    parsed("%d tensors said" % count, gguf(tensors=[], keys={}, tensor_count=count), r"tensors|ends after")
    parsed("%d keys said" % count, gguf(tensors=[], keys={}, key_count=count), r"keys|ends after")
parsed("a tensor more than there are", gguf(tensor_count=12), r"model\.gguf")
parsed("a tensor less than there are", gguf(tensor_count=10), r"10 tensors", sound=True)
parsed("a key more than there are", gguf(key_count=len(model_keys()) + 1), r"model\.gguf")
parsed("a key less than there are", gguf(key_count=len(model_keys()) - 1), r"model\.gguf")

# Cut at every boundary of the structure.
WHOLE = gguf()
HEAD = len(WHOLE) - sum(len(t.data) + (-len(t.data)) % 32 for t in model_tensors())
for at in list(range(24, min(HEAD, 400), 4)) + list(range(400, HEAD, 61)):
    parsed("cut at byte %d of the header" % at, WHOLE[:at], r"ends after|keys in|tensors in|of the file, which has")
LAST = len(model_tensors()[-1].data)
for short in (1, LAST, LAST + 1, len(WHOLE) - HEAD, len(WHOLE) - HEAD - 1):
    parsed("%d bytes of data missing" % short, WHOLE[:-short] if short else WHOLE, r"of the file, which has|bytes at byte")


# Keys and values.
def keys_raw(name, raw, match, count=1):
    parsed("key: " + name, gguf(keys={}, tensors=[], key_bytes=raw, key_count=count), match)


for length in (2**16, 2**30, 2**31, 2**32, 2**40, HUGE, 2**63, 2**64 - 1):
    keys_raw("a name of %d bytes" % length, struct.pack("<Q", length) + b"k" * 64, r"limit|ends after")
    keys_raw("a string of %d bytes" % length, string("k") + struct.pack("<IQ", STRING, length) + b"v" * 64, r"limit|ends after")
    keys_raw("an array of %d bytes" % length, string("k") + struct.pack("<IIQ", ARRAY, U8, length) + b"v" * 64, r"limit|ends after")
    keys_raw("an array of %d strings" % length, string("k") + struct.pack("<IIQ", ARRAY, STRING, length) + string("v") * 8, r"limit|ends after")
    keys_raw("an array of %d doubles" % length, string("k") + struct.pack("<IIQ", ARRAY, F64, length) + b"v" * 64, r"limit|ends after")
keys_raw("an empty name", string("") + value(U8, 1), r"empty name")
for name, raw in (("a NUL", b"a\0b"), ("a blank", b"a b"), ("a line feed", b"a\n"), ("UTF-8", "\u00e9".encode()), ("invalid UTF-8", b"\xff"), ("DEL", b"\x7f"), ("an escape", b"\x1b[31m")):
    keys_raw("a name with %s" % name, string(raw) + value(U8, 1), r"printable|name")
for kind in (13, 14, 255, 2**31, 2**32 - 1):
    keys_raw("type %d" % kind, string("k") + struct.pack("<I", kind) + b"\0" * 32, r"value type")
    keys_raw("an array of type %d" % kind, string("k") + struct.pack("<IIQ", ARRAY, kind, 1) + b"\0" * 32, r"value type")
keys_raw("an array of arrays", string("k") + struct.pack("<IIQ", ARRAY, ARRAY, 1) + array(U8, [1]), r"array of arrays")
keys_raw("an array of a thousand arrays within each other", string("k") + struct.pack("<I", ARRAY) + struct.pack("<IQ", ARRAY, 1) * 1000, r"array of arrays")
for stored in (2, 255):
    keys_raw("a bool of %d" % stored, string("k") + value(BOOL, stored), r"bool")
keys_raw("an array of bools of 2", string("k") + struct.pack("<I", ARRAY) + array(BOOL, [0, 1, 2]), r"bool")
keys_raw("a string in an array that is too long", string("k") + struct.pack("<IIQ", ARRAY, STRING, 2) + string("v") + struct.pack("<Q", HUGE), r"limit|ends after")
parsed("a key twice", gguf(tensors=[], keys=[("k", value(U8, 1)), ("k", value(U8, 1))]), r"'k' is there twice")
parsed("a key twice among thousands", gguf(tensors=[], keys=[("k%d" % i, value(U8, 1)) for i in range(5000)] + [("k2500", value(U8, 1))]), r"'k2500' is there twice")
parsed("sixty-six thousand keys", gguf(tensors=[], keys=[("k%d" % i, value(U8, 1)) for i in range(66000)]), r"66000 keys.*limit")
for alignment in (0, 3, 7, 33, 48, 2**21, 2**31, 2**32 - 1):
    parsed("alignment %d" % alignment, gguf(keys={"general.alignment": value(U32, alignment)}, tensors=ONE), r"alignment")
for kind in (U8, I32, U64, F32, STRING, BOOL):
    parsed("alignment of type %d" % kind, gguf(keys={"general.alignment": value(kind, "32" if kind == STRING else 1)}, tensors=ONE), r"alignment")
parsed("alignment as an array", gguf(keys={"general.alignment": value(ARRAY, array(U32, [32]))}, tensors=ONE), r"alignment")
parsed("sound, alignment 1", gguf(keys={"general.alignment": value(U32, 1)}, tensors=ONE, alignment=1), r"1 tensors", sound=True)
parsed("sound, alignment of a megabyte", gguf(keys={"general.alignment": value(U32, 1 << 20)}, tensors=ONE, alignment=1 << 20), r"1 tensors", sound=True)
parsed("laid out for an alignment of 8, said to be 64", gguf(keys={"general.alignment": value(U32, 64)}, tensors=ONE * 1 + [Tensor("u", "F32", (1,), b"\0" * 4)], alignment=8),
       r"offset|of the file")


# Tensors.
def tensors(name, made, match, sound=False, **other):
    parsed("tensor: " + name, gguf(keys={}, tensors=made, **other), match, sound)


T = ONE[0]
for rank in (0, 3, 4, 5, 100, 2**31, 2**32 - 1):
    tensors("%d dimensions said" % rank, [T.changed(rank=rank)], r"dimensions|tensor 't'|ends after|tensors in")
tensors("five dimensions", [Tensor("t", "F32", (4, 2, 1, 1, 1), T.data)], r"5 dimensions")
for ne in ((0, 2), (4, 0), (2**63, 1), (2**64 - 1, 1), (2**32, 2**32), (2**62, 4), (2**31, 2**31, 4), (HUGE, 1)):
    tensors("elements of %s" % (ne,), [Tensor("t", "F32", ne, T.data)], r"tensor 't'")
for kind in ("Q4_0", "Q8_0", "Q4_K", "Q6_K", "TQ1_0", "MXFP4", "NVFP4", "Q1_0", "Q2_0", "IQ4_NL"):
    block = TYPES[kind][1]
    for inner in (1, block - 1, block + 1, block // 2):
        tensors("%s in rows of %d" % (kind, inner), [Tensor("t", kind, (inner, 4), b"\0" * 4096)], r"whole blocks of %d" % block)
for type_id in (4, 5, 9, 15, 16, 17, 18, 19, 21, 22, 29, 31, 32, 33, 36, 37, 38, 43, 99, 255, 2**31, 2**32 - 1):
    tensors("type %d" % type_id, [T.changed(type_id=type_id)], r"type %d is not read|tensor 't'" % type_id)
for offset in (1, 31, 32, 64, 2**32, HUGE, 2**63, 2**64 - 1, 2**64 - 32):
    tensors("the first at offset %d" % offset, [T.changed(offset=offset)], r"offset")
SECOND = Tensor("u", "F32", (4,), b"\0" * 16)
for offset in (0, 4, 31, 33, 48, 64, 2**64 - 32):
    tensors("the second at offset %d" % offset, [T, SECOND.changed(offset=offset)], r"'u': offset")
tensors("two at one offset", [T, SECOND.changed(offset=0)], r"offset")
tensors("in the other order", [T.changed(offset=32), SECOND.changed(offset=0)], r"offset")
tensors("a name twice", [T, T], r"'t'.*twice|twice")
tensors("an empty name", [T.changed(name="")], r"empty name")
for length in (64, 65, 1000, 60000):
    tensors("a name of %d bytes" % length, [T.changed(name="n" * length)], r"limit")
tensors("sound, a name of 63 bytes", [T.changed(name="n" * 63)], r"1 tensors", sound=True)
for name in ("a b", "a\nb", "\x1b[2J", "\u00e9", "a\0b", "../../etc/passwd "):
    tensors("called %r" % name, [T.changed(name=name)], r"printable|name")
tensors("no data", [T.changed(data=b"")], r"of the file, which has")
tensors("half the data", [T.changed(data=b"\0" * 16)], r"of the file, which has", short=16)
tensors("seventy thousand of them", [Tensor("t%d" % i, "F32", (1,), b"\0" * 4) for i in range(70000)], r"70000 tensors.*limit")
case("gguf: a terabyte of nothing", lambda where: open(os.path.join(where, "model.gguf"), "wb").truncate(1 << 40), r"magic|GGUF", INSPECT, names="model.gguf")


def sparse(where):
    with open(os.path.join(where, "model.gguf"), "wb") as out:
        out.write(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + string("k") + struct.pack("<IIQ", ARRAY, STRING, 1 << 29))
        out.truncate(1 << 40)


case("gguf: half a thousand million empty strings in a sparse terabyte", sparse, r"limit", INSPECT, names="model.gguf")
case("gguf: a FIFO", lambda where: os.mkfifo(os.path.join(where, "model.gguf")), r"not a regular file|FIFO", INSPECT, names="model.gguf")

# As a model: metadata.
REQUIRED = ("general.architecture", "llama.embedding_length", "llama.block_count", "llama.feed_forward_length", "llama.attention.head_count",
            "llama.attention.layer_norm_rms_epsilon", "tokenizer.ggml.model", "tokenizer.ggml.tokens", "tokenizer.ggml.merges")
for key in REQUIRED:
    opened("without %s" % key, gguf(keys=changed(**{key: None})), re.escape(key) + r"|says nothing that a (config|tokenizer)\.json can be made of")
SIZES = ("context_length", "embedding_length", "block_count", "feed_forward_length", "attention.head_count", "attention.head_count_kv")
for key in SIZES:
    full = "llama." + key
    for kind, content in ((U32, 0), (I32, -1), (I64, -HUGE), (U64, HUGE), (U64, 2**64 - 1), (U32, 2**32 - 1), (F32, 32.0), (STRING, "32"), (BOOL, 1), (ARRAY, array(U32, [32])),
                          (ARRAY, array(STRING, ["32"]))):
        opened("%s is %r of type %d" % (key, content if not isinstance(content, bytes) else "an array", kind), gguf(keys=changed(**{full: value(kind, content)})),
               re.escape(key) + r"|heads|config\.json|config wants|is missing|beyond")
for key, good in (("embedding_length", HIDDEN), ("feed_forward_length", FFN), ("attention.head_count", HEADS), ("block_count", 1)):
    for other in (good + 1, good * 2, good * 1000, 2**31 - 1):
        opened("%s is %d" % (key, other), gguf(keys=changed(**{"llama." + key: value(U32, other)})), r"tensor|heads|beyond|hidden|%s|even|missing|rows|dimension_count" % re.escape(key), names="m")
for kind, content in ((F32, float("nan")), (F32, float("inf")), (F32, -1.0), (F32, 2.0), (U32, 7), (STRING, "1e-5"), (ARRAY, array(F32, [1e-5]))):
    opened("epsilon is %r of type %d" % (content if not isinstance(content, bytes) else "an array", kind),
           gguf(keys=changed(**{"llama.attention.layer_norm_rms_epsilon": value(kind, content)})), r"epsilon|eps")
for kind, content in ((F32, float("nan")), (F32, float("inf")), (F32, -1.0), (F32, 0.0), (STRING, "10000"), (ARRAY, array(F32, [1e4]))):
    opened("rope.freq_base is %r of type %d" % (content if not isinstance(content, bytes) else "an array", kind),
           gguf(keys=changed(**{"llama.rope.freq_base": value(kind, content)})), r"freq_base|rope_theta|rope")
for kind, content in ((U32, 0), (U32, 3), (U32, 15), (U32, 17), (U32, 2**32 - 1), (I32, -2), (STRING, "16")):
    opened("rope.dimension_count is %r" % content, gguf(keys=changed(**{"llama.rope.dimension_count": value(kind, content)})), r"dimension_count|rope|rotary")
for content in ("magic", "", "LINEAR", "longrope", "dynamic"):
    opened("rope scaling of type %r" % content, gguf(keys=changed(**{"llama.rope.scaling.type": value(STRING, content), "llama.rope.scaling.factor": value(F32, 2.0)})), r"rope|scaling")
for content in (0.0, -1.0, float("nan"), float("inf")):
    opened("rope scaling by %r" % content, gguf(keys=changed(**{"llama.rope.scaling.type": value(STRING, "linear"), "llama.rope.scaling.factor": value(F32, content)})), r"factor|rope|scaling")
for name in ("", "magic", "LLAMA", "llama ", "qwen9", "clip", "n" * 60000, "../llama"):
    opened("architecture %r" % name[:20], gguf(keys=changed(**{"general.architecture": value(STRING, name)})), r"architecture")
for kind, content in ((U32, 1), (ARRAY, array(STRING, ["llama"]))):
    opened("architecture of type %d" % kind, gguf(keys=changed(**{"general.architecture": value(kind, content)})), r"architecture")
opened("architecture with a NUL", gguf(keys=changed(**{"general.architecture": value(STRING, "lla\0ma")})), r"architecture")
for key in ("attention.scale", "attn_logit_softcapping", "logit_scale", "embedding_scale", "residual_scale", "final_logit_softcapping"):
    opened("%s, which is not computed here" % key, gguf(keys=changed(**{"llama." + key: value(F32, 2.0)})), re.escape(key))
opened("experts", gguf(keys=changed(**{"llama.expert_count": value(U32, 8)})), r"expert")
opened("keys and values of different sizes", gguf(keys=changed(**{"llama.attention.value_length": value(U32, 8)})), r"value|alike")

# As a model: tensors.
for t in model_tensors():
    with_tensor("without %s" % t.name, r"is missing|token_embd", which=t.name, drop=True, names="m")
with_tensor("ffn_up of another width", r"up_proj|ffn_up", ne=(HIDDEN * 2, FFN), data=blocks("Q8_0", HIDDEN * 2, FFN), names="m")
with_tensor("ffn_up of another height", r"up_proj|ffn_up", ne=(HIDDEN, FFN * 2), data=blocks("Q8_0", HIDDEN, FFN * 2), names="m")
with_tensor("ffn_up turned", r"up_proj|ffn_up", ne=(FFN, HIDDEN), data=blocks("Q8_0", FFN, HIDDEN), names="m")
with_tensor("ffn_up of one dimension", r"up_proj|ffn_up", ne=(HIDDEN * FFN,), data=blocks("Q8_0", HIDDEN, FFN), names="m")
with_tensor("ffn_up of four dimensions", r"up_proj|ffn_up", ne=(HIDDEN, FFN, 1, 1), data=blocks("Q8_0", HIDDEN, FFN), names="m")
with_tensor("the norm is a matrix", r"norm", which="output_norm.weight", ne=(HIDDEN, 1), names="m")
with_tensor("the embedding is a vector", r"token_embd|embed", which="token_embd.weight", ne=(HIDDEN * VOCAB,), names="m")
with_tensor("attn_q of an odd number of rows", r"attn_q|q_proj|rows", which="blk.0.attn_q.weight", ne=(HIDDEN, HIDDEN - 1), data=blocks("Q8_0", HIDDEN, HIDDEN - 1), names="m")
for kind, at, bad in (("Q8_0", 0, b"\x00\x7e"), ("Q8_0", 0, b"\x00\x7c"), ("Q8_0", 0, b"\x00\xfc"), ("Q4_0", 0, b"\x00\x7e"), ("Q4_1", 2, b"\x00\x7e"), ("Q5_1", 2, b"\x00\xfc"), ("F16", 0, b"\x00\x7e"),
                      ("BF16", 0, b"\xc0\x7f"), ("F32", 0, b"\x00\x00\xc0\x7f"), ("MXFP4", 0, b"\xff"), ("IQ4_NL", 0, b"\x00\x7e")):
    data = bytearray(blocks(kind, HIDDEN, FFN))
    data[at:at + len(bad)] = bad
    with_tensor("ffn_up of %s with %s" % (kind, bad.hex()), r"(up_proj|ffn_up).*(element|finite|NaN|nan|inf)", kind=kind, type_id=TYPES[kind][0], data=bytes(data), names="m")
opened("a norm of NaN", gguf(tensors=[t.changed(data=b"\0\0\xc0\x7f" * HIDDEN) if t.name == "output_norm.weight" else t for t in model_tensors()]), r"norm.*element", names="norm")

# The vocabulary.
TOKENS = "tokenizer.ggml.tokens"
for name, words in (("one word less", WORDS[:-1]), ("one word more", WORDS + ["x"]), ("no word", []), ("a word twice", WORDS[:-1] + ["a"]), ("invalid UTF-8", WORDS[:-1] + [b"\xff"]),
                    ("a surrogate", WORDS[:-1] + [b"\xed\xa0\x80"]), ("a million words", ["w%d" % i for i in range(200000)])):
    opened("tokens: %s" % name, gguf(keys=changed(**{TOKENS: value(ARRAY, array(STRING, words)), "tokenizer.ggml.token_type": None})), r"token|vocab", names="m")
for kind, content in ((STRING, "x"), (U32, 7), (ARRAY, array(I32, [1] * VOCAB)), (ARRAY, array(F32, [1.0] * VOCAB))):
    opened("tokens of type %d, %d bytes" % (kind, len(content) if isinstance(content, bytes) else 0), gguf(keys=changed(**{TOKENS: value(kind, content)})), r"token")
for name, kinds in (("one less", [1] * (VOCAB - 1)), ("one more", [1] * (VOCAB + 1)), ("type 7", [7] * VOCAB), ("type -1", [-1] * VOCAB), ("none", [])):
    opened("token_type: %s" % name, gguf(keys=changed(**{"tokenizer.ggml.token_type": value(ARRAY, array(I32, kinds))})), r"token_type|type")
opened("token_type of strings", gguf(keys=changed(**{"tokenizer.ggml.token_type": value(ARRAY, array(STRING, ["1"] * VOCAB))})), r"token_type")
for merges in (["ab"], ["a  b"], ["a b c"], [""], [" "], ["a z"], ["z a"], ["c b"], [b"\xff \xff"], ["a b"] * 70000 + ["x"]):
    opened("merges %r" % (merges[-1],), gguf(keys=changed(**{"tokenizer.ggml.merges": value(ARRAY, array(STRING, merges))})), r"merge", names="m")
for kind, content in ((STRING, "a b"), (U32, 1), (ARRAY, array(I32, [1]))):
    opened("merges of type %d, %r" % (kind, content if not isinstance(content, bytes) else "array"), gguf(keys=changed(**{"tokenizer.ggml.merges": value(kind, content)})), r"merges")
for name in ("", "magic", "bert", "GPT2", "t5", "rwkv"):
    opened("tokenizer model %r" % name, gguf(keys=changed(**{"tokenizer.ggml.model": value(STRING, name)})), r"tokenizer\.ggml\.model|tokenizer")
for name in ("", "magic", "GPT-2", "\x1b[31m", "n" * 100000):
    opened("pre-tokenizer %r" % name[:20], gguf(keys=changed(**{"tokenizer.ggml.pre": value(STRING, name)})), r"tokenizer\.ggml\.pre|pre")
for key in ("bos_token_id", "eos_token_id"):
    for kind, content in ((STRING, "0"), (F32, 0.0), (I32, -1), (BOOL, 1), (ARRAY, array(U32, [0]))):
        opened("%s of type %d" % (key, kind), gguf(keys=changed(**{"tokenizer.ggml." + key: value(kind, content)})), key)
for key in ("add_bos_token", "add_eos_token"):
    for kind, content in ((U32, 1), (STRING, "true"), (ARRAY, array(BOOL, [1]))):
        opened("%s of type %d" % (key, kind), gguf(keys=changed(**{"tokenizer.ggml." + key: value(kind, content)})), key)
SPM = {"tokenizer.ggml.model": value(STRING, "llama"), "tokenizer.ggml.pre": value(STRING, "default"), "tokenizer.ggml.merges": None}
for name, scores in (("one less", [0.0] * (VOCAB - 1)), ("one more", [0.0] * (VOCAB + 1)), ("none", []), ("NaN", [float("nan")] * VOCAB), ("infinity", [float("inf")] * VOCAB)):
    opened("SPM scores: %s" % name, gguf(keys=changed(**dict(SPM, **{"tokenizer.ggml.scores": value(ARRAY, array(F32, scores))}))), r"score", names="m")
opened("SPM without scores", gguf(keys=changed(**SPM)), r"score", names="m")

# Folders.
case("gguf folder: sound", {"model.gguf": gguf()}, r"7 linear layers", ("inspect", "."), sound=True)
case("gguf folder: two files that are no set", {"a.gguf": gguf(), "b.gguf": gguf()}, r"no set|several", ("inspect", "."), names="a.gguf")
case("gguf folder: a set of which one is missing", {"m-00001-of-00002.gguf": gguf()}, r"but not 'm-00002-of-00002\.gguf'|00002", ("inspect", "."))
case("gguf folder: a link out of it", lambda where: os.symlink("/etc/hostname", os.path.join(where, "model.gguf")), r"leads out of its folder|gguf|no GGUF", ("inspect", "."))
case("gguf folder: a config.json of another model", {"model.gguf": gguf(), "config.json": config(hidden_size=64)}, r"config wants|hidden|shape", ("inspect", "."))
case("gguf folder: a config.json that is none", {"model.gguf": gguf(), "config.json": b"{"}, r"config\.json", ("inspect", "."), names="config.json")
case("gguf folder: a tokenizer.json that is none", {"model.gguf": gguf(), "tokenizer.json": b"{", "text": TEXT}, r"tokenizer\.json", ("eval", ".", "--text", "./text", "--length", "8"))

if __name__ == "__main__":
    run_cases()
