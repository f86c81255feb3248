"""kit.py: hostile files from rules, and the run that each gets: the real binary, an error that names what is wrong, within a second and 256 MB.

A case is a name, the files of a folder (name -> bytes, or a function that makes them there), the command, and what the message must match.
Sound folders are cases as well: what refuses everything refuses nothing. Standard library only.
"""
import atexit
import json
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time

SOURCE = os.environ.get("QUANTD_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
QUANTD = os.environ.get("QUANTD", os.path.join(SOURCE, "build", "quantd"))
SLOW = max(1.0, float(os.environ.get("QUANTD_TEST_SLOW", "1")))  # sanitizers: several times slower
SECONDS = 1.0 * SLOW
MEBIBYTES = 256
HANGS = 30.0 * SLOW  # wall clock: the machine may be busy; processor time is what is held to SECONDS
BROKEN = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:|Assertion|UndefinedBehavior|Segmentation")
HUGE = 2**63 - 1


# ---- files ----

def literal(value):
    """JSON text of a value; str as it is."""
    return value if isinstance(value, str) else json.dumps(value)


def safetensors(tensors, metadata=None, header=None, length=None, tail=b"", pad=0):
    """name -> (dtype, shape, bytes). header: text or bytes instead; length: another length word."""
    offset, entries, data = 0, {} if metadata is None else {"__metadata__": metadata}, []
    for name, (dtype, shape, content) in tensors.items():
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + len(content)]}
        offset += len(content)
        data.append(content)
    text = json.dumps(entries, separators=(",", ":")) if header is None else header
    text = text.encode() if isinstance(text, str) else text
    text += b" " * pad
    return struct.pack("<Q", len(text) if length is None else length) + text + b"".join(data) + tail


def floats(*shape, value=0.0):
    count = 1
    for n in shape:
        count *= n
    return ("F32", shape, struct.pack("<f", value) * count)


def ints(*values, kind="I32"):
    return (kind, (len(values),), struct.pack("<%d%s" % (len(values), {"I32": "i", "I64": "q"}[kind]), *values))


HIDDEN, FFN, HEADS, VOCAB = 32, 64, 2, 8
LINEARS = {"self_attn.q_proj": (HIDDEN, HIDDEN), "self_attn.k_proj": (HIDDEN, HIDDEN), "self_attn.v_proj": (HIDDEN, HIDDEN),
           "self_attn.o_proj": (HIDDEN, HIDDEN), "mlp.gate_proj": (FFN, HIDDEN), "mlp.up_proj": (FFN, HIDDEN),
           "mlp.down_proj": (HIDDEN, FFN)}
CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": FFN,
          "num_hidden_layers": 1, "num_attention_heads": HEADS, "vocab_size": VOCAB, "max_position_embeddings": 64,
          "rms_norm_eps": 1e-5, "hidden_act": "silu", "bos_token_id": 0, "torch_dtype": "float32"}


def some_floats(*shape, seed=1):
    """Small numbers that differ."""
    count = 1
    for n in shape:
        count *= n
    values = [((i * 7919 + seed * 104729) % 2003 - 1001) / 8192 for i in range(count)]
    return ("F32", shape, struct.pack("<%df" % count, *values))


def ends():
    return {"model.embed_tokens.weight": some_floats(VOCAB, HIDDEN), "model.norm.weight": floats(HIDDEN, value=1.0),
            "model.layers.0.input_layernorm.weight": floats(HIDDEN, value=1.0),
            "model.layers.0.post_attention_layernorm.weight": floats(HIDDEN, value=1.0)}


def weights(**other):
    """All tensors of the tiny model; a name given as None is left out."""
    found = ends()
    for number, (name, shape) in enumerate(LINEARS.items()):
        found["model.layers.0.%s.weight" % name] = some_floats(*shape, seed=number + 2)
    return {name: tensor for name, tensor in dict(found, **other).items() if tensor is not None}


def config(**other):
    """config.json of the tiny model; a value given as DROP is left out."""
    return json.dumps({key: value for key, value in dict(CONFIG, **other).items() if value is not DROP}).encode()


class Drop:
    pass


DROP = Drop()

TOKENIZER = {"version": "1.0", "added_tokens": [{"id": 0, "content": "<s>", "special": True}], "normalizer": None,
             "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
             "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                                                                         {"Sequence": {"id": "A", "type_id": 0}}],
                                "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}},
             "decoder": {"type": "ByteLevel"},
             "model": {"type": "BPE", "vocab": {"<s>": 0, "a": 1, "b": 2, "ab": 3, "c": 4, "\u0120": 5, "\u0120a": 6, "abc": 7},
                       "merges": ["a b", "\u0120 a", "ab c"]}}


def tokenizer(model=None, **other):
    """tokenizer.json of the tiny model with members changed; model: members of its model."""
    made = json.loads(json.dumps(TOKENIZER))
    made.update(other)
    if model is not None:
        made["model"].update(model)
    for part in (made, made["model"]):
        for key in [key for key, value in part.items() if value is DROP]:
            del part[key]
    return json.dumps(made).encode()


def folder(**other):
    """The tiny model as files; members are config, model, tokenizer, or whole names (with _ for the dot: put them by `files`)."""
    files = {"config.json": config(), "model.safetensors": safetensors(weights(), {"format": "pt"}), "tokenizer.json": tokenizer()}
    names = {"config": "config.json", "model": "model.safetensors", "tokenizer": "tokenizer.json"}
    files.update({names.get(name, name): content for name, content in other.items()})
    return {name: content for name, content in files.items() if content is not None}


# ---- the run ----

CASES = []


def case(name, files, match, verb=("inspect", "."), names=None, stdin=b"", sound=False):
    """files: dict of a folder, or a function(folder). verb: the command, "." standing for the folder, "./X" for a file in it.
    names: what the message must name besides; default: the one file that is spoilt cannot be known, so nothing."""
    again = sum(re.sub(r" \(\d+\)$", "", c["name"]) == name for c in CASES)
    CASES.append({"name": name if again == 0 else "%s (%d)" % (name, again + 1), "files": files, "match": match, "verb": verb, "names": names, "stdin": stdin, "sound": sound})


def one_file(name, content, match, file="model.safetensors"):
    """A single file through `quantd inspect`; the message names it."""
    case(name, {file: content}, match, verb=("inspect", "./" + file), names=file)


class Repeat:
    """A file of one piece many times, never whole in memory: a child begins with the peak of its parent."""

    def __init__(self, head, unit, times, tail):
        self.parts = (head, unit, times, tail)

    def write(self, out):
        head, unit, times, tail = self.parts
        block = max(1, (1 << 16) // len(unit))
        out.write(head)
        for _ in range(times // block):
            out.write(unit * block)
        out.write(unit * (times % block) + tail)


def put(where, files):
    if callable(files):
        files(where)
        return
    for name, content in files.items():
        path = os.path.join(where, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as out:
            content.write(out) if isinstance(content, Repeat) else out.write(content)


def environment():
    made = dict(os.environ, OPENBLAS_NUM_THREADS="1")
    # What the sanitizer keeps of freed memory is not the program's.
    made["ASAN_OPTIONS"] = ":".join([made.get("ASAN_OPTIONS", ""), "quarantine_size_mb=8", "allocator_may_return_null=1"]).strip(":")
    return made


def execute(command, stdin, where):
    """-> status, text, processor seconds, MiB at most."""
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment(), cwd=where)
    watch = threading.Timer(HANGS, child.kill)
    watch.start()
    try:
        try:
            child.stdin.write(stdin)
            child.stdin.close()
        except BrokenPipeError:
            pass
        text = child.stdout.read(1 << 20)
        while child.stdout.read(1 << 16):
            pass
        child.stdout.close()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = status
    finally:
        watch.cancel()
    code = os.waitstatus_to_exitcode(status)
    return code, text.decode("utf-8", "replace"), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def judge(spec, code, text, seconds, mebibytes):
    """What is wrong with how a case went; None: nothing."""
    if BROKEN.search(text):
        return "the program broke"
    if code < 0:
        return "ended by signal %d" % -code
    if spec["sound"] and code != 0:
        return "a sound case was refused"
    if not spec["sound"] and code != 1:
        return "exit status %d instead of 1" % code
    if not re.search(spec["match"], text):
        return "the message does not match %r" % spec["match"]
    if spec["names"] and spec["names"] not in text:
        return "the message does not name %r" % spec["names"]
    if seconds > SECONDS:
        return "%.2f s of processor time, %.2f are allowed" % (seconds, SECONDS)
    if mebibytes > MEBIBYTES:
        return "%.0f MiB, %d are allowed" % (mebibytes, MEBIBYTES)
    return None


def scratch():
    made = tempfile.mkdtemp(prefix="quantd-hostile-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def run_cases():
    """TAP: a line a case; the last line but one says what was the most."""
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    cases = [c for c in CASES if only in c["name"]]
    root = scratch()
    slowest, largest = (0, ""), (0, "")
    print("1..%d" % len(cases), flush=True)
    for number, spec in enumerate(cases, 1):
        where = os.path.join(root, "m")
        os.makedirs(where)
        try:
            put(where, spec["files"])
            command = [QUANTD] + [re.sub(r"^\.(?=$|/)", lambda _: where, part) for part in spec["verb"]]
            code, text, seconds, mebibytes = execute(command, spec["stdin"], where)
            wrong = judge(spec, code, text, seconds, mebibytes)
            slowest, largest = max(slowest, (seconds, spec["name"])), max(largest, (mebibytes, spec["name"]))
        except OSError as why:
            wrong, text = str(why), ""
        print("%s %d - %s" % ("ok" if wrong is None else "not ok", number, spec["name"]), flush=True)
        if wrong is not None or os.environ.get("QUANTD_HOSTILE_SHOW"):
            print("# %s: %s" % (wrong, text.strip()[:1500].replace("\n", "\n#   ")), flush=True)
        shutil.rmtree(where)
    print("# %d sound and %d hostile; most processor time %.3f s (%s), most memory %.0f MiB (%s)" %
          (sum(c["sound"] for c in cases), sum(not c["sound"] for c in cases), slowest[0], slowest[1], largest[0], largest[1]))
