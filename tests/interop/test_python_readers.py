"""Python's own readers open what quantd writes and find the weights that it means, bit for bit.

safetensors and gguf read the containers; compressed-tensors unpacks its formats with its own code; GPTQ and AWQ, whose packages want a GPU, are
unpacked here with numpy from the description of their words; transformers loads the compressed-tensors artifact and runs it. Runs in a virtual
environment of the build folder (readers.py); what cannot be installed is skipped with the reason.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from llama import *  # noqa: E402,F403
from artifacts import containers  # noqa: E402
import readers  # noqa: E402

INSTALLED = os.environ.get("QUANTD_TEST_READERS")
if INSTALLED:
    import numpy as np

ASYMMETRIC = {"kind": "int-asymmetric", "zero": "integer"}
NO_TORCH = ""


# ---- artifacts ----

def opened(folder):
    """name -> numpy array, by the safetensors package; bf16 as float32."""
    from safetensors import safe_open
    found = {}
    for file in sorted(os.listdir(folder)):
        if not file.endswith(".safetensors"):
            continue
        raw = read_safetensors(open(os.path.join(folder, file), "rb").read())
        with safe_open(os.path.join(folder, file), framework="numpy") as tensors:
            equal(tensors.metadata(), {"format": "pt"}, "metadata")
            equal(sorted(tensors.keys()), sorted(raw), "names")
            for name in tensors.keys():
                dtype, shape, data = raw[name]
                if dtype in ("BF16", "F8_E4M3"):  # numpy has neither
                    equal(list(tensors.get_slice(name).get_shape()), shape, name)
                    found[name] = (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").reshape(shape) if dtype == "BF16" else data
                    continue
                found[name] = tensors.get_tensor(name)
                equal(found[name].tobytes(), data, name)
    return found


def linears(floats):
    return [name[:-len(".weight")] for name, values in floats.items() if "_proj." in name]


def same(got, want, name):
    got = np.asarray(got, "<f4")
    equal(got.shape, want.shape, name)
    different = int((got.view("<u4") != want.view("<u4")).sum() - ((got == 0) & (want == 0) & (got.view("<u4") != want.view("<u4"))).sum())
    assert different == 0, "%s: %d of %d values differ, by up to %g" % (name, different, got.size, np.abs(got - want).max())


# ---- gguf ----

def gguf_variant(variant):
    def claim():
        import gguf
        folder, wide = containers(MODEL, "gguf:" + variant)
        floats = opened(wide)
        reader = gguf.GGUFReader(os.path.join(folder, "model-%s.gguf" % variant))
        assert reader.get_field("general.architecture").contents() == "llama"
        for tensor in reader.tensors:
            want = floats[hugging_face_name(tensor.name)]
            if tensor.name.endswith(("attn_q.weight", "attn_k.weight")):
                want = want.reshape(-1, 2, 16, want.shape[1]).swapaxes(1, 2).reshape(want.shape)
            got = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            same(np.asarray(got, "<f4").reshape(want.shape), np.ascontiguousarray(want), tensor.name)
        equal(len(reader.tensors), len(floats), "tensors")
    claim.__name__ = "gguf.quants decodes gguf:%s to our weights" % variant
    return claim


def hugging_face_name(name):
    fixed = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight", "output.weight": "lm_head.weight"}
    if name in fixed:
        return fixed[name]
    _, layer, kind, _ = name.split(".")
    long = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
            "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm",
            "ffn_norm": "post_attention_layernorm"}[kind]
    return "model.layers.%s.%s.weight" % (layer, long)


# ---- compressed-tensors ----

def decompressed(folder):
    """name -> weight, by the package's own code: in float32, and in the type of the stored scales as a client would."""
    import torch
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationConfig
    from safetensors.torch import load_file
    config = QuantizationConfig(**json.load(open(os.path.join(folder, "config.json")))["quantization_config"])
    scheme, = config.config_groups.values()
    compressor = BaseCompressor.get_value_from_registry(scheme.format or config.format)
    tensors, layers = {}, {}
    for file in sorted(os.listdir(folder)):
        if file.endswith(".safetensors"):
            tensors.update(load_file(os.path.join(folder, file)))
    for name, tensor in tensors.items():
        if "_proj." in name:
            layers.setdefault(name.rsplit(".", 1)[0], {})[name.rsplit(".", 1)[1]] = tensor
    for name, state in layers.items():
        wide = {key: value.float() if key == "weight_scale" and value.dtype in (torch.bfloat16, torch.float16) else value for key, value in state.items()}
        yield name, compressor.decompress(wide, scheme)["weight"], compressor.decompress(state, scheme)["weight"]


def compressed(name, variant, **fields):
    def claim():
        if NO_TORCH:
            raise Skip(NO_TORCH)
        folder, floats = containers(MODEL, "compressed-tensors:" + variant, **fields)
        floats = opened(floats)
        opened(folder)
        count = 0
        for layer, wide, stored in decompressed(folder):
            import torch
            want = floats[layer + ".weight"]
            same(wide.float().numpy(), want if wide.dtype == torch.float32 else torch.from_numpy(want.copy()).to(wide.dtype).float().numpy(), layer)
            same(stored.float().numpy(), torch.from_numpy(want.copy()).to(stored.dtype).float().numpy(), layer + ", rounded")
            count += 1
        equal(count, len(linears(floats)), "layers")
    claim.__name__ = "compressed-tensors unpacks %s to our weights" % name
    return claim


def transformers_run(name, variant, **fields):
    def claim():
        if NO_TORCH:
            raise Skip(NO_TORCH)
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        folder, _ = containers(MODEL, "compressed-tensors:" + variant, **fields)
        text = open(HELD_OUT, encoding="utf-8").read()[:600]
        ids = AutoTokenizer.from_pretrained(folder)(text)["input_ids"]
        equal(ids, our_tokenize(folder, [text])[0], "tokens")
        window = ids[:96]
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        with torch.no_grad():
            theirs = model(torch.tensor([window])).logits[0].float().numpy()
        ours = np.frombuffer(our_logits(folder, [window]), "<f4").reshape(theirs.shape)
        apart = float(np.abs(theirs - ours).max())
        print("# logits differ by at most %.1e (they reach %.1f)" % (apart, np.abs(ours).max()))
        assert apart <= 1e-3, apart
    claim.__name__ = "transformers computes our logits of %s" % name
    return claim


def transformers_dequantizes():
    """Where there are zeros, compressed-tensors 0.20.0 does not load as it is: it makes room for a zero a row where its own files hold packed ones.
    Its other way, to dequantize while loading, does so in the type of the scales."""
    if NO_TORCH:
        raise Skip(NO_TORCH)
    import torch
    from transformers import AutoModelForCausalLM, CompressedTensorsConfig
    folder, floats = containers(MODEL, "compressed-tensors:pack-quantized", bits=4, group_size=32, alphabet=ASYMMETRIC)
    floats = opened(floats)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, quantization_config=CompressedTensorsConfig(dequantize=True))
    found = dict(model.named_parameters())
    for name in linears(floats):
        want = torch.from_numpy(floats[name + ".weight"].copy()).bfloat16().float().numpy()
        same(found[name + ".weight"].detach().float().numpy(), want, name)


# ---- GPTQ and AWQ, from the description of their words ----

def fields_of(words, bits):
    """Unsigned fields of a dense little-endian bit stream along axis 0 of 32-bit words."""
    stream = np.unpackbits(np.ascontiguousarray(words.T).view("<u4").astype("<u4").view(np.uint8).reshape(words.shape[1], -1), axis=1, bitorder="little")
    chosen = stream.reshape(words.shape[1], -1, bits).astype(np.int64)
    return (chosen << np.arange(bits)).sum(-1).T


def gptq(variant, bits, **fields):
    def claim():
        folder, floats = containers(MODEL, "gptq:" + variant, bits=bits, **fields)
        floats = opened(floats)
        config = json.load(open(os.path.join(folder, "config.json")))["quantization_config"]
        equal((config["quant_method"], config["bits"]), ("gptq", bits))
        found = opened(folder)
        one_less = config.get("checkpoint_format", "gptq") == "gptq"
        for name in linears(floats):
            codes = fields_of(found[name + ".qweight"], bits)                     # [in, out]
            zeros = fields_of(found[name + ".qzeros"].T, bits).T + one_less       # [groups, out]
            group = found[name + ".g_idx"]
            equal(codes.shape, floats[name + ".weight"].shape[::-1], name)
            scales = found[name + ".scales"].astype("<f4")
            same((scales[group] * (codes - zeros[group]).astype("<f4")).T, floats[name + ".weight"], name)
    claim.__name__ = "GPTQ %s of %d bits%s, unpacked by numpy, is our weights" % (variant, bits, ", zeros" if fields.get("alphabet") else "")
    return claim


def awq():
    folder, floats = containers(MODEL, "awq", bits=4, group_size=128, alphabet=ASYMMETRIC)
    floats = opened(floats)
    config = json.load(open(os.path.join(folder, "config.json")))["quantization_config"]
    equal((config["quant_method"], config["bits"], config["version"], config["zero_point"]), ("awq", 4, "gemm", True))
    found, order = opened(folder), [0, 2, 4, 6, 1, 3, 5, 7]
    for name in linears(floats):
        def spread(words):
            nibbles = np.empty(words.shape + (8,), np.int64)
            for place, column in enumerate(order):
                nibbles[..., column] = words.view("<u4") >> np.uint32(4 * place) & np.uint32(15)
            return nibbles.reshape(words.shape[0], -1)
        scales = found[name + ".scales"].astype("<f4")
        group = np.arange(floats[name + ".weight"].shape[1]) // config["group_size"]
        weights = scales[group] * (spread(found[name + ".qweight"]) - spread(found[name + ".qzeros"])[group]).astype("<f4")
        same(weights.T, floats[name + ".weight"], name)


def dequantized(variant, kind):
    def claim():
        narrow, wide = map(opened, containers(MODEL, "safetensors:" + variant, bits=4, group_size=128))
        equal(sorted(narrow), sorted(wide))
        for name in linears(wide):
            want = wide[name + ".weight"]
            if variant == "f16":
                same(narrow[name + ".weight"].astype("<f4"), want.astype("<f2").astype("<f4"), name)
            else:
                bits = np.ascontiguousarray(want).view("<u4")
                even = ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16 << 16).astype("<u4").view("<f4")
                same(narrow[name + ".weight"], even, name)
    claim.__name__ = "the safetensors package opens safetensors:%s, which is our weights rounded to %s" % (variant, kind)
    return claim


def claims():
    named = lambda claim, name: (setattr(claim, "__name__", name), claim)[1]  # noqa: E731
    made_ = [dequantized("bf16", "bfloat16"), dequantized("f16", "half precision")]
    made_ += [gguf_variant(variant) for variant in ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "iq4_nl", "mxfp4"]]
    made_ += [gptq("v1", 4, group_size=128), gptq("v1", 8, group_size=32), gptq("v2", 3, group_size=64, alphabet=ASYMMETRIC),
              gptq("v2", 4, group_size=0, alphabet=ASYMMETRIC), gptq("v1", 2, group_size=32)]
    made_ += [named(awq, "AWQ, unpacked by numpy, is our weights")]
    made_ += [compressed("pack-quantized, %d bits%s" % (bits, ", zeros" if more else ""), "pack-quantized", bits=bits, group_size=128, **more)
              for bits in (2, 3, 4, 8) for more in ({}, {"alphabet": ASYMMETRIC}) if not (bits == 3 and more)]
    made_ += [compressed("int-quantized", "int-quantized"), compressed("mxfp4", "mxfp4-pack-quantized"), compressed("nvfp4", "nvfp4-pack-quantized")]
    made_ += [transformers_run("pack-quantized, 4 bits", "pack-quantized", bits=4, group_size=128),
              transformers_run("pack-quantized, 8 bits a row", "pack-quantized", bits=8, group_size=0),
              named(transformers_dequantizes, "transformers dequantizes pack-quantized, 4 bits, zeros, to our weights rounded to bfloat16")]
    return made_


try:
    if SLOW > 1:
        raise Skip("a sanitizer build: the plain suite runs this")
    NO_TORCH = readers.enter()
except Skip as reason:
    print("1..0 # SKIP %s" % reason)
    sys.exit(0)
run_claims(claims())
