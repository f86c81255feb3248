#!/usr/bin/env python3
"""One peer quantizes one model; bench_job.py starts it with the Python of that peer's environment. Nothing of a peer is part of this tree.

    python peer_job.py SPEC.json

SPEC.json: {"peer": "brevitas" | "gptqmodel" | "llmcompressor" | "torch" | "folder", "model": a folder in the Hugging Face layout, "tokens": a file of 32-bit ids,
"samples", "length", "algorithm": "optq" | "qronos", "bits", "group_size", "dtype": what the peer computes in, "threads", "out": where the weights go
that its codes stand for, as a float32 folder in the same layout}. Prints one line of JSON: {"seconds", "cpu_seconds", "whole_seconds", "peak_memory", "version"}.
`seconds` is what the peer takes from loaded model and tokens to quantized weights; loading, packing and writing are not in it.

Two more quantize nothing. "torch" measures perplexity of "model" on windows of ids, {"perplexity"}: a second opinion on the evaluator of bench_job.py.
"folder" writes the GGUF file "model" as a folder in that layout, in bf16.

Every peer gets the same ids and the same grid: symmetric integers, scales from the largest magnitude of a group, natural order of columns, one per cent of
the mean diagonal as damping. What each of them must be told for that, and what it needs to run without a GPU, is said where it is done.
"""
import array
import importlib.metadata
import json
import os
import resource
import sys
import tempfile
import time

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def windows_of(spec):
    ids = array.array("I")
    with open(spec["tokens"], "rb") as file:
        ids.frombytes(file.read())
    length = spec["length"]
    assert len(ids) == spec["samples"] * length, (len(ids), spec["samples"], length)
    return [ids[i:i + length].tolist() for i in range(0, len(ids), length)]


class Timer:
    def __init__(self):
        self.seconds = self.cpu_seconds = 0.0

    def around(self, function):
        def timed(*arguments, **named):
            start, cpu = time.monotonic(), time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds += time.monotonic() - start
                self.cpu_seconds += time.process_time() - cpu
        return timed


# ---- the peers: each returns (name of a linear layer -> the weights its codes stand for, version) ----

def brevitas(spec, timer):
    """The parts of its entry point brevitas_ptq_llm, with our windows in place of a data set that it would load from a network.

    Timed: apply_gptq() or apply_qronos(). Blockwise (--gpxq-block-name), since a whole model for each layer takes thirty times as long; that path moves
    inputs to the device 'cuda' by name, so its one function that moves is given the CPU instead.
    """
    import brevitas as package
    from brevitas_examples.common.parse_utils import parse_args
    from brevitas_examples.llm import main as entry
    from brevitas_examples.llm.llm_args import create_args_parser
    from brevitas_examples.llm.llm_quant import gpxq
    gpxq.send_to_device = lambda value, device: value
    entry.get_dataset_for_model = lambda **named: [{"input_ids": window} for window in windows_of(spec)]
    entry.apply_gptq, entry.apply_qronos = timer.around(entry.apply_gptq), timer.around(entry.apply_qronos)
    # the calibration loader yields one sequence a batch, as the entry point's default does
    words = ["--model", spec["model"], "--dtype", spec["dtype"], "--nsamples", str(spec["samples"]), "--seqlen", str(spec["length"]),
             "--weight-bit-width", str(spec["bits"]), "--weight-quant-granularity", "per_group", "--weight-group-size", str(spec["group_size"]),
             "--weight-quant-type", "sym", "--weight-param-method", "stats", "--gpxq-block-name", "model.layers",
             "--gptq" if spec["algorithm"] == "optq" else "--qronos"]
    arguments, rest = parse_args(create_args_parser(), words)
    _, model = entry.quantize_llm(arguments, rest)
    return {name: module.quant_weight().value for name, module in model.named_modules() if name.split(".")[-1] in LINEARS}, package.__version__


def gptqmodel(spec, timer):
    """GPTQModel.load() and quantize(), packing included: it packs a layer while it quantizes the next. Its own order of columns (act_group_aware) and
    damping (0.05) are set to what the others use; on two processors its pool of workers is one short of what the package itself asks for, so it is told
    two. Weights are read from what it saves, by its own reader."""
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")
    from gptqmodel import GPTQModel, QuantizeConfig
    config = QuantizeConfig(bits=spec["bits"], group_size=spec["group_size"], sym=True, desc_act=False, act_group_aware=False, damp_percent=0.01,
                            device="cpu", offload_to_disk=False)
    model = GPTQModel.load(spec["model"], config, dtype=dtype_of(spec))
    calibration = [{"input_ids": window, "attention_mask": [1] * len(window)} for window in windows_of(spec)]
    timer.around(model.quantize)(calibration, batch_size=1, calibration_sort=None)
    with tempfile.TemporaryDirectory(prefix="quantd-peer-") as saved:
        model.save(saved)
        model = GPTQModel.load(saved, device="cpu", backend="torch")
        weights = {name: module.dequantize_weight().T for name, module in model.model.named_modules() if name.split(".")[-1] in LINEARS}
    return weights, importlib.metadata.version("gptqmodel")


def llmcompressor(spec, timer):
    """oneshot() with a GPTQModifier: sequential, block by block, errors carried on. Its order of columns (static act-order) is set to natural."""
    import llmcompressor as package
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from datasets import Dataset
    from llmcompressor import oneshot
    from llmcompressor.modifiers.gptq import GPTQModifier
    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained(spec["model"], dtype=dtype_of(spec))
    windows = windows_of(spec)
    data = Dataset.from_dict({"input_ids": windows, "attention_mask": [[1] * len(window) for window in windows]})
    weights = QuantizationArgs(num_bits=spec["bits"], type="int", symmetric=True, strategy="group", group_size=spec["group_size"])
    recipe = GPTQModifier(config_groups={"group_0": QuantizationScheme(targets=["Linear"], weights=weights)}, ignore=["lm_head"],
                          dampening_frac=0.01, actorder=None)
    timer.around(oneshot)(model=model, dataset=data, recipe=recipe, max_seq_length=spec["length"], num_calibration_samples=spec["samples"],
                          shuffle_calibration_samples=False)
    return {name: module.weight for name, module in model.named_modules() if name.split(".")[-1] in LINEARS}, package.__version__


PEERS = {"brevitas": brevitas, "gptqmodel": gptqmodel, "llmcompressor": llmcompressor}


def dtype_of(spec):
    import torch
    return getattr(torch, spec["dtype"])


# ---- what is done with the weights ----

def write_folder(spec, weights):
    """The source's folder with these weights in place of its own, in float32."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    model = AutoModelForCausalLM.from_pretrained(spec["model"], dtype=torch.float32)
    replaced = 0
    with torch.no_grad():
        for name, module in model.named_modules():
            if name.split(".")[-1] in LINEARS:
                module.weight.copy_(weights[name].detach().to(torch.float32))
                replaced += 1
    assert replaced == len(weights) > 0, (replaced, len(weights))
    model.save_pretrained(spec["out"])
    AutoTokenizer.from_pretrained(spec["model"]).save_pretrained(spec["out"])


def perplexity(spec):
    """Mean over every token but the first of each window, in float32."""
    import math
    import torch
    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained(spec["model"], dtype=torch.float32).eval()
    total = count = 0
    with torch.no_grad():
        for window in windows_of(spec):
            logits = model(torch.tensor([window])).logits[0, :-1].double()
            total += torch.nn.functional.cross_entropy(logits, torch.tensor(window[1:]), reduction="sum").item()
            count += len(window) - 1
    return {"perplexity": math.exp(total / count)}


def folder(spec):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    where = {"pretrained_model_name_or_path": os.path.dirname(spec["model"]), "gguf_file": os.path.basename(spec["model"])}
    config = AutoConfig.from_pretrained(**where)
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # what is loaded is in float32
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32).state_dict())
    model.save_pretrained(spec["out"])
    AutoTokenizer.from_pretrained(**where).save_pretrained(spec["out"])
    return {}


def main():
    with open(sys.argv[1]) as file:
        spec = json.load(file)
    lines, sys.stdout = sys.stdout, sys.stderr  # peers print; the one line is ours
    import torch
    torch.set_num_threads(spec["threads"])
    torch.manual_seed(0)
    if spec["peer"] in ("torch", "folder"):
        print(json.dumps(perplexity(spec) if spec["peer"] == "torch" else folder(spec)), file=lines)
        return
    timer, start = Timer(), time.monotonic()
    weights, version = PEERS[spec["peer"]](spec, timer)
    done = {"seconds": timer.seconds, "cpu_seconds": timer.cpu_seconds, "whole_seconds": time.monotonic() - start, "peak_memory": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
            "version": "%s, torch %s" % (version, torch.__version__)}
    write_folder(spec, weights)
    print(json.dumps(done), file=lines)


if __name__ == "__main__":
    main()
