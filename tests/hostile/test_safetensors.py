"""Hostile safetensors files and shard indexes: every rule of the format in several shapes, each refused by name."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from kit import *  # noqa: E402,F403

ONE = {"t": floats(2, 2)}


def entry(name="t", dtype='"F32"', shape="[2,2]", offsets="[0,16]", more=""):
    return '"%s":{"dtype":%s,"shape":%s,"data_offsets":%s%s}' % (name, dtype, shape, offsets, more)


def header(name, text, match, data=16, **other):
    one_file("safetensors: " + name, safetensors({}, header=text, tail=b"\0" * data, **other), match)


case("safetensors: sound", {"x.safetensors": safetensors(ONE, {"format": "pt"})}, r"1 tensors, 4 elements", ("inspect", "./x.safetensors"),
     sound=True)
case("safetensors: sound, a scalar, nothing in a dimension, an odd address",
     {"x.safetensors": safetensors({"a": ("U8", (1,), b"x"), "b": floats(), "c": ("F32", (0, 7), b"")}, pad=3)}, r"3 tensors, 2 elements",
     ("inspect", "./x.safetensors"), sound=True)
case("safetensors: sound, no tensor", {"x.safetensors": safetensors({})}, r"0 tensors", ("inspect", "./x.safetensors"), sound=True)

# Rule 1: the length word.
for size in range(8):
    one_file("safetensors: %d bytes" % size, b"\x10\0\0\0\0\0\0\0"[:size], r"%d bytes.*at least 8" % size)
for length, what in ((0, "one JSON object"), (1, "but the file ends after 0"), (HUGE, "limit"), (2**64 - 1, "limit"), (2**63, "limit"),
                     (2**64 - 8, "limit"), ((16 << 20) + 1, "limit"), (16 << 20, "but the file ends"), (100_000_001, "limit")):
    one_file("safetensors: header of %d bytes, none there" % length, struct.pack("<Q", length), what)
one_file("safetensors: length word in the other byte order", struct.pack(">Q", 64) + b"{}", r"limit")
one_file("safetensors: header one byte longer than the file", safetensors(ONE, length=None)[:40], r"but the file ends")
one_file("safetensors: header one byte short", safetensors({}, header="{%s}" % entry(), length=len(entry()) + 1, tail=b"\0" * 16), r"JSON")
one_file("safetensors: header one byte long", safetensors({}, header="{%s}" % entry(), length=len(entry()) + 3, tail=b"\0" * 16), r"one JSON object")

# Rule 2: UTF-8, one object, nothing else.
for name, text in (("an array", "[]"), ("a string", '"x"'), ("null", "null"), ("nothing", "    "), ("two objects", "{}{}"), ("NUL behind", "{}\0"),
                   ("a newline behind", "{}\n"), ("a space before", " {}"), ("a byte order mark", "\ufeff{}"), ("half an object", '{"t":'),
                   ("a comment", "{/**/}"), ("a comma at the end", '{%s,}' % entry()), ("a comma instead", "{,}"), ("no quotes", "{t:{}}")):
    header(name, text, r"JSON|not one JSON object")
for name, raw in (("overlong slash", b"\xc0\xaf"), ("surrogate", b"\xed\xa0\x80"), ("beyond U+10FFFF", b"\xf4\x90\x80\x80"), ("cut character", b"\xe2\x82"),
                  ("lone continuation", b"\x80"), ("0xFF", b"\xff")):
    one_file("safetensors: " + name, safetensors({}, header=b'{"' + raw + b'":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}', tail=b"\0" * 4), r"UTF-8|JSON")
for name, escape in (("escaped lone surrogate", "\\ud800"), ("escaped NUL", "\\u0000"), ("escaped line feed", "\\n"), ("escaped DEL", "\\u007f"),
                     ("escaped C1", "\\u0085")):
    header(name, "{%s}" % entry(name="a" + escape), r"control character|JSON|NUL|surrogate")
header("nested a thousand deep", '{"t":' + "[" * 1000 + "]" * 1000 + "}", r"nested deeper")
header("a million brackets", '{"t":' + "[" * 1000000, r"nested deeper|one JSON object")
header("five levels", '{"t":{"dtype":"F32","shape":[[[0]]],"data_offsets":[0,0]}}', r"nested deeper")
header("a million empty objects", '{"t":[' + "{}," * 1000000 + "{}]}", r"not tensors|objects")
header("a million empty arrays", '{"t":[' + "[]," * 1000000 + "[]]}", r"not tensors|arrays")
header("five million numbers", '{"t":[' + "0," * 5000000 + "0]}", r"object with dtype|numbers|values")
header("an escape without end", '{"t\\":{}}', r"JSON|one JSON")
for number in ("NaN", "Infinity", "-Infinity", "nan", "0x10", "01", "+1", ".5", "1."):
    header("shape of " + number, "{%s}" % entry(shape="[%s]" % number), r"JSON|negative")

# Rule 3: names twice.
header("a tensor twice", "{%s,%s}" % (entry(), entry()), r"duplicate")
header("a tensor twice, once escaped", "{%s,%s}" % (entry(), entry(name="\\u0074")), r"duplicate")
header("metadata twice", '{"__metadata__":{},"__metadata__":{}}', r"duplicate", data=0)
for key, value in (("dtype", '"F32"'), ("shape", "[2,2]"), ("data_offsets", "[0,16]")):
    header(key + " twice in a tensor", "{%s}" % entry(more=',"%s":%s' % (key, value)), r"duplicate")
header("a metadata key twice", '{"__metadata__":{"a":"b","a":"c"}}', r"duplicate", data=0)

# Rule 4: names.
header("an empty name", "{%s}" % entry(name=""), r"name of 0 bytes")
header("a name of 513 bytes", "{%s}" % entry(name="n" * 513), r"name of 513 bytes")
header("a name of a million bytes", "{%s}" % entry(name="n" * 1000000), r"name of 1000000 bytes")
case("safetensors: sound, a name of 512 bytes", {"x.safetensors": safetensors({"n" * 512: floats(1)})}, "1 tensors", ("inspect", "./x.safetensors"),
     sound=True)

# Rule 5: shapes.
for shape in ("[-1]", "[-9223372036854775808]", "[2,-2]", "[-0]"):
    header("shape " + shape, "{%s}" % entry(shape=shape), r"negative")
for shape in ("[2.0,2]", "[4e0]", "[1e3]", '["2","2"]', "[null]", "[true,4]", "[[4]]", "[{}]"):
    header("shape " + shape, "{%s}" % entry(shape=shape), r"plain integers|not tensors|nested")
for shape in ("4", '"4"', "null", "{}", "true"):
    header("shape is %s" % shape, "{%s}" % entry(shape=shape), r"array of integers|not tensors|objects")
header("nine dimensions", "{%s}" % entry(shape="[1,1,1,1,1,1,1,2,2]"), r"8 dimensions")
header("a thousand dimensions", "{%s}" % entry(shape="[" + "1," * 999 + "4]"), r"8 dimensions")
header("a dimension of 2^63", "{%s}" % entry(shape="[9223372036854775808]"), r"JSON|integer")
header("a dimension of 40 digits", "{%s}" % entry(shape="[%s]" % ("9" * 40)), r"JSON|integer")
header("no shape", '{"t":{"dtype":"F32","data_offsets":[0,16]}}', r"shape")

# Rule 6: products and byte counts.
for shape in ("[9223372036854775807,3]", "[4294967296,4294967296]", "[4294967296,4294967296,0]", "[9223372036854775807,9223372036854775807]",
              "[65536,65536,65536,65536]", "[2147483648,2147483648,4,2]"):
    header("elements of %s" % shape, "{%s}" % entry(shape=shape, offsets="[0,16]"), r"overflows|span")
for shape in ("[9223372036854775807]", "[4611686018427387904]", "[1152921504606846977]", "[576460752303423489]"):
    header("bytes of %s" % shape, "{%s}" % entry(shape=shape, offsets="[0,16]"), r"overflows|span")
for offsets in ("[0,15]", "[0,12]", "[1,16]", "[0,8]", "[4,4]", "[16,16]"):
    header("16 bytes said to be at %s" % offsets, "{%s}" % entry(offsets=offsets), r"span \d+ bytes.*need 16")
header("rank 0 with 16 bytes", "{%s}" % entry(shape="[]"), r"span 16 bytes.*need 4")
header("a dimension of 0 with 16 bytes", "{%s}" % entry(shape="[0,9]"), r"need 0")
header("4-bit numbers, an odd count", "{%s}" % entry(dtype='"F4"', shape="[31]"), r"unknown dtype|whole")

# Rule 7: holes, overlaps, ends.
header("a hole before", "{%s}" % entry(offsets="[4,20]"), r"hole", data=20)
header("a hole between", "{%s,%s}" % (entry(), entry("u", offsets="[20,36]")), r"hole", data=36)
header("an overlap", "{%s,%s}" % (entry(), entry("u", offsets="[12,28]")), r"overlapping", data=28)
header("two in one place", "{%s,%s}" % (entry(), entry("u")), r"overlapping")
header("one within another", "{%s,%s}" % (entry(), entry("u", shape="[1]", offsets="[4,8]")), r"overlapping|hole")
header("a byte behind", "{%s}" % entry(), r"1 bytes after the last", data=17)
header("data but no tensor", "{}", r"16 bytes after")
header("an empty tensor in the middle of another", "{%s,%s}" % (entry(), entry("u", shape="[0]", offsets="[8,8]")), r"hole|overlapping")

# Rule 8: bounds and types.
header("a byte short", "{%s}" % entry(), r"data has 15 bytes", data=15)
header("no data at all", "{%s}" % entry(), r"data has 0 bytes", data=0)
for offsets in ("[16,0]", "[0]", "[0,16,16]", "[]", '"0,16"', "null", "{}", "[0.0,16]", '["0","16"]', "[null,16]", "[true,false]", "[[0],16]"):
    header("data_offsets %s" % offsets, "{%s}" % entry(offsets=offsets), r"data_offsets|not tensors|objects")
for offsets in ("[0,9223372036854775807]", "[9223372036854775807,9223372036854775807]", "[9223372036854775800,9223372036854775807]"):
    header("data_offsets %s" % offsets, "{%s}" % entry(offsets=offsets), r"but the data has 16 bytes")
header("data_offsets -1", "{%s}" % entry(offsets="[-1,15]"), r"negative")
for dtype in ('"F33"', '"f32"', '"FLOAT"', '""', '"F32 "', "32", "null", "[]", '"%s"' % ("F" * 5000), '"F8_E9M9"', '"I4"', '"F32\\u0000"'):
    header("dtype %s" % dtype[:40], "{%s}" % entry(dtype=dtype), r"unknown dtype|NUL|JSON|not tensors")
for value in ("null", "17", '"F32"', "[]", "true"):
    header("a tensor that is %s" % value, '{"t":%s}' % value, r"object with dtype|not tensors")
for value in ("null", "[]", '"x"', "3"):
    header("metadata that is %s" % value, '{"__metadata__":%s}' % value, r"__metadata__|not tensors", data=0)
for value in ("1", "null", "[]", "true"):
    header("metadata with %s" % value, '{"__metadata__":{"a":%s}}' % value, r"'a' is not a string|not tensors", data=0)
header("metadata with an object", '{"__metadata__":{"a":{}}}', r"'a' is not a string|not tensors", data=0)
one_file("safetensors: a hundred thousand and three tensors",
         safetensors({}, header="{%s}" % ",".join([entry("t%d" % i, shape="[0]", offsets="[0,0]") for i in range(100003)])), r"limit is 100000")
one_file("safetensors: ninety-nine thousand tensors of nothing, the last one wrong",
         safetensors({}, header="{%s}" % ",".join([entry("t%d" % i, shape="[0]", offsets="[0,0]") for i in range(99000)] + [entry("z", dtype='"?"')]),
                     tail=b"\0" * 16), r"unknown dtype")


# Rules 10, 11: what lies on the disk.
def whole(where, **files):
    put(where, folder(**files))


def link(target, name="model.safetensors"):
    def make(where):
        whole(where, **{name: None})
        os.symlink(target.replace("@", where), os.path.join(where, name))
    return make


def fifo(where):
    whole(where, model=None)
    os.mkfifo(os.path.join(where, "model.safetensors"))


def folder_instead(where):
    whole(where, model=None)
    os.mkdir(os.path.join(where, "model.safetensors"))


def sparse(size, begin=b""):
    def make(where):
        whole(where, model=None)
        with open(os.path.join(where, "model.safetensors"), "wb") as out:
            out.write(begin)
            out.truncate(size)
    return make


case("folder: sound", folder(), "7 linear layers", sound=True)
case("folder: the weights are a link out of it", link("/etc/hostname"), r"leads out of its folder")
case("folder: the weights are a link to /dev/zero", link("/dev/zero"), r"leads out of its folder|not a regular file")
case("folder: the weights are a link to themselves", link("@/model.safetensors"), r"circle|symbolic")
case("folder: the weights are a link to nothing", link("@/nowhere"), r"model.safetensors")
case("folder: the weights are a FIFO", fifo, r"not a regular file")
case("folder: the weights are a folder", folder_instead, r"not a regular file")
case("folder: config.json is a link out of it", link("/etc/hostname", "config.json"), r"leads out of its folder")
case("folder: config.json is a FIFO", lambda where: (whole(where, config=None), os.mkfifo(os.path.join(where, "config.json"))), r"not a regular file")
case("folder: config.json is a folder", lambda where: (whole(where, config=None), os.mkdir(os.path.join(where, "config.json"))), r"not a regular file")
case("folder: config.json is /dev/zero", link("/dev/zero", "config.json"), r"leads out of its folder|not a regular file")
case("folder: a terabyte of nothing", sparse(1 << 40), r"one JSON object")
case("folder: a header, then a terabyte", sparse(1 << 40, safetensors({})), r"bytes after the last tensor")
case("folder: no weights", folder(model=None), r"neither model.safetensors nor")
case("folder: empty weights", folder(model=b""), r"at least 8", names="model.safetensors")
case("folder: empty", lambda where: None, r"config.json")
case("file: not there", {}, r"No such file", ("inspect", "./gone.safetensors"), names="gone.safetensors")
case("file: a folder's name with a slash too many", folder(), r"Not a directory|No such file", ("inspect", "./config.json/x"))
for name in ("nan", "inf", "-inf"):
    case("folder: a weight that is %s" % name, folder(model=safetensors(weights(**{"model.layers.0.mlp.up_proj.weight": floats(FFN, HIDDEN, value=float(name))}))),
         r"mlp\.up_proj\.weight.*element 0 is", ("eval", ".", "--text", "./text", "--length", "8"), names="up_proj")
    CASES[-1]["files"]["text"] = b"ab abc ab a b c ab abc " * 4
    case("folder: an embedding that is %s" % name, folder(model=safetensors(weights(**{"model.embed_tokens.weight": floats(VOCAB, HIDDEN, value=float(name))})),
                                                          text=b"ab abc ab a b c ab abc " * 4),
         r"embed_tokens\.weight.*element|not finite|is -?(nan|inf)", ("eval", ".", "--text", "./text", "--length", "8"))

# Tensors that are not what the config wants.
for name in list(weights()):
    case("folder: without %s" % name, folder(model=safetensors(weights(**{name: None}))), r"tensor '%s' is missing" % re.escape(name))
for name, tensor in (("one row more", some_floats(FFN + 1, HIDDEN)), ("turned", some_floats(HIDDEN, FFN)), ("flat", some_floats(FFN * HIDDEN)),
                     ("of rank 3", some_floats(1, FFN, HIDDEN)), ("empty", ("F32", (0, HIDDEN), b"")), ("a scalar", floats())):
    case("folder: up_proj %s" % name, folder(model=safetensors(weights(**{"model.layers.0.mlp.up_proj.weight": tensor}))),
         r"up_proj\.weight'.*the config wants 64 x 32")
for dtype, size in (("I32", 4), ("I8", 1), ("BOOL", 1), ("F64", 8), ("U64", 8), ("I64", 8), ("C64", 8)):
    case("folder: up_proj of %s" % dtype,
         folder(model=safetensors(weights(**{"model.layers.0.mlp.up_proj.weight": (dtype, (FFN, HIDDEN), b"\0" * (size * FFN * HIDDEN))}))),
         r"unknown dtype|weights of dtype %s are not supported" % dtype)

# §1.4: the index.
NAMES = list(weights())
PARTS = {"model-00001-of-00002.safetensors": {n: weights()[n] for n in NAMES[::2]}, "model-00002-of-00002.safetensors": {n: weights()[n] for n in NAMES[1::2]}}


def index_text(weight_map=None, metadata=None):
    made = {tensor: name for name, part in PARTS.items() for tensor in part}
    made.update(weight_map or {})
    return json.dumps({"metadata": metadata or {}, "weight_map": {k: v for k, v in made.items() if v is not DROP}}).encode()


def sharded(name, index, match, sound=False, **files):
    made = dict({part: safetensors(tensors) for part, tensors in PARTS.items()}, **files)
    made.update({"config.json": config(), "tokenizer.json": tokenizer(), "model.safetensors.index.json": index})
    case("index: " + name, {k: v for k, v in made.items() if v is not None}, match, sound=sound)


sharded("sound", index_text(), "7 linear layers", sound=True)
sharded("sound, a total that is wrong is said", index_text(metadata={"total_size": 1}), "warning: .*total_size is 1", sound=True)
sharded("sound, a tensor that it does not list is said", index_text({NAMES[0]: DROP}), "warning: .*does not list", sound=True)
sharded("not JSON", b"{", r"index\.json")
sharded("empty", b"", r"index\.json")
sharded("an array", b"[]", r"index\.json.*object")
sharded("no weight_map", b'{"metadata":{}}', r"weight_map")
sharded("an empty weight_map", b'{"weight_map":{}}', r"weight_map")
for value in ("null", "[]", '"x"', "7"):
    sharded("weight_map is %s" % value, ('{"weight_map":%s}' % value).encode(), r"weight_map")
for value in (None, 7, [], {}, True):
    sharded("a tensor in %r" % (value,), index_text({NAMES[0]: value}), r"names no file")
for value in ("../model-00001-of-00002.safetensors", "/etc/passwd", "/tmp/x.safetensors", "a/b.safetensors", "..", ".", "", ".safetensors", "..safetensors",
              "model.bin", "model.safetensors.index.json", "a\\b.safetensors", "n" * 300 + ".safetensors", "model-00001-of-00002.SAFETENSORS"):
    sharded("a shard called %r" % value[:40], index_text({NAMES[0]: value}), r"bare name ending in \.safetensors")
sharded("a shard with a NUL in its name", index_text({NAMES[0]: "a\0.safetensors"}), r"NUL|JSON|index\.json")
sharded("a shard that is missing", index_text({"more": "model-00003-of-00003.safetensors"}), r"shard 'model-00003-of-00003.safetensors' is missing")
sharded("a tensor that is in another shard", index_text({NAMES[0]: "model-00002-of-00002.safetensors"}), r"is not in 'model-00002")
sharded("a tensor that is nowhere", index_text({"model.extra": "model-00001-of-00002.safetensors"}), r"tensor 'model.extra' is not in")
sharded("a tensor twice in the map", index_text().replace(b'"weight_map": {', b'"weight_map": {"%s": "model-00001-of-00002.safetensors", ' % NAMES[0].encode()),
        r"duplicate")
sharded("a tensor in two shards", index_text(), r"is in two shards",
        **{"model-00002-of-00002.safetensors": safetensors(dict(PARTS["model-00002-of-00002.safetensors"], **{NAMES[0]: weights()[NAMES[0]]}))})
sharded("a damaged shard", index_text(), r"model-00002-of-00002\.safetensors", **{"model-00002-of-00002.safetensors": b"\xff" * 64})
sharded("an empty shard", index_text(), r"model-00002-of-00002\.safetensors", **{"model-00002-of-00002.safetensors": b""})
sharded("both shards removed", index_text(), r"shard .* is missing", **{name: None for name in PARTS})
sharded("ten thousand and one shards", json.dumps({"weight_map": {"t%d" % i: "s%05d.safetensors" % i for i in range(10001)}}).encode(), r"10001 shards, the limit is 10000")
sharded("deep", b'{"weight_map":' + b'{"a":' * 40 + b"1" + b"}" * 41, r"nested deeper")
sharded("ten million empty arrays", Repeat(b'{"metadata":[', b"[],", 10000000, b"[]]}"), r"index\.json")
sharded("a string of fifteen megabytes", Repeat(b'{"weight_map":{"t":"', b"x", 15 << 20, b'"}}'), r"bare name ending")
sharded("a string of thirty megabytes", Repeat(b'{"weight_map":{"t":"', b"x", 30 << 20, b'"}}'), r"at most 16 MiB are read")
sharded("too large a file", Repeat(b'{"weight_map":{"t":"', b"x", 33 << 20, b'"}}'), r"larger than the limit")
sharded("fifteen million numbers", Repeat(b'{"metadata":[', b"0,", 15000000, b"0]}"), r"index\.json")

if __name__ == "__main__":
    run_cases()
