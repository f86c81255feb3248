"""Artifacts that lie: manifests, records and packed tensors that disagree with the folder, with each other, or with arithmetic."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from artifacts import *  # noqa: E402,F403

GOOD = artifact(bits=4, group_size=16)
LINEAR = "model.layers.0.mlp.up_proj"


def verify(name, files, match, sound=False, names=None):
    case("artifact: " + name, files, match, ("verify", "."), sound=sound, names=names)


verify("sound", GOOD, r'"ok": true', sound=True)
verify("sound, sealed again", sealed(GOOD), r'"ok": true', sound=True)

# The manifest against the folder.
def manifest(name, change, match, **other):
    verify("manifest: " + name, with_json(GOOD, "manifest.json", change), match, **other)


def entry(tree, path="model.safetensors"):
    return next(e for e in tree["files"] if e["path"] == path)


for text in (b"", b"{", b"[]", b"null", b"\xff", b"{}", b'{"format":1}', b'{"format":"compressed-tensors"}', b'{"format":"compressed-tensors","files":{}}',
             b'{"files":[],"files":[]}', b'{"format":"compressed-tensors","files":' + b"[" * 100 + b"]" * 100 + b"}"):
    verify("manifest is %r" % text[:50], dict(GOOD, **{"manifest.json": text}), r"manifest\.json", names="manifest.json")
verify("no manifest", {k: v for k, v in GOOD.items() if k != "manifest.json"}, r"manifest\.json")
verify("manifest of sixty megabytes", dict(GOOD, **{"manifest.json": Repeat(b'{"format":"compressed-tensors","files":[', b"{},", 20 << 20, b"{}]}")}), r"manifest\.json.*values|manifest\.json")
manifest("a file too many", lambda t: t["files"].append({"path": "gone.bin", "size": 1, "sha256": "0" * 64, "role": "side"}), r"gone\.bin.*missing")
manifest("a file not listed", lambda t: t["files"].remove(entry(t, "tokenizer.json")), r"tokenizer\.json.*not in the manifest")
manifest("a file twice", lambda t: t["files"].append(dict(entry(t))), r"listed twice")
manifest("another size", lambda t: entry(t).update(size=1), r"model\.safetensors.*bytes")
for value in (-1, "10464", 1.5, None, [], HUGE):
    manifest("size is %s" % json.dumps(value), lambda t, v=value: entry(t).update(size=v), r"model\.safetensors.*(size|bytes)")
for value in ("0" * 64, "", "0" * 63, "zz" * 32, None, 7, [], "0" * 100000):
    manifest("sha256 is %s" % json.dumps(value)[:40], lambda t, v=value: entry(t).update(sha256=v), r"model\.safetensors.*(digest|sha256)")
for value in ("../model.safetensors", "/etc/passwd", "", "..", "a/b", "./model.safetensors", "model.safetensors/", None, 7, [], "n" * 5000):
    manifest("path is %s" % json.dumps(value)[:40], lambda t, v=value: entry(t).update(path=v), r"bare file name|not in the manifest|missing")
for value in (None, 7, "x", {}, [], [7], [None], [[]]):
    manifest("files is %s" % json.dumps(value), setting(("files",), value), r"'files'|files\[|not in the manifest")
for value in ("safetensors", "safetensors:bf16", "magic", "", "compressed-tensors:x", "gguf", "n" * 10000):
    manifest("format is %r" % value[:30], setting(("format",), value), r"format|manifest")
manifest("more layers certified than there are", setting(("certificates", "certified"), 70), r"certificates\.certified is not")
manifest("no certificates", setting(("certificates",), None, drop=True), r"certificates")
for name in ("model.safetensors", "config.json", "recipe.json", "certificate.json", "tokenizer.json"):
    flipped = bytearray(GOOD[name])
    flipped[len(flipped) // 2] ^= 1
    verify("one bit of %s" % name, dict(GOOD, **{name: bytes(flipped)}), r"%s.*digest" % re.escape(name))
    verify("one byte less of %s" % name, dict(GOOD, **{name: GOOD[name][:-1]}), r"%s.*bytes" % re.escape(name))
    verify("no %s" % name, {k: v for k, v in GOOD.items() if k != name}, re.escape(name))
    if name != "tokenizer.json":
        for text in (b"", b"\0" * 100, b"[]", b"{", b"{}"):
            verify("%s is %r, sealed" % (name, text[:20]), sealed(dict(GOOD, **{name: text})), re.escape(name) + "|recipe|certificate|architectures")
verify("a file beside the others", dict(GOOD, **{"more.bin": b"x"}), r"more\.bin.*not in the manifest")


def special(make, name="tokenizer.json"):
    def build(where):
        put(where, {k: v for k, v in GOOD.items() if k != name})
        make(os.path.join(where, name))
    return build


verify("a link out of the folder", special(lambda p: os.symlink("/etc/hostname", p)), r"tokenizer\.json")
verify("a FIFO", special(os.mkfifo), r"tokenizer\.json")
verify("a folder for a file", special(os.mkdir), r"tokenizer\.json")
verify("the manifest is a FIFO", special(os.mkfifo, "manifest.json"), r"manifest\.json")
verify("the certificate is a FIFO", special(os.mkfifo, "certificate.json"), r"certificate\.json")

# Provenance.
def provenance(name, change, match=r"provenance\.json"):
    verify("provenance: " + name, with_json(GOOD, "provenance.json", change), match, names="provenance.json")


if "provenance.json" in GOOD:
    for text in (b"", b"{", b"[]", b"{}", b"\xff", b"null", b'{"_type":"https://in-toto.io/Statement/v1"}', b'{"a":' + b"[" * 100 + b"]" * 100 + b"}", b'{"subject":{}}', b'{"subject":7,"predicate":[]}'):
        verify("provenance is %r" % text[:40], dict(GOOD, **{"provenance.json": text}), r"provenance\.json", names="provenance.json")
    for path, values in ((("_type",), ("x", 7, None)), (("predicateType",), ("x", [], None)), (("subject",), (None, [], {}, "x", [7], [None], [[]], [{}])), (("predicate",), (None, [], 7, {})),
                         (("subject", 0, "name"), ("../x", "", 7, None, "manifest.json", "n" * 100000)), (("subject", 0, "digest"), (None, [], {}, {"sha256": 7}, {"sha256": "0" * 64}, {"sha256": "0" * 100000})),
                         (("predicate", "runDetails"), (None, [], {})), (("predicate", "runDetails", "metadata", "invocationId"), ("sha256:" + "0" * 64, "", 7, None)),
                         (("predicate", "buildDefinition"), (None, [], {})), (("more",), (1, "x"))):
        for new in values:
            provenance("%s is %s" % (".".join(map(str, path)), json.dumps(new)[:30]), setting(path, new))
    provenance("a subject twice", lambda t: t["subject"].append(t["subject"][0]))
    provenance("a subject less", lambda t: t["subject"].pop())
    for name in ("provenance.json", "provenance.dsse.json"):
        verify("%s is a FIFO" % name, special(os.mkfifo, name), re.escape(name) + ".*not a regular file")
        verify("%s of forty megabytes" % name, dict(GOOD, **{name: Repeat(b'{"a":"', b"x", 40 << 20, b'"}')}), re.escape(name) + ".*larger than the limit")
    MANY = [{"path": "f%06d" % i, "size": 1, "sha256": "0" * 64, "role": "side"} for i in range(30000)]
    verify("provenance: thirty thousand files and as many subjects, none alike",
           dict(GOOD, **{"manifest.json": json.dumps({"format": "compressed-tensors", "files": MANY}).encode(),
                         "provenance.json": json.dumps({"subject": [{"name": "g%06d" % i, "digest": {"sha256": "0" * 64}} for i in range(30000)]}).encode()}),
           r"provenance\.json")
    for text in (b"", b"{", b"[]", b"{}", b"\xff", b'{"payload":7}', b'{"payload":"!!!!","payloadType":"x","signatures":[]}', b'{"payload":"AAAA","payloadType":"application/vnd.in-toto+json","signatures":{}}',
                 b'{"payload":"AAAA","payloadType":"application/vnd.in-toto+json","signatures":[7,null,[],{"keyid":7,"sig":7}]}'):
        verify("envelope is %r" % text[:60], dict(GOOD, **{"provenance.dsse.json": text}), r"provenance\.dsse\.json", names="provenance.dsse.json")

# Records that lie, behind a manifest that is right.
def record(name, file, change, match):
    verify("%s: %s" % (file, name), sealed(with_json(GOOD, file, change)), match, names=None)


SUMMARY = (("layers", 70), ("layers", -1), ("layers", "7"), ("certified_layers", 8), ("degraded_layers", 7), ("relative_error", 0), ("relative_error", -1), ("relative_error", "x"))
for key, value in SUMMARY:
    record("summary.%s is %s" % (key, json.dumps(value)), "certificate.json", setting(("summary", key), value), r'"ok": false')
for path, value in ((("name",), "model.layers.0.mlp.up_proj"), (("index",), 3), (("index",), HUGE), (("shape",), [32, 33]), (("shape",), [HUGE, HUGE]), (("shape",), "x"), (("bits",), 3),
                    (("grid", "group_size"), 0), (("grid", "group_size"), -1), (("grid", "group_size"), HUGE), (("grid", "group_size"), 8), (("grid", "low"), 7), (("grid", "high"), -9),
                    (("grid", "low"), -HUGE - 1), (("grid", "high"), HUGE), (("grid", "groups"), 99), (("grid", "alphabet"), 7), (("grid",), None), (("error", "calibration"), -1),
                    (("error", "calibration"), "0"), (("certificate", "error_sq"), -1), (("certificate", "output_sq"), 0), (("certificate", "lambda"), -1), (("certificate", "N"), 0),
                    (("certificate", "d"), HUGE), (("certificate",), None), (("certificate",), []), (("transforms",), ["x"]), (("transforms",), 7)):
    record("layer 0: %s is %s" % (".".join(path), json.dumps(value)[:30]), "certificate.json", setting(("layers", 0) + path, value), r'"ok": false|"findings"')
for value in (None, {}, "x", 7, [], [7], [None] * 7, [{}] * 7):
    record("layers is %s" % json.dumps(value)[:30], "certificate.json", setting(("layers",), value), r'"ok": false')
record("a layer twice", "certificate.json", lambda t: t["layers"].append(t["layers"][0]), r'"ok": false')
record("a layer less", "certificate.json", lambda t: t["layers"].pop(), r'"ok": false')
record("layers in another order", "certificate.json", lambda t: t["layers"].reverse(), r'"ok": false')
for key, value in (("bits", 3), ("bits", 1e9), ("bits", "x"), ("group_size", -1), ("group_size", HUGE), ("alphabet", "magic"), ("alphabet", 7), ("algorithm", "magic"), ("format", "magic"),
                   ("format", ["compressed-tensors"] * 100), ("transforms", "x"), ("scale", []), ("calibration", 7), ("seed", -1), ("more", 1)):
    record("%s is %s" % (key, json.dumps(value)[:30]), "recipe.json", setting(("recipe", key), value), r'"ok": false')
for value in (None, [], "x", 7, {}):
    record("recipe is %s" % json.dumps(value), "recipe.json", setting(("recipe",), value), r'"ok": false')

# Packed tensors: compressed-tensors.
def part(name):
    return "%s.weight_%s" % (LINEAR, name)


def packed(name, match, **other):
    verify("pack-quantized: " + name, sealed(with_tensors(GOOD, **other)), match)


TENSORS = tensors_of(GOOD["model.safetensors"])
PACKED, SCALE, SHAPE = (TENSORS[part(name)] for name in ("packed", "scale", "shape"))
for name, tensor in ((n, TENSORS[part(n)]) for n in ("packed", "scale", "shape")):
    packed("no weight_%s" % name, r"weight_%s" % name, **{part(name): None})
    packed("weight_%s flat" % name, r"weight_%s" % name, **{part(name): (tensor[0], (len(tensor[2]) // {"I32": 4, "F32": 4, "I64": 8, "BF16": 2, "F16": 2}[tensor[0]], 1, 1), tensor[2])})
    packed("weight_%s empty" % name, r"weight_%s" % name, **{part(name): (tensor[0], (0,), b"")})
    packed("weight_%s of bytes" % name, r"weight_%s" % name, **{part(name): ("U8", (len(tensor[2]),), tensor[2])})
packed("weight_packed turned", r"weight_packed.*shape", **{part("packed"): (PACKED[0], PACKED[1][::-1], PACKED[2])})
packed("weight_packed of a row less", r"weight_packed.*shape", **{part("packed"): (PACKED[0], (PACKED[1][0] - 1, PACKED[1][1]), PACKED[2][:-4 * PACKED[1][1]])})
packed("weight_packed of F32", r"weight_packed.*(dtype|I32)", **{part("packed"): ("F32", PACKED[1], PACKED[2])})
packed("weight_scale turned", r"weight_scale.*shape", **{part("scale"): (SCALE[0], SCALE[1][::-1], SCALE[2])})
packed("weight_scale of I32", r"weight_scale.*(dtype|F32)", **{part("scale"): ("I32", SCALE[1], b"\1\0\0\0" * (SCALE[1][0] * SCALE[1][1]))})
for name, bits in (("NaN", 0x7FC00000), ("infinity", 0x7F800000), ("-infinity", 0xFF800000)):
    packed("a scale of %s" % name, r"weight_scale.*element|not finite", **{part("scale"): ("F32", SCALE[1], struct.pack("<I", bits) * (SCALE[1][0] * SCALE[1][1]))})
packed("a scale that overflows", r"finite|\"ok\": false", **{part("scale"): ("F32", SCALE[1], struct.pack("<f", 3.4e38) * (SCALE[1][0] * SCALE[1][1]))})
for shape in ((0, 0), (-1, -1), (64, 33), (32, 64), (HUGE, HUGE), (2**32 + 64, 32), (64, 2**32 + 32)):
    packed("weight_shape says %s" % (shape,), r"weight_shape", **{part("shape"): ("I64", (2,), struct.pack("<2q", *shape))})
packed("weight beside its packed form", r"beside its packed form|'%s\.weight'" % re.escape(LINEAR), **{LINEAR + ".weight": some_floats(64, 32)})
packed("zero points where none are", r"weight_zero_point", **{part("zero_point"): ("I32", (8, 2), b"\0" * 64)})
for name, tensor in (("a group too far", ints(*[0] * 31 + [2])), ("a negative group", ints(*[0] * 31 + [-1])), ("2^31 - 1", ints(*[2**31 - 1] * 32)),
                     ("too short", ints(*[0] * 31)), ("too long", ints(*[0] * 33)), ("of I64", ints(*[0] * 32, kind="I64")), ("of rank 2", ("I32", (32, 1), b"\0" * 128))):
    packed("g_idx: %s" % name, r"g_idx", **{part("g_idx"): tensor})
packed("a norm of NaN", r"norm\.weight", **{"model.norm.weight": floats(HIDDEN, value=float("nan"))})


def scheme(name, path, value, match, drop=False, **other):
    verify("config: " + name, sealed(with_json(GOOD, "config.json", setting(("quantization_config",) + path, value, drop))), match, **other)


WEIGHTS = ("config_groups", "group_0", "weights")
for value in (0, 1, 5.5, 9, 16, 32, -4, HUGE, "4", None, [], True, 8, 2):
    scheme("num_bits is %s" % json.dumps(value), WEIGHTS + ("num_bits",), value, r"num_bits|weight_packed|shape|findings")
for value in (0, -16, 1, 3, 17, 64, HUGE, "16", 16.0, None, [], True, 2**32 + 16):
    scheme("group_size is %s" % json.dumps(value), WEIGHTS + ("group_size",), value, r"group_size|groups of|weight_scale|strategy|findings")
for key, values in (("type", ("float", "", 7, "INT")), ("symmetric", (False, 1, "true", [])), ("strategy", ("channel", "tensor", "block", "", 7, None, "tensor_group")),
                    ("actorder", ("group", "dynamic", 7, True, [], "x", ""))):
    for value in values:
        scheme("%s is %s" % (key, json.dumps(value)), WEIGHTS + (key,), value, r"%s|weight_|findings|group" % key)
for path, values in ((("format",), ("int-quantized", "float-quantized", "marlin-24", "", 7, None, "nvfp4-pack-quantized", "mxfp4-pack-quantized", "pack-quantized ")),
                     (("quant_method",), ("gptq", "awq", "", 7, None, "compressed_tensors", "Compressed-Tensors")),
                     (("config_groups",), (None, {}, [], "x", 7, {"a": {}, "b": {}}, {"group_0": None}, {"group_0": []})),
                     (("config_groups", "group_0", "targets"), (None, [], ["Conv"], "Linear", [7], ["re:(a+)+$"], ["re:("], [".*"])),
                     (("config_groups", "group_0", "weights"), (None, [], "x", {}, 7))):
    for value in values:
        scheme("%s is %s" % (path[-1], json.dumps(value)[:40]), path, value, r"%s|quant|group|weight|format|findings|bits" % path[-1])
for path in ((), ("format",), ("quant_method",), ("config_groups",), ("config_groups", "group_0"), WEIGHTS, WEIGHTS + ("num_bits",), WEIGHTS + ("strategy",)):
    verify("config: without %s" % (path[-1] if path else "quantization_config"),
           sealed(with_json(GOOD, "config.json", setting(("quantization_config",) + path, None, drop=True))), r"is missing|quant|format|bits|config_groups|weight|strategy")
ASYMMETRIC = artifact(bits=4, group_size=16, alphabet="int-asymmetric")
ZERO = tensors_of(ASYMMETRIC["model.safetensors"]).get(part("zero_point"))
if ZERO is not None:
    verify("sound, with zero points", ASYMMETRIC, r'"ok": true', sound=True)
    for name, tensor in (("none", None), ("turned", (ZERO[0], ZERO[1][::-1], ZERO[2])), ("a row less", (ZERO[0], (ZERO[1][0] - 1, ZERO[1][1]), ZERO[2][:-4 * ZERO[1][1]])),
                         ("of I64", ("I64", (ZERO[1][0], ZERO[1][1] // 2), ZERO[2])), ("of rank 1", (ZERO[0], (ZERO[1][0] * ZERO[1][1],), ZERO[2]))):
        verify("zero points: %s" % name, sealed(with_tensors(ASYMMETRIC, **{part("zero_point"): tensor})), r"weight_zero_point")

if __name__ == "__main__":
    run_cases()
