"""Published tokenizers give the ids and the texts that the Python package `tokenizers` gives: Llama-3.1, Qwen3 and Mistral, 2000 random texts each.

Runs in a virtual environment of the build folder (tokenizer_peers.py); what cannot be installed is skipped with the reason.
"""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from llama import *  # noqa: E402,F403
import tokenizer_peers  # noqa: E402
from random_texts import random_texts  # noqa: E402

TEXTS = 2000


def ours(folder, key, values, *options):
    lines = "".join(json.dumps({key: value}) + "\n" for value in values)
    return [json.loads(line) for line in said([QUANTD, "tokenize", *options, folder], input=lines.encode()).splitlines()]


def check(name):
    from tokenizers import Tokenizer
    folder = tokenizer_peers.tokenizer_files()[name]
    path = os.path.join(folder, "tokenizer.json")
    peer = Tokenizer.from_file(path)
    texts = random_texts(7, TEXTS, [token["content"] for token in json.load(open(path))["added_tokens"]][:40])
    plain = [peer.encode(text, add_special_tokens=False).ids for text in texts]
    whole = [peer.encode(text).ids for text in texts]
    back = [peer.decode(ids, skip_special_tokens=False) for ids in whole]
    for what, want, got in (("ids", plain, [line["ids"] for line in ours(folder, "text", texts)]),
                            ("ids with special tokens", whole, [line["ids"] for line in ours(folder, "text", texts, "--special")]),
                            ("text", back, [line["text"] for line in ours(folder, "ids", whole, "--decode")])):
        different = [i for i in range(TEXTS) if got[i] != want[i]]
        assert len(got) == TEXTS and not different, "%s: %d of %d differ: %s: got %r, want %r" % (
            what, len(different), TEXTS, ascii(texts[different[0]]), got[different[0]], want[different[0]])


def claim_for(name):
    def claim():
        check(name)
    claim.__name__ = "%s_gives_the_ids_and_texts_of_the_python_package" % name
    return claim


try:
    tokenizer_peers.enter()
except Skip as reason:
    print("1..0 # SKIP %s" % reason)
    sys.exit(0)
run_claims([claim_for(name) for name in ("llama-3.1", "qwen3", "mistral")])
