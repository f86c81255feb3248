"""Hostile tokenizer.json: vocabularies, merges, regular expressions and steps that lie, loop or explode; hostile texts for sound ones."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from kit import *  # noqa: E402,F403

TEXT = b'{"text":"ab abc"}\n'


def text(name, content, match, sound=False, stdin=TEXT, names="tokenizer"):
    content = content.encode() if isinstance(content, str) else content
    case("tokenizer: " + name, {"tokenizer.json": content}, match, ("tokenize", "."), stdin=stdin, sound=sound, names=None if sound else names)


def other(name, match, sound=False, stdin=TEXT, names="tokenizer", **fields):
    text(name, tokenizer(**fields), match, sound, stdin, names)


def line(content):
    return json.dumps({"text": content}).encode() + b"\n"


text("sound", tokenizer(), r'^\{"ids":\[3,5,7\]\}', sound=True)
for name, content in (("empty", ""), ("an array", "[]"), ("null", "null"), ("a brace", "{"), ("something behind", tokenizer().decode() + "x"),
                      ("UTF-16", tokenizer().decode().encode("utf-16")), ("a byte order mark", "\ufeff{}"), ("invalid UTF-8", b'{"model":"\xff"}'),
                      ("overlong", b'{"model":"\xc0\x80"}'), ("a surrogate in UTF-8", b'{"model":"\xed\xa0\x80"}'), ("a lone surrogate", '{"model":"\\ud800"}'),
                      ("a raw NUL", tokenizer() + b"\0")):
    text(name, content, r"JSON|line 1")
text("deep", '{"model":' + "[" * 100000, r"nested deeper")
text("33 sequences deep", '{"model":' + json.dumps(TOKENIZER["model"]) + ',"normalizer":' + '{"type":"Sequence","normalizers":[' * 40 + "]}" * 40 + "}", r"nested deeper")
text("twenty million empty arrays", Repeat(b'{"model":[', b"[],", 20000000, b"[]]}"), r"values that they would take")
text("twenty million numbers", Repeat(b'{"model":[', b"0,", 20000000, b"0]}"), r"values that they would take")
text("a string of sixty megabytes", Repeat(b'{"model":"', b"x", 60 << 20, b'"}'), r"a string of 62914560 bytes")
text("a string of fifteen megabytes", Repeat(b'{"model":"', b"x", 15 << 20, b'"}'), r"an object is wanted, found a string")
text("sixty-five megabytes", Repeat(b'{"model":"', b"x", 65 << 20, b'"}'), r"larger than the limit")
case("tokenizer: not there", {}, r"tokenizer.json.*No such file|No such file", ("tokenize", "."), names="tokenizer.json")
case("tokenizer: a FIFO", lambda where: os.mkfifo(os.path.join(where, "tokenizer.json")), r"not a regular file", ("tokenize", "."), names="tokenizer.json")
case("tokenizer: a folder", lambda where: os.mkdir(os.path.join(where, "tokenizer.json")), r"not a regular file", ("tokenize", "."), names="tokenizer.json")
case("tokenizer: /dev/zero", lambda where: os.symlink("/dev/zero", os.path.join(where, "tokenizer.json")), r"not a regular file", ("tokenize", "."), names="tokenizer.json")

# The model.
for value in (None, [], "BPE", 7, {}, {"type": 7}, {"type": "WordPiece", "vocab": {}}, {"type": "bpe"}, {"type": "Magic"}, {"type": "B" * 100000}):
    text("model is %s" % json.dumps(value)[:60], json.dumps(dict(TOKENIZER, model=value)), r"model|type")
for value in (None, [], "x", 7, [["a", 1]]):
    other("vocab is %s" % json.dumps(value), r"vocab", model={"vocab": value})
other("no vocab", r"vocab", model={"vocab": DROP})
for value in ("1", 1.5, None, [], {}, True, -1, 2**31, 2**32, HUGE, -HUGE):
    other("the id of 'a' is %s" % json.dumps(value), r"vocab", model={"vocab": dict(TOKENIZER["model"]["vocab"], a=value)})
other("an id twice", r"vocab.*id|id.*twice|two", model={"vocab": dict(TOKENIZER["model"]["vocab"], x=3)})
text("a piece twice", tokenizer().replace(b'"a": 1', b'"a": 1, "a": 9'), r"duplicate")
text("merges twice", tokenizer().replace(b'"merges":', b'"merges": [], "merges":'), r"duplicate")
other("no word at all", r"vocabulary|vocab", model={"vocab": {}, "merges": []}, added_tokens=[], post_processor=None)
for value in (None, "a b", {}, 7, {"0": "a b"}):
    other("merges is %s" % json.dumps(value), r"merges", model={"merges": value})
for value in ("ab", "a  b", "a b c", "", " ", None, 7, {}, [], ["a"], ["a", "b", "c"], ["a", 1], [["a"], "b"], [None, None], True):
    other("a merge is %s" % json.dumps(value), r"'merges': number 1", model={"merges": ["a b", value]})
for value in ("a z", "z a", "c b", "a\u0000 b", ["a", "c"], ["", "a"], ["a", ""]):
    other("a merge of what is not there, %s" % json.dumps(value), r"'merges': number 0", model={"merges": [value]})
other("sound, merges in a circle end", "ids", sound=True,
      model={"vocab": dict(TOKENIZER["model"]["vocab"], ba=8, aba=9), "merges": ["a b", "b a", "ab a", "a ba"]})
for key, values in (("dropout", (0.5, 1, "0", [], -1, True)), ("fuse_unk", (1, "x", [])), ("byte_fallback", (1, "x", {})), ("ignore_merges", (0, "x")),
                    ("unk_token", (7, [], "not there", {"content": "<s>"})), ("continuing_subword_prefix", (7, [], True)), ("end_of_word_suffix", (7, {}, False))):
    for value in values:
        other("%s is %s" % (key, json.dumps(value)), key, model={key: value})
other("sound, a prefix longer than all pieces", "ids", sound=True, model={"continuing_subword_prefix": "#" * 1000, "merges": []})
UNIGRAM = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0], ["b", -2.0], ["ab", -1.5], ["\u2581", -1.0]]}


def unigram(name, match, sound=False, stdin=TEXT, **fields):
    text("Unigram: " + name, json.dumps(dict(TOKENIZER, added_tokens=[], post_processor=None, decoder=None,
                                             pre_tokenizer={"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always"},
                                             model=dict(UNIGRAM, **fields))), match, sound, stdin)


unigram("sound", "ids", sound=True)
for value in (None, {}, "x", [["a"]], [["a", 1.0, 2]], [[1, 1.0]], [["a", "1"]], [["a", None]], ["a"], [[]], [None]):
    unigram("vocab is %s" % json.dumps(value), r"vocab", vocab=value)
text("Unigram: a score of 1e999", json.dumps(dict(TOKENIZER, model=UNIGRAM)).replace("-1.5", "1e999"), r"JSON|score|vocab")
unigram("a piece twice", r"vocab|twice", vocab=UNIGRAM["vocab"] + [["a", -3.0]])
unigram("no piece", r"vocab", vocab=[])
for value in (-1, 5, 2**40, "0", 1.5, [], True):
    unigram("unk_id is %s" % json.dumps(value), r"unk_id", unk_id=value)

# Added tokens.
for value in ({}, "x", 7, True):
    other("added_tokens is %s" % json.dumps(value), r"added_tokens", added_tokens=value)
for value in ({}, {"id": 9}, {"content": "x"}, {"id": "9", "content": "x"}, {"id": -1, "content": "x"}, {"id": 1.5, "content": "x"}, {"id": 2**31, "content": "x"},
              {"id": HUGE, "content": "x"}, {"id": 9, "content": ""}, {"id": 9, "content": 7}, {"id": 9, "content": None}, {"id": 9, "content": ["x"]},
              {"id": 9, "content": "x" * 1025}, {"id": 9, "content": "x" * 1000000}, {"id": 9, "content": "x", "special": "yes"}, {"id": 9, "content": "x", "lstrip": 1},
              {"id": 9, "content": "x", "normalized": []}, {"id": 9, "content": "x", "single_word": "no"}, {"id": 9, "content": "x", "rstrip": {}}, [9, "x"], "x", 9, None):
    other("an added token is %s" % json.dumps(value)[:80], r"added_tokens", added_tokens=[value])
other("an added token far from the others", r"added_tokens|vocabulary|id", added_tokens=[{"id": 2**30, "content": "x"}])
other("sound, a hundred added tokens of a thousand bytes", "ids", sound=True,
      added_tokens=TOKENIZER["added_tokens"] + [{"id": 8 + i, "content": "%03d" % i + "y" * 1000} for i in range(100)])

# Steps.
for key, kind in (("normalizer", "normalizers"), ("pre_tokenizer", "pretokenizers"), ("decoder", "decoders"), ("post_processor", "processors")):
    for value in ([], "x", 7, {}, {"type": 7}, {"type": "Magic"}, {"type": "Sequence"}, {"type": "Sequence", kind: {}}, {"type": "Sequence", kind: [7]},
                  {"type": "Sequence", kind: [{"type": "Sequence", kind: [{"type": ""}]}]}, {"type": "M" * 100000}):
        other("%s is %s" % (key, json.dumps(value)[:60]), r"%s|type" % key, **{key: value})
REGEX = {"type": "Split", "behavior": "Isolated", "invert": False}
for value in ("(", "a{2,1}", "[", "[z-a]", "(?<n>a)(?<n>b)", "\\", "*", "(?P<", "\\p{Nothing}", "(?<=a+)b", "a{99999}", "((((((((((a{1000}){1000}){1000}){1000}))))))",
              "(" * 1000 + ")" * 1000, "[a&&b]", "[a[b]]", "\\x{110000}", "(?R", "\\g{9}", "(?C1"):
    other("a pattern of %r" % value[:40], r"pattern|regular|Split|NUL", pre_tokenizer=dict(REGEX, pattern={"Regex": value}))
for value in (None, {}, "x", 7, {"Regex": 7}, {"String": []}, {"regex": "a"}):
    other("the pattern is %s" % json.dumps(value), r"pattern", pre_tokenizer=dict(REGEX, pattern=value))
for value in ("Magic", "", 7, None, [], "isolated"):
    other("the behavior is %s" % json.dumps(value), r"behavior", pre_tokenizer=dict(REGEX, pattern={"String": " "}, behavior=value))
LONG = line("a" * 5000 + "!")
for value in ("(a+)+$", "(a|aa)+$", "(a*)*[bc]", "(.*)*[xy]", "(a|a?)+$", "(?:a+)+(?:a+)+(?:a+)+[bc]", "(x+x+)+y|(a+a+)+b", "^(([a-z])+.)+[A-Z]([a-z])+$"):
    other("a pattern without end, %s" % value, r"regular expression|match limit", pre_tokenizer=dict(REGEX, pattern={"Regex": value}), stdin=LONG, names="line 1")
other("a pattern of half a megabyte", r"pattern|regular|Split|match limit|ids", pre_tokenizer=dict(REGEX, pattern={"Regex": "|".join("x%dy" % i for i in range(60000)) + "("}))
other("a pattern that calls itself", r"regular|pattern|Split|line 1", pre_tokenizer=dict(REGEX, pattern={"Regex": "(?R)a|(?0)+"}), stdin=LONG, names="")
other("Replace that doubles twenty times", r"tokenizer step|larger|limit|too", stdin=line("a" * 1000), names="line 1",
      normalizer={"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}] * 20})
other("Replace by a megabyte", r"tokenizer step|larger|limit|too", stdin=line("a" * 1000), names="line 1",
      normalizer={"type": "Replace", "pattern": {"String": "a"}, "content": "b" * 1000000})
other("Prepend of a megabyte, ten times", r"tokenizer step|larger|limit|too", stdin=line("a"), names="line 1",
      normalizer={"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "b" * 1000000}] * 10})
for value in ({"type": "Replace"}, {"type": "Replace", "pattern": {"String": "a"}}, {"type": "Replace", "pattern": {"Regex": "("}, "content": ""}, {"type": "Prepend"},
              {"type": "Prepend", "prepend": 7}, {"type": "Strip", "strip_left": 7}, {"type": "Precompiled"}, {"type": "Precompiled", "precompiled_charsmap": "!!!"}):
    other("normalizer is %s" % json.dumps(value), r"normalizer", normalizer=value)
for value in ({"type": "Metaspace", "replacement": ""}, {"type": "Metaspace", "replacement": "ab"}, {"type": "Metaspace", "replacement": 7},
              {"type": "Metaspace", "replacement": "_", "prepend_scheme": "sometimes"}, {"type": "Digits", "individual_digits": "x"},
              {"type": "ByteLevel", "add_prefix_space": 7}, {"type": "ByteLevel", "use_regex": "x"}, {"type": "Punctuation", "behavior": "x"}):
    other("pre_tokenizer is %s" % json.dumps(value), r"pre_tokenizer", pre_tokenizer=value)
TEMPLATE = TOKENIZER["post_processor"]
for value in (dict(TEMPLATE, single=[]), dict(TEMPLATE, single=7), dict(TEMPLATE, single=[{"Sequence": {}}] * 2), dict(TEMPLATE, single=[7]), dict(TEMPLATE, special_tokens={}),
              dict(TEMPLATE, special_tokens={"<s>": {"ids": [-1]}}), dict(TEMPLATE, special_tokens={"<s>": {"ids": [HUGE]}}), dict(TEMPLATE, special_tokens={"<s>": {"ids": ["0"]}}),
              dict(TEMPLATE, special_tokens={"<s>": {"ids": [999]}}), dict(TEMPLATE, special_tokens=[]), {"type": "BertProcessing"}, {"type": "BertProcessing", "cls": ["x"], "sep": 7},
              {"type": "RobertaProcessing", "cls": ["x", 99], "sep": ["x", 99]}):
    other("post_processor is %s" % json.dumps(value)[:140], r"post_processor", post_processor=value)
other("a million ids put before each text", r"post_processor|limit|ids", names="",
      post_processor=dict(TEMPLATE, special_tokens={"<s>": {"ids": [999] * 1000000}}))

# Hostile texts for a sound tokenizer: an answer for each, or a line number.
for name, stdin in (("not JSON", b"ab\n"), ("an array", b"[]\n"), ("no text", b'{"texts":"a"}\n'), ("a number", b'{"text":7}\n'), ("invalid UTF-8", b'{"text":"\xff"}\n'),
                    ("deep", b'{"text":' + b"[" * 100 + b"\n"), ("NUL", b'{"text":"a\0b"}\n'), ("the second one", TEXT + b"x\n")):
    text("a line that is %s" % name, tokenizer(), r"line [12]", stdin=stdin, names="line")
for name, content in (("a megabyte of one letter", "a" * 1000000), ("a megabyte of spaces", " " * 1000000), ("every control character", "".join(map(chr, range(1, 32))) * 1000),
                      ("marks without end", "a" + "\u0301" * 200000), ("directions", "\u202e\u2066" * 50000), ("planes beyond the first", "\U0001f600\U0010ffff" * 50000)):
    text("sound, %s" % name, tokenizer(), "ids", sound=True, stdin=line(content))
case("tokenizer: a hostile tokenizer_config.json", {"tokenizer.json": tokenizer(), "tokenizer_config.json": b"{"}, r"tokenizer_config\.json", ("tokenize", "."), stdin=TEXT)
case("tokenizer: a deep tokenizer_config.json", {"tokenizer.json": tokenizer(), "tokenizer_config.json": b'{"a":' + b"[" * 9999}, r"tokenizer_config\.json", ("tokenize", "."), stdin=TEXT)

if __name__ == "__main__":
    run_cases()
