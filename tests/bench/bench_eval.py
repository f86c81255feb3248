"""Tokens a second of perplexity: quantd's walk beside llama.cpp's, alternating in one run, on the same windows of the same GGUF file.

    make bench
    QUANTD=./quantd QUANTD_SHARED=... python3 ../tests/bench/bench_eval.py MODEL.gguf IDS_MODEL TEXT [--windows N] [--length N] [--threads N] [--rounds N]

MODEL.gguf is what both read; IDS_MODEL is a folder or file whose tokenizer cuts TEXT. llama.cpp runs as its perplexity tool does (windows side by side in
batches of 2048 tokens, keys and values in half precision, its own attention, logits of what is scored alone); quantd as its evaluation does, in float32.
Two ways of scoring: every token but the first of a window, and those behind the middle. Opening the model is in neither time. One Markdown row a way.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "interop")]
import rows as lines  # noqa: E402
from llama import *  # noqa: E402,F403


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("ids_model")
    parser.add_argument("text")
    for name, value in (("windows", 32), ("length", 512), ("threads", 1), ("rounds", 5), ("bytes", 400000), ("bos", 0)):
        parser.add_argument("--" + name, type=int, default=value)
    parser.add_argument("--clock", default="cpu", help="cpu: processor seconds, for a machine that has other work, with one thread; or seconds")
    parser.add_argument("--json", action="store_true", help="lines for deploy/bench (README.md)")
    a = parser.parse_args()
    ours = os.path.join(os.path.dirname(os.path.abspath(QUANTD)), "tests", "bench", "bench_eval")
    text = open(a.text, encoding="utf-8").read(a.bytes)
    ids = json.loads(said([QUANTD, "tokenize", a.ids_model], input=json.dumps({"text": text}).encode()))["ids"]
    windows = [[a.bos] + ids[i * a.length + 1:(i + 1) * a.length] for i in range(a.windows)]
    assert all(len(w) == a.length for w in windows), "the text is too short"
    path = os.path.join(temporary_folder(), "ids")
    write_windows(path, windows)
    environment = dict(os.environ, OPENBLAS_NUM_THREADS="1")
    for name, context in (("all", 1), ("second half", a.length // 2 + 1)):
        found = {"ours": [], "peer": []}
        for _ in range(a.rounds):
            for who, command in (("ours", [ours, a.model, path, str(context), str(a.threads)]),
                                 ("peer", [prepare(), LIBRARIES, "perplexity", a.model, path, str(context), str(a.threads)])):
                found[who].append(json.loads(subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, check=True).stdout))
        rate = {who: a.windows * a.length / statistics.median(r[a.clock] for r in rows) for who, rows in found.items()}
        if a.json:
            lines.emit("evaluation, %s of %d x %d, %d thread%s" % (name, a.windows, a.length, a.threads, "s"[:a.threads > 1]), rate["ours"], "tokens/s",
                       peer="llama.cpp", peer_value=rate["peer"], objective=found["ours"][0]["perplexity"], peer_objective=found["peer"][0]["perplexity"])
            continue
        print("| %s | %d x %d | %s | %d | %.0f | %.0f | **%.2f** | %.6g | %.6g |" % (
            os.path.basename(a.model), a.windows, a.length, name, a.threads, rate["ours"], rate["peer"], rate["ours"] / rate["peer"],
            found["ours"][0]["perplexity"], found["peer"][0]["perplexity"]), flush=True)


main()
