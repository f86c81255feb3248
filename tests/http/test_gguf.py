"""A .gguf as a job's input, by file, by HTTP and by folder: the model it was written from, and a job that says what it was."""
import json
import os
import struct
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *  # noqa: E402,F403

U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
PARTS = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
         "post_attention_layernorm": "ffn_norm"}


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def pack_value(kind, value):
    return text(value) if kind == STRING else struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}[kind], value)


def pack_key(key, kind, value, element=None):
    if kind != ARRAY:
        return text(key) + struct.pack("<I", kind) + pack_value(kind, value)
    return text(key) + struct.pack("<IIQ", kind, element, len(value)) + b"".join(pack_value(element, v) for v in value)


def rename(name):
    ends = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    if name in ends:
        return ends[name]
    _, _, block, part = name.split(".", 3)
    return "blk.%s.%s.weight" % (block, PARTS[part[:-len(".weight")]])


def floats(dtype, data):
    if dtype == "F32":
        return struct.unpack("<%df" % (len(data) // 4), data)
    assert dtype == "BF16", dtype
    halves = struct.unpack("<%dH" % (len(data) // 2), data)
    return struct.unpack("<%df" % len(halves), struct.pack("<%dI" % len(halves), *(h << 16 for h in halves)))


def q8_0(values):
    """Blocks of 32: a scale in half precision and signed bytes."""
    out = bytearray()
    for at in range(0, len(values), 32):
        block = values[at:at + 32]
        scale = struct.unpack("<e", struct.pack("<e", max(map(abs, block)) / 127))[0]
        codes = [max(-127, min(127, round(v / scale))) if scale else 0 for v in block]
        out += struct.pack("<e32b", scale, *codes)
    return bytes(out)


def interleave(values, width, heads):
    """Llama's q and k rows as GGUF files have them: row (h, 2i + j) is row (h, j half + i)."""
    rows = [values[at:at + width] for at in range(0, len(values), width)]
    size = len(rows) // heads
    order = [h * size + j * (size // 2) + i for h in range(heads) for i in range(size // 2) for j in range(2)]
    return [v for row in order for v in rows[row]]


def write_gguf(path, folder):
    """The model of a folder with its weights as Q8_0, and everything else in the metadata."""
    config = json.load(open(os.path.join(folder, "config.json")))
    tokenizer = json.load(open(os.path.join(folder, "tokenizer.json")))
    pieces = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    special = {entry["id"] for entry in tokenizer["added_tokens"]}
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    keys = [("general.architecture", STRING, "llama"), ("general.name", STRING, "novella"), ("general.file_type", U32, 7),
            ("llama.context_length", U32, config["max_position_embeddings"]), ("llama.embedding_length", U32, config["hidden_size"]),
            ("llama.block_count", U32, config["num_hidden_layers"]), ("llama.feed_forward_length", U32, config["intermediate_size"]),
            ("llama.attention.head_count", U32, heads), ("llama.attention.head_count_kv", U32, kv_heads),
            ("llama.attention.layer_norm_rms_epsilon", F32, config["rms_norm_eps"]), ("llama.rope.freq_base", F32, 10000.0),
            ("llama.rope.dimension_count", U32, config["head_dim"]), ("llama.vocab_size", U32, config["vocab_size"]),
            ("tokenizer.ggml.model", STRING, "gpt2"), ("tokenizer.ggml.pre", STRING, "llama-bpe"),
            ("tokenizer.ggml.tokens", ARRAY, [piece for piece, _ in pieces], STRING),
            ("tokenizer.ggml.token_type", ARRAY, [3 if number in special else 1 for _, number in pieces], I32),
            ("tokenizer.ggml.merges", ARRAY, ["%s %s" % tuple(pair) for pair in tokenizer["model"]["merges"]], STRING),
            ("tokenizer.ggml.bos_token_id", U32, 0), ("tokenizer.ggml.eos_token_id", U32, 1),
            ("tokenizer.ggml.add_bos_token", BOOL, True)]
    infos, data = b"", b""
    tensors = read_safetensors(open(os.path.join(folder, "model.safetensors"), "rb").read())
    for name, (dtype, shape, stored) in tensors.items():
        values = list(floats(dtype, stored))
        if "q_proj" in name or "k_proj" in name:
            values = interleave(values, shape[1], heads if "q_proj" in name else kv_heads)
        kind, packed = (0, struct.pack("<%df" % len(values), *values)) if len(shape) == 1 else (8, q8_0(values))
        infos += text(rename(name)) + struct.pack("<I%dQIQ" % len(shape), len(shape), *reversed(shape), kind, len(data))
        data += packed + bytes(-len(packed) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join(pack_key(*key) for key in keys) + infos
    with open(path, "wb") as out:
        out.write(head + bytes(-len(head) % 32) + data)


ROOT = temporary_folder()
for name in ("one", "two"):
    os.mkdir(os.path.join(ROOT, name))
GGUF = os.path.join(ROOT, "one", "novella.Q8_0.gguf")
write_gguf(GGUF, MODEL)
copy_model(ROOT, "novella-1m")
for name in ("a.gguf", "b.gguf"):
    os.link(GGUF, os.path.join(ROOT, "two", name))
MODELS = ModelServer(ROOT)
SERVER = Server("--file-root", ROOT, "--hub-url", MODELS.url + "/hub")
STATE = {}


def quantd(*arguments, given=None):
    done = subprocess.run([QUANTD] + list(arguments), input=given, capture_output=True, text=True, timeout=120 * SLOW)
    equal(done.returncode, 0, " ".join(arguments) + ": " + done.stderr)
    return done.stdout


def a_job_on_a_local_gguf_succeeds_and_says_what_its_source_was():
    job = SERVER.succeed(quick_job("file://" + GGUF))
    STATE["job"] = job
    equal(job["result"]["source"], {"quantized": "GGUF Q8_0", "tensors": {"F32": 13, "Q8_0": 43}})
    equal([f["name"] for f in job["resolved"]["model"]["files"]], ["model.gguf"])
    events = SERVER.request("GET", "/jobs/%s/events" % job["id"])[2].decode()
    assert "quantized already, as GGUF Q8_0" in events, events[:2000]


def its_source_is_the_model_that_the_file_was_written_from():
    # The folder's weights are BF16, the file's are not: one arithmetic for both.
    plain = SERVER.succeed(quick_job(MODELS.model("novella-1m"), arithmetic="float32"))
    equal(plain["result"]["source"], None)
    got, want = STATE["job"]["result"]["perplexity"], plain["result"]["perplexity"]
    for key in ("source", "quantized"):
        assert abs(got[key] / want[key] - 1) < 0.02, (key, got, want)


def by_http_and_as_a_folders_only_weights_it_is_the_same_artifact():
    first = SERVER.artifact(STATE["job"]["id"])
    card = first.pop("README.md").decode()
    assert "base_model" not in card and "quantized already, as GGUF Q8_0" in card, card
    for url in (MODELS.url + "/files/one/novella.Q8_0.gguf", "file://" + os.path.dirname(GGUF), "hf://org/one",
                MODELS.url + "/hub/org/two/resolve/main/b.gguf"):
        job = SERVER.succeed(quick_job(url))
        files = SERVER.artifact(job["id"])
        own = files.pop("README.md").decode()
        assert files == first, (url, [name for name in first if files.get(name) != first[name]])
        if url.startswith("hf://"):  # the hub's name is all that a card says more
            assert "base_model: org/one\n" in own, own
            own = own.replace("base_model: org/one\nbase_model_relation: quantized\n", "").replace("# org/one, ", "# LlamaForCausalLM, ")
        equal(own, card, url)


def the_artifact_has_what_a_client_needs():
    files = SERVER.artifact(STATE["job"]["id"])
    recipe = json.loads(files["recipe.json"])
    equal(recipe["source"]["quantized"], "GGUF Q8_0")
    config, original = json.loads(files["config.json"]), json.load(open(os.path.join(MODEL, "config.json")))
    for key in ("architectures", "hidden_size", "num_key_value_heads", "head_dim", "vocab_size", "tie_word_embeddings", "bos_token_id",
                "eos_token_id", "rms_norm_eps", "max_position_embeddings"):
        equal(config[key], original[key], key)
    tokens = json.loads(files["tokenizer_config.json"])
    equal((tokens["bos_token"], tokens["eos_token"], tokens["add_bos_token"]), ("<|begin|>", "<|end|>", True))
    equal(json.loads(files["generation_config.json"])["eos_token_id"], 1)


def its_tokenizer_gives_the_ids_of_the_original():
    lines = [line for line in open(HELD_OUT, encoding="utf-8").read().split("\n") if line][:300]
    lines += ["  It's 12345\t\u00e9\u6f22\U0001f600 <|end|> DON'T\u00a0\n\n "]
    given = "".join(json.dumps({"text": line}) + "\n" for line in lines)
    for extra in ([], ["--special"]):
        equal(quantd("tokenize", GGUF, *extra, given=given), quantd("tokenize", MODEL, *extra, given=given))


def the_command_line_takes_a_file_and_a_folder():
    shown = quantd("inspect", GGUF)
    assert "blk.0.attn_q.weight [128, 128]" in shown and "tokenizer.ggml.pre = llama-bpe" in shown, shown[:3000]
    assert "model.layers.5.mlp.down_proj" in quantd("inspect", os.path.dirname(GGUF))
    of = [json.loads(quantd("eval", path, "--text", HELD_OUT, "--length", "128", "--windows", "8"))["perplexity"]
          for path in (GGUF, os.path.dirname(GGUF), MODEL)]
    equal(of[0], of[1])
    assert abs(of[0] / of[2] - 1) < 0.01, of
    folder = os.path.join(SERVER.state, "artifacts", STATE["job"]["id"])
    quantd("verify", folder, "--against", GGUF)


def several_files_are_named_and_bad_ones_refused():
    SERVER.fail(quick_job("file://" + os.path.join(ROOT, "two")), "a.gguf, b.gguf", "name one")
    SERVER.fail(quick_job(MODELS.url + "/files/one/nothing.gguf"), "404")
    broken = bytearray(open(GGUF, "rb").read())
    at = broken.find(b"llama-bpe")
    broken[at:at + 9] = b"klingon-x"
    with open(os.path.join(ROOT, "broken.gguf"), "wb") as out:
        out.write(broken)
    SERVER.fail(quick_job("file://" + os.path.join(ROOT, "broken.gguf")), "klingon-x", "llama-bpe")
    with open(os.path.join(ROOT, "cut.gguf"), "wb") as out:
        out.write(broken[:len(broken) // 2])
    SERVER.fail(quick_job("file://" + os.path.join(ROOT, "cut.gguf")), "model.gguf")
    SERVER.refused(quick_job("file://" + os.path.join(ROOT, "x.onnx")), None, ".safetensors or .gguf")


run_claims([
    a_job_on_a_local_gguf_succeeds_and_says_what_its_source_was,
    its_source_is_the_model_that_the_file_was_written_from,
    by_http_and_as_a_folders_only_weights_it_is_the_same_artifact,
    the_artifact_has_what_a_client_needs,
    its_tokenizer_gives_the_ids_of_the_original,
    the_command_line_takes_a_file_and_a_folder,
    several_files_are_named_and_bad_ones_refused,
])
