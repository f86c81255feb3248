"""The real llama.cpp and quantd compute the same of the same file, and cut texts into the same tokens.

llama.cpp rounds activations to 8 bits before it multiplies them by quantized weights. So each file is compared twice: as llama.cpp runs it, and
with its weights decoded to float32 by ggml (`llama_client decode`), where both sides compute the same thing and agree to rounding. What rounding
activations costs is then llama.cpp's difference from itself; a file whose codes, scales, names, order of rows or metadata were wrong fails both.

novella-1m and a random model with rows of 256 by default; with QUANTD_SHARED novella-7m too, with QUANTD_LONG_TESTS novella-7m and novella-15m in
every variant. A sanitizer build tries a few.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from compare import *  # noqa: E402,F403
from artifacts import containers  # noqa: E402
import readers  # noqa: E402

EXACT = 1e-9        # KL a token: float32 sums in another order
PUBLISHED = 2e-4    # KL a token with rounded activations, which the format's specification names for novella-7m
ROUNDED = 1.02      # of what llama.cpp differs from itself
NEAR = 0.35         # logits: rounded activations may take either of two words that are as close
CONTINUED = 32

VARIANTS = ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "iq4_nl", "mxfp4", "nvfp4", "q2_0", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "tq1_0", "tq2_0"]
WIDE = ["q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "tq1_0", "tq2_0"]  # blocks of 256
DEFAULT_7M = ["q4_0", "q4_k"]
FOREIGN = [kind for kind in FILE_TYPES if kind not in ("F32", "F16", "BF16", "NVFP4")] if np is not None else []  # its quantizer makes no NVFP4
FEW = ("q4_0", "q4_k", "iq4_nl", "nvfp4")


# ---- the subjects ----

class Subject:
    def __init__(self, folder):
        self.folder = folder
        self.name = os.path.basename(folder)
        self.windows = held_out_windows(folder, 4, 128, 0)
        self.prompts = [window[:24] for window in self.windows[:2]]


SUBJECTS = {}


def subject(name):
    if name not in SUBJECTS:
        needs_numpy()
        prepare()
        if name == "wide":
            folder = wide_model(os.path.join(temporary_folder(), name))
        else:
            folder = MODEL if name == "novella-1m" else os.path.join(SHARED, "models", name)
        SUBJECTS[name] = Subject(folder)
    return SUBJECTS[name]


def made_by_quantd(model, variant):
    """Path of the GGUF file, and the folder with the same weights in float32."""
    folder, floats = containers(model, "gguf:" + variant)
    return os.path.join(folder, "model-%s.gguf" % variant), floats


# ---- what is compared ----

def weights_are(decoded, floats):
    """Every tensor of the decoded file is, bit for bit, what our own dequantized export holds. A scale of a whole matrix lies beside it (NVFP4)."""
    ours = {}
    for name in sorted(os.listdir(floats)):
        if name.endswith(".safetensors"):
            ours.update(read_safetensors(open(os.path.join(floats, name), "rb").read()))
    config = json.load(open(os.path.join(floats, "config.json")))
    theirs = Gguf(decoded).tensors
    for name, (dtype, shape, raw) in ours.items():
        values = np.frombuffer(raw, "<f4") if dtype == "F32" else (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
        values = values.reshape(shape)
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            values = interleaved(values, config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])
        found = np.frombuffer(theirs.pop(gguf_name(name))[2], "<f4").reshape(shape)
        unit = theirs.pop(gguf_name(name).replace(".weight", ".scale"), None)
        found = found if unit is None else found * np.frombuffer(unit[2], "<f4")
        assert np.array_equal(values + 0.0, found + 0.0), "%s: %d values differ" % (name, (values != found).sum())  # 0 is 0 of either sign
    equal(sorted(theirs), [], "tensors of the GGUF file alone")


def continues(model, ours, prompt, slack):
    """llama.cpp's likeliest words after a prompt are ours; where they part, ours has both as near as `slack`."""
    words = llama_greedy(model, prompt, CONTINUED)
    row = prompt + words
    logits = np.frombuffer(our_logits(ours, [row]), "<f4").reshape(len(row), -1)[len(prompt) - 1:-1]
    for place, (line, word) in enumerate(zip(logits, words)):
        behind = float(line.max() - line[word])
        assert behind <= slack, "word %d of %d: llama.cpp says %d, ours is %d, by %.4f" % (place + 1, CONTINUED, word, line.argmax(), behind)
    return sum(int(line.argmax()) == word for line, word in zip(logits, words))


def computes_the_same(subject, gguf, published=None):
    """Of a file: as decoded by ggml, as run by llama.cpp, as continued. Returns its decoded copy."""
    decoded = llama_decode(gguf, os.path.join(temporary_folder(), "decoded.gguf"))
    windows = subject.windows
    ours = log_probabilities(our_logits(gguf, windows), windows)
    exact = log_probabilities(llama_windows("logits", decoded, windows), windows)
    rounded = log_probabilities(llama_windows("logits", gguf, windows), windows)
    apart, cost, own = divergence(ours, exact), divergence(ours, rounded), divergence(exact, rounded)
    same = sum(continues(gguf, gguf, prompt, NEAR) for prompt in subject.prompts)
    for prompt in subject.prompts:
        continues(decoded, gguf, prompt, 0)
    kinds = sorted({t[0] for name, t in Gguf(gguf).tensors.items() if name.startswith("blk.") and len(t[1]) > 1})
    print("# %s %s: KL of llama.cpp with our weights %.1e, as it runs them %.2e (its own rounding %.2e); %d of %d words alike" % (
        subject.name, "+".join(kinds), apart, cost, own, same, CONTINUED * len(subject.prompts)))
    assert apart <= EXACT, apart
    assert cost <= ROUNDED * own + EXACT, (cost, own)
    assert published is None or cost <= published, (cost, published)
    return decoded


# ---- claims ----

ASYMMETRIC = {"kind": "int-asymmetric", "zero": "integer"}
CONVERTED = [("compressed-tensors:pack-quantized", {"bits": 4, "group_size": 128}), ("gptq:v2", {"bits": 4, "group_size": 128, "alphabet": ASYMMETRIC})]
CONVERTED_LONG = [("compressed-tensors:pack-quantized", {"bits": 8, "group_size": 64, "alphabet": ASYMMETRIC}), ("gptq:v1", {"bits": 2, "group_size": 32}),
                  ("compressed-tensors:int-quantized", {}), ("compressed-tensors:nvfp4-pack-quantized", {})]


def converted(name, fields):
    """llama.cpp's converter, which knows nothing of quantd, reads our folder; needs the torch that readers.py installs."""
    def claim():
        one = subject("novella-1m")
        python, _, missing = readers.prepare()
        if missing:
            raise Skip(missing)
        folder, _ = containers(one.folder, name, **fields)
        gguf, decoded = (os.path.join(temporary_folder(), "model.gguf") for _ in range(2))
        said([python, os.path.join(HERE, "convert_with_llama.py"), HEADERS, folder, gguf], env=readers.environment(), timeout=300 * SLOW)
        llama_decode(gguf, decoded)
        apart = divergence(log_probabilities(our_logits(folder, one.windows), one.windows),
                           log_probabilities(llama_windows("logits", decoded, one.windows), one.windows))
        print("# KL %.1e" % apart)
        assert apart <= EXACT, apart
    claim.__name__ = "llama.cpp's converter reads %s of %s bits as quantd does" % (name, fields.get("bits", "its own"))
    return claim


def float_weights():
    subject_ = subject("novella-1m")
    gguf = os.path.join(temporary_folder(), "f32.gguf")
    write_float_gguf(subject_.folder, gguf)
    apart = divergence(log_probabilities(our_logits(subject_.folder, subject_.windows), subject_.windows),
                       log_probabilities(llama_windows("logits", gguf, subject_.windows), subject_.windows))
    print("# KL %.1e" % apart)
    assert apart <= EXACT, apart


def foreign(name, kind):
    """A file that llama.cpp's own quantizer made, read by quantd."""
    def claim():
        one = subject(name)
        folder = temporary_folder()
        source, gguf = os.path.join(folder, "f32.gguf"), os.path.join(folder, "model.gguf")
        write_float_gguf(one.folder, source)
        client("quantize", source, gguf, FILE_TYPES[kind], TYPES[kind])
        computes_the_same(one, gguf)
    claim.__name__ = "quantd reads llama.cpp's own %s of %s as llama.cpp does" % (kind, name)
    return claim


def written(name, variant):
    """A file that quantd wrote, run by llama.cpp."""
    def claim():
        one = subject(name)
        gguf, floats = made_by_quantd(one.folder, variant)
        blocks_of_32 = all(BLOCKS[t[0]][0] <= 32 for t in Gguf(gguf).tensors.values())
        decoded = computes_the_same(one, gguf, PUBLISHED if name == "novella-7m" and blocks_of_32 else None)
        weights_are(decoded, floats)
    claim.__name__ = "llama.cpp runs %s as gguf:%s" % (name, variant)
    return claim


def tokens(name):
    def claim():
        one = subject(name)
        gguf, _ = made_by_quantd(one.folder, "q8_0")
        texts = texts_to_tokenize(special_tokens(one.folder))
        for text, theirs, ours in zip(texts, llama_tokenize(gguf, texts), our_tokenize(one.folder, texts)):
            equal(theirs, ours, repr(text))
    claim.__name__ = "200 texts are the same tokens in llama.cpp and here: " + name
    return claim


def named(claim, name):
    claim.__name__ = name
    return claim


def claims():
    made = [named(float_weights, "llama.cpp and quantd compute the same of float weights"), tokens("novella-1m")]
    made += [foreign("wide", kind) for kind in FOREIGN if SLOW == 1 or kind.lower() in FEW]
    made += [written("wide" if variant in WIDE else "novella-1m", variant) for variant in VARIANTS if SLOW == 1 or variant in FEW]
    if SLOW == 1:
        made += [converted(name, fields) for name, fields in CONVERTED + CONVERTED_LONG * LONG]
    if SHARED:
        made += [written("novella-7m", variant) for variant in (VARIANTS if LONG else DEFAULT_7M)]
        if LONG:
            made += [tokens("novella-7m"), tokens("novella-15m")] + [written("novella-15m", variant) for variant in VARIANTS]
    return made


run_claims(claims())
