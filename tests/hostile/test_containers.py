"""GPTQ, AWQ and the other compressed-tensors folders that lie: parts missing, of other shapes and types, groups out of range, numbers of the config
that are not the tensors'. Each is read by `quantd verify` (behind a manifest that is right) and as a bare folder by `quantd eval`."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from artifacts import *  # noqa: E402,F403

UP = "model.layers.0.mlp.up_proj"
SIZES = {"I32": 4, "F16": 2, "BF16": 2, "F32": 4, "U8": 1, "I8": 1, "F8_E4M3": 1, "I64": 8}


def bare(files):
    """As others write it: no manifest, no records; and a text to run over."""
    return dict({k: v for k, v in files.items() if k not in ("manifest.json", "recipe.json", "certificate.json", "provenance.json", "README.md")},
                text=b"ab abc ab a b c ab abc " * 4)


EVAL = ("eval", ".", "--text", "./text", "--length", "8", "--threads", "1")


def both(name, files, match):
    case(name + ", verified", sealed(files), match, ("verify", "."))
    case(name + ", evaluated", bare(files), match, EVAL)


def flat(tensor):
    return tensor[0], (len(tensor[2]) // SIZES[tensor[0]],), tensor[2]


def lies_of_parts(label, good, parts):
    """Every part of one layer: missing, turned, of rank 1 and 3, a row less, a row more, empty, of another type."""
    tensors = tensors_of(good["model.safetensors"])
    for part in parts:
        name = "%s.%s" % (UP, part)
        dtype, shape, data = tensors[name]
        row = len(data) // shape[0]
        other = "F32" if dtype not in ("F16", "BF16", "F32") else "I32"
        lies = [("missing", None), ("of rank 3", (dtype, shape + (1,) * (3 - len(shape)), data)), ("a row less", (dtype, (shape[0] - 1,) + shape[1:], data[row:])),
                ("a row more", (dtype, (shape[0] + 1,) + shape[1:], data + data[:row])), ("empty", (dtype, (0,) + shape[1:], b"")),
                ("of %s" % other, (other, shape, b"\0" * (SIZES[other] * (len(data) // SIZES[dtype])))), ("a scalar", (dtype, (), data[:SIZES[dtype]]))]
        if len(shape) == 2 and shape[0] != shape[1]:
            lies += [("turned", (dtype, shape[::-1], data)), ("of rank 1", flat(tensors[name]))]
        for lie, tensor in lies:
            if part == "g_idx" and lie == "missing":  # groups are in order then
                continue
            both("%s: %s %s" % (label, part, lie), with_tensors(good, **{name: tensor}), re.escape(name) + r"|up_proj|neither the source's|no format")


def scales(label, good, part, kinds=("nan", "inf", "-inf")):
    dtype, shape, data = tensors_of(good["model.safetensors"])["%s.%s" % (UP, part)]
    words = {"F16": {"nan": b"\0\x7e", "inf": b"\0\x7c", "-inf": b"\0\xfc"}, "BF16": {"nan": b"\xc0\x7f", "inf": b"\x80\x7f", "-inf": b"\x80\xff"},
             "F32": {"nan": b"\0\0\xc0\x7f", "inf": b"\0\0\x80\x7f", "-inf": b"\0\0\x80\xff"}, "F8_E4M3": {"nan": b"\x7f"}, "U8": {"nan": b"\xff"}}[dtype]
    for kind in kinds:
        if kind in words:
            changed = data[:-SIZES[dtype]] + words[kind]
            both("%s: a %s of %s" % (label, part, kind), with_tensors(good, **{"%s.%s" % (UP, part): (dtype, shape, changed)}), r"%s.*%s" % (re.escape(UP), r"element|finite|NaN"))


def settings(label, good, lies, files=("config.json",)):
    """(path of keys below quantization_config, values, what the message matches)."""
    for path, values, match in lies:
        for value in values:
            changed = with_json(good, "config.json", setting(("quantization_config",) + path, value))
            both("%s: %s is %s" % (label, path[-1], json.dumps(value)[:40]), changed, match)


# ---- GPTQ ----
GPTQ = artifact("gptq:v1", bits=4, group_size=16, scale={"type": "f16"})
GPTQ2 = artifact("gptq:v2", bits=4, group_size=16, alphabet="int-asymmetric", scale={"type": "f16"})
GPTQ3 = artifact("gptq:v2", bits=3, group_size=32, scale={"type": "f16"})
for name, good in (("gptq:v1", GPTQ), ("gptq:v2", GPTQ2), ("gptq of 3 bits", GPTQ3)):
    case("%s: sound" % name, good, r'"ok": true', ("verify", "."), sound=True)
    case("%s: sound, bare" % name, bare(good), r"perplexity", EVAL, sound=True)
    lies_of_parts(name, good, ("qweight", "qzeros", "scales", "g_idx"))
    scales(name, good, "scales")
for name, order in (("a group too far", [0] * 31 + [2]), ("a negative group", [0] * 31 + [-1]), ("2^31 - 1", [2**31 - 1] * 32), ("-2^31", [-2**31] + [0] * 31)):
    both("gptq: g_idx with %s" % name, with_tensors(GPTQ, **{UP + ".g_idx": ints(*order)}), r"g_idx")
both("gptq: desc_act without g_idx", with_tensors(with_json(GPTQ, "config.json", setting(("quantization_config", "desc_act"), True)), **{UP + ".g_idx": None}), r"g_idx.*missing")
both("gptq: a zero point of v1 beyond the codes", with_tensors(GPTQ, **{UP + ".qzeros": ("I32", (2, 8), b"\xff" * 64)}), r"qzeros.*zero point")
both("gptq: weight beside its packed form", with_tensors(GPTQ, **{UP + ".weight": some_floats(64, 32)}), r"up_proj\.weight")
settings("gptq", GPTQ, [
    (("bits",), (0, 1, 5, 7, 8, 16, -4, HUGE, "4", 4.0, None, [], True, 2**32 + 4), r"bits|qweight|qzeros"),
    (("group_size",), (0, -2, 5, 33, 8, HUGE, -HUGE, "16", 16.5, None, [], True, 2**32 + 16), r"group_size|groups|qzeros|scales|group"),
    (("sym",), (1, "true", [], {}), r"sym"), (("desc_act",), (1, "x", []), r"desc_act"),
    (("checkpoint_format",), ("marlin", "", 7, [], "GPTQ"), r"checkpoint_format"),
    (("dynamic",), ({"+:.*": {"bits": 8}}, {"(a+)+$": {}}), r"dynamic"),
    (("quant_method",), ("", 7, None, "gptq ", "awq_marlin", "compressed-tensors"), r"quant|format|up_proj|method|bits|config_groups")])

# ---- AWQ ----
AWQ = artifact("awq", bits=4, group_size=32, alphabet="int-asymmetric", scale={"type": "f16"})
case("awq: sound", AWQ, r'"ok": true', ("verify", "."), sound=True)
case("awq: sound, bare", bare(AWQ), r"perplexity", EVAL, sound=True)
lies_of_parts("awq", AWQ, ("qweight", "qzeros", "scales"))
scales("awq", AWQ, "scales")
settings("awq", AWQ, [
    (("bits",), (0, 3, 8, -4, HUGE, "4", None, 2**32 + 4), r"bits"), (("group_size",), (0, -2, 5, 16, HUGE, "32", None, []), r"group_size|groups|qzeros|scales|group"),
    (("version",), ("gemv", "marlin", "", 7, []), r"version")])

# ---- compressed-tensors: the other three ----
INT8 = artifact("compressed-tensors:int-quantized", bits=8, group_size=0)
MXFP4 = artifact("compressed-tensors:mxfp4-pack-quantized", alphabet="mxfp4", group_size=32)
NVFP4 = artifact("compressed-tensors:nvfp4-pack-quantized")
ODD = artifact("compressed-tensors", bits=3, group_size=16)
for name, good, parts, scale in (("int-quantized", INT8, ("weight_scale",), "weight_scale"), ("mxfp4", MXFP4, ("weight_packed", "weight_scale"), "weight_scale"),
                                 ("nvfp4", NVFP4, ("weight_packed", "weight_scale", "weight_global_scale"), "weight_scale"),
                                 ("3 bits", ODD, ("weight_packed", "weight_scale", "weight_shape"), "weight_scale")):
    case("%s: sound" % name, good, r'"ok": true', ("verify", "."), sound=True)
    case("%s: sound, bare" % name, bare(good), r"perplexity", EVAL, sound=True)
    lies_of_parts(name, good, parts)
    scales(name, good, scale)
scales("nvfp4", NVFP4, "weight_global_scale")
for name, number in (("0", 0.0), ("-1", -1.0), ("1e-45", 1e-45)):
    both("nvfp4: a global scale of %s" % name, with_tensors(NVFP4, **{UP + ".weight_global_scale": ("F32", (1,), struct.pack("<f", number))}), r"up_proj.*(above 0|finite)")
settings("nvfp4", NVFP4, [(("config_groups", "group_0", "weights", "group_size"), (32, 0, None), r"group|strategy"),
                          (("config_groups", "group_0", "weights", "strategy"), ("group", "channel", "tensor"), r"strategy|group")])
WEIGHTS = ("config_groups", "group_0", "weights")
settings("mxfp4", MXFP4, [(WEIGHTS + ("num_bits",), (2, 8, 0, HUGE, None), r"bits"), (WEIGHTS + ("group_size",), (16, 0, 64, HUGE, None), r"group|strategy"),
                          (WEIGHTS + ("type",), ("int", "", 7), r"type"), (WEIGHTS + ("symmetric",), (False, "x"), r"symmetric"),
                          (("format",), ("nvfp4-pack-quantized", "pack-quantized", "int-quantized"), r"format|group|type|strategy|weight")])
settings("int-quantized", INT8, [(WEIGHTS + ("num_bits",), (4, 16, 0, HUGE), r"bits"), (WEIGHTS + ("strategy",), ("group", "tensor", "token", ""), r"strategy|weight_scale"),
                                 (("format",), ("pack-quantized", "mxfp4-pack-quantized", "float-quantized"), r"format|weight|type|group")])
settings("3 bits", ODD, [(WEIGHTS + ("num_bits",), (2, 4, 5, 7), r"bits|weight_packed")])

# ---- GGUF, as this tree writes it ----
for variant, kind in (("q4_0", "Q4_0"), ("q8_0", "Q8_0"), ("mxfp4", "MXFP4")):
    GOOD = artifact("gguf:" + variant)
    FILE = next(name for name in GOOD if name.endswith(".gguf"))
    WHOLE = GOOD[FILE]
    case("gguf:%s: sound" % variant, GOOD, r'"ok": true', ("verify", "."), sound=True)
    for name, content in (("cut in half", WHOLE[:len(WHOLE) // 2]), ("a byte short", WHOLE[:-33]), ("empty", b""), ("of zeros", b"\0" * len(WHOLE)),
                          ("another architecture", WHOLE.replace(b"llama", b"llamb")), ("a tensor of another name", WHOLE.replace(b"blk.0.ffn_up", b"blk.9.ffn_up")),
                          ("a key of another name", WHOLE.replace(b"llama.block_count", b"llama.block_coumt"))):
        case("gguf:%s: %s" % (variant, name), sealed(dict(GOOD, **{FILE: content})), re.escape(FILE) + r"|gguf|block_count|ffn_up|up_proj", ("verify", "."))
    for key, new in (("bits", 64), ("bits", 0), ("bits", 1e9), ("format", "gguf"), ("alphabet", 7), ("group_size", HUGE), ("scale", {"type": "magic"})):
        lie = with_json(GOOD, "recipe.json", lambda t, k=key, n=new: (t["recipe"].update(format="gguf"), t["recipe"].update({k: n}))[0])
        if key != "format":
            case("gguf:%s: a recipe of %s %s" % (variant, key, new), sealed(lie), r"recipe\.json|%s" % key, ("verify", "."))
    if variant != "mxfp4":
        # every scale that is left is overwritten: the last tensor of blocks ends the file
        bad = bytearray(WHOLE)
        bad[-34 * 4:] = b"\x00\x7e" * (17 * 4)
        case("gguf:%s: NaN at the end" % variant, sealed(dict(GOOD, **{FILE: bytes(bad)})), r"element|finite|nan|NaN", ("verify", "."))

# Sizes that only the config tells: nothing that large is made room for before the tensors were looked at.
for name, good in (("gptq", GPTQ), ("awq", AWQ), ("mxfp4", MXFP4), ("nvfp4", NVFP4), ("int-quantized", INT8), ("pack-quantized", ODD)):
    for key, value in (("intermediate_size", 1 << 24), ("intermediate_size", 1 << 20), ("num_attention_heads", 1 << 20), ("head_dim", 1 << 20), ("num_key_value_heads", 1)):
        both("%s: %s of %d" % (name, key, value), with_json(good, "config.json", setting((key,), value)), r"proj|heads|%s" % key)

if __name__ == "__main__":
    run_cases()
