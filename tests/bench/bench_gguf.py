"""Fills the tables of GGUF.md: quantd's GGUF exports beside llama-quantize with an importance matrix, both run by llama.cpp itself.

    QUANTD=build/quantd QUANTD_SHARED=... python3 tests/bench/bench_gguf.py --tools FOLDER --results FILE [--only TEXT]... [--jobs N] [--write FILE.md]

--tools holds llama-quantize and llama-imatrix, built from the bundle that tests/interop/llama.py installs. The importance matrix is made from the
whole calibration text; quantd sees 64 windows of it. The embedding (and the head) of both files are of the same type. Perplexity is that of the
protocol's windows (tests/reference/protocol.py), from llama.cpp's probabilities (llama_client nll): float32 keys and values, no flash attention.
--results keeps one JSON line a file; a line is made once for a version of quantd. --smollm2 FILE.gguf adds SmolLM2.
"""
import argparse
import concurrent.futures
import math
import os
import sys

for room in ("reference", "interop"):
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", room))
from protocol import *  # noqa: E402,F403
from llama import *  # noqa: E402,F403
from gguf_file import Gguf, write_float_gguf  # noqa: E402

import numpy as np  # noqa: E402

TYPES = ["q4_k", "q4_0", "q3_k", "q2_k", "q5_k", "q6_k", "q8_0", "q4_1", "q5_0", "q5_1", "iq4_nl", "mxfp4", "nvfp4", "q2_0", "tq2_0", "tq1_0"]
# What llama-quantize makes beside each: pure (every matrix of the type), and its mixtures of about the size.
PEERS = {"q4_k": ["Q4_K_S", "Q4_K_M"], "q3_k": ["Q3_K_S", "Q3_K_M"], "q2_k": ["Q2_K", "Q2_K_S"], "q5_k": ["Q5_K_S", "Q5_K_M"]}
PURE = {"q4_k": "Q4_K_S", "q3_k": "Q3_K_S", "q2_k": "Q2_K", "q5_k": "Q5_K_S", "q6_k": "Q6_K", "mxfp4": "MXFP4_MOE"}
NO_PEER = ["nvfp4"]  # llama-quantize does not make it
OUR_METHODS = {"qronos": {"effort": "balanced"}, "optq": {"effort": "balanced", "algorithm": "optq"}, "rtn": {"effort": "reference", "algorithm": "rtn"}}
SMOLLM2 = "smollm2-135m"
SHARED_TEXTS = os.path.join(SHARED or "", "data", "text")


class Subject:
    """A model, its texts and the windows it is evaluated on."""

    def __init__(self, name, arguments):
        self.name, self.arguments = name, arguments
        self.folder = os.path.join(arguments.work, name)
        os.makedirs(self.folder, exist_ok=True)
        if name == SMOLLM2:
            self.source = os.path.abspath(arguments.smollm2)
            self.calibration, self.evaluation = (os.path.join(SHARED_TEXTS, t) for t in ("c4-sample.txt", "wikitext-2-raw.test.raw"))
            self.split, self.windows, self.samples, self.begin = "whole", arguments.windows or 40, 32, 1
        else:
            self.source = os.path.join(SHARED, "models", name)
            self.calibration, self.evaluation, self.split = texts(name, self.folder)
            self.windows, self.samples, self.begin = arguments.windows or MODELS[name][0], 64, 0

    def float_gguf(self):
        """The weights as they are, F32: what llama-quantize starts from."""
        path = os.path.join(self.folder, "f32.gguf")
        if not os.path.exists(path):
            if self.name == SMOLLM2:
                llama_decode(self.source, path)
            else:
                write_float_gguf(self.source, path)
        return path

    def importance(self):
        path = os.path.join(self.folder, "imatrix.gguf")
        if not os.path.exists(path):
            limit = ["--chunks", str(self.samples)] if self.name == SMOLLM2 else []
            said([os.path.join(self.arguments.tools, "llama-imatrix"), "-m", self.float_gguf(), "-f", self.calibration, "-o", path, "-c", "512",
                  "-t", "1", "--no-ppl"] + limit)
        return path

    def embedding_type(self):
        return "q8_0" if self.name == SMOLLM2 else "bf16"

    def evaluation_windows(self):
        path = os.path.join(self.folder, "windows-%d.npy" % self.windows)
        if not os.path.exists(path):
            text = open(self.evaluation, encoding="utf-8").read()
            # The whole of a large text takes long to encode and few windows are wanted of it.
            pieces = text.splitlines(keepends=True)[:12000] if self.split == "lines" else [text[:40000 + 4096 * self.windows]]
            ids = [i for line in our_tokenize(self.source, pieces, special=False) for i in line]
            ids = ([] if self.split == "whole" else [self.begin]) + ids
            windows = np.array(ids[:512 * self.windows]).reshape(-1, 512)
            windows[:, 0] = self.begin
            np.save(path, windows)
        return np.load(path)

    def perplexity(self, model):
        losses = np.frombuffer(llama_windows("nll", model, self.evaluation_windows().tolist()), "<f8")
        return float(np.exp(losses.mean())), float(losses.std() / math.sqrt(losses.size))


# ---- one file ----

def quantized_bytes(path):
    """Bytes and elements of the matrices of the blocks: what the type decides."""
    chosen = [t for name, t in Gguf(path).tensors.items() if name.startswith("blk.") and len(t[1]) > 1]
    return sum(len(t[2]) for t in chosen), sum(t[1][0] * t[1][1] for t in chosen), sorted({t[0] for t in chosen})


def measured(subject, path, **line):
    perplexity, deviation = subject.perplexity(path)
    size, elements, kinds = quantized_bytes(path)
    return dict(line, model=subject.name, perplexity=perplexity, deviation=deviation, bits=8 * size / elements, bytes=os.path.getsize(path),
                types=kinds, embedding=Gguf(path).tensors["token_embd.weight"][0], windows=subject.windows)


def peer_cell(subject, kind, name, weighted):
    out = os.path.join(temporary_folder(), "peer.gguf")
    pure = ["--pure"] if name == "pure" else []
    matrix = ["--imatrix", subject.importance()] if weighted else []
    embedding = subject.embedding_type()
    said([os.path.join(subject.arguments.tools, "llama-quantize")] + pure + matrix + ["--token-embedding-type", embedding, "--output-tensor-type",
         embedding, subject.float_gguf(), out, PURE.get(kind, kind.upper()) if pure else name, "1"])
    return measured(subject, out, kind=kind, by="llama-quantize " + name + (" + imatrix" if weighted else ""))


def our_cell(subject, kind, method):
    folder = temporary_folder()
    job = dict(OUR_METHODS[method], model="file://" + subject.source, format="gguf:" + kind,
               calibration={"samples": subject.samples, "length": 512, "split": subject.split}, evaluation={"length": 512, "windows": 4, "split": subject.split})
    path = os.path.join(folder, "job.json")
    json.dump(job, open(path, "w"))
    started = time.monotonic()
    said([QUANTD, "run", path, "--out", os.path.join(folder, "out"), "--calibration-text", subject.calibration,
          "--evaluation-text", subject.evaluation, "--threads", "1"] + (["--model", subject.source] if os.path.isdir(subject.source) else []))
    seconds = time.monotonic() - started
    model = [name for name in os.listdir(os.path.join(folder, "out")) if name.endswith(".gguf")]
    assert len(model) == 1, model
    line = measured(subject, os.path.join(folder, "out", model[0]), kind=kind, by="quantd " + method, seconds=seconds)
    shutil.rmtree(folder)
    return line


def source_cell(subject):
    return measured(subject, subject.float_gguf(), kind="f32", by="source")


# ---- which files ----

def cells(arguments):
    for name in arguments.models:
        subject = Subject(name, arguments)
        yield (name, "f32", "source"), (source_cell, subject)
        for kind in TYPES:
            for method in OUR_METHODS if kind in ("q4_k", "q4_0") else ["qronos"]:
                yield (name, kind, "quantd " + method), (our_cell, subject, kind, method)
            if kind in NO_PEER:
                continue
            for peer, weighted in [("pure", True)] + ([("pure", False)] if kind in ("q4_k", "q4_0") else []) + [(p, True) for p in PEERS.get(kind, [])]:
                yield (name, kind, "llama-quantize " + peer + (" + imatrix" if weighted else "")), (peer_cell, subject, kind, peer, weighted)


def read_results(path):
    lines = [json.loads(line) for line in open(path)] if os.path.exists(path) else []
    return {(line["model"], line["kind"], line["by"]): line for line in lines}


def fill(arguments):
    found = read_results(arguments.results)
    wanted = {key: cell for key, cell in cells(arguments) if key not in found and (not arguments.only or any(o in " ".join(key) for o in arguments.only))}
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool, open(arguments.results, "a") as sink:
        running = {pool.submit(*cell): key for key, cell in wanted.items()}
        for done in concurrent.futures.as_completed(running):
            if done.exception() is not None:
                print("FAILED: %s: %s" % (" ".join(running[done]), done.exception()), flush=True)
                continue
            line = done.result()
            print(json.dumps(line), flush=True)
            sink.write(json.dumps(line) + "\n")
            sink.flush()


# ---- tables ----

def table(found, model):
    rows = ["| type | made by | bits a weight | file, kB | perplexity in llama.cpp | over the source | matrices |", "|---|---|---|---|---|---|---|"]
    base = found[model, "f32", "source"]["perplexity"]
    for kind in ["f32"] + TYPES:
        lines = sorted((line for key, line in found.items() if key[:2] == (model, kind)), key=lambda line: line["perplexity"])
        for line in lines:
            best = line is lines[0] and len(lines) > 1
            rows.append("| %s | %s | %.2f | %d | %s%.3f%s | %+.2f %% | %s |" % (
                kind, line["by"], line["bits"], line["bytes"] // 1000, "**" * best, line["perplexity"], "**" * best,
                100 * (line["perplexity"] / base - 1), ", ".join(line["types"])))
    return "\n".join(rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tools", required=True)
    parser.add_argument("--results", required=True)
    parser.add_argument("--work", default="bench-gguf")
    parser.add_argument("--models", nargs="+", default=["novella-7m", "novella-15m"])
    parser.add_argument("--smollm2")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--windows", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--write")
    arguments = parser.parse_args()
    prepare()
    fill(arguments)
    if arguments.write:
        found = read_results(arguments.results)
        models = sorted({key[0] for key in found})
        with open(arguments.write, "w") as out:
            out.write("\n\n".join("## %s\n\n%s" % (model, table(found, model)) for model in models) + "\n")


if __name__ == "__main__":
    main()
