#!/usr/bin/env python3
"""Makes tests/core/model/architectures: a small random model of every family and of the variants that its flags
select, with what transformers says about it. The committed files came from transformers 5.24.0, torch 2.15.0 and
safetensors 0.8.0, on a CPU.

Each folder: config.json, model.safetensors and reference.safetensors with
  input_ids I64 [2, T], logits F32 [2, T, V], hidden_after_first_block F32 [2, T, D] (residual stream behind block 0).

Nothing is left to luck: every norm, every bias and every flag of a row's `ignored` is taken away in turn, and the
logits must move by more than 1e-4 of the largest; each folder is read again by transformers, where it reads that
layout, and must give the same logits. Names of rows as arguments make only these.
"""
import copy
import json
import math
import os
import re
import shutil
import sys
import tempfile
import zlib

import torch
import transformers
from safetensors.torch import load_file, save_file

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "architectures")
VISIBLE = 1e-4
T = 16
# Four query heads of 8 on two key/value heads; nothing equals hidden_size that need not.
SIZES = dict(vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64, pad_token_id=0)
HEADS = dict(SIZES, head_dim=8)
NARROW = dict(SIZES, hidden_size=32, intermediate_size=16)  # heads of hidden_size / 4 = 8
ROPE = {"rope_type": "default", "rope_theta": 100.0}
UNROTATED = {"rope_type": "default", "rope_theta": 1e30}
SINGLE = {key: value for key, value in NARROW.items() if key != "num_key_value_heads"}
EXPERTS = dict(HEADS, num_local_experts=4, num_experts_per_tok=2, intermediate_size=24, rope_parameters=ROPE)
EXPERTS3 = dict(EXPERTS, moe_intermediate_size=16)


class Row:
    """One folder. kind: "Llama" -> LlamaConfig, LlamaForCausalLM.
    ignored: what to take away, label -> changed keys of the config (or a function on the config).
    names: a function on the stored tensors, for layouts that save_pretrained does not write.
    stored: a function on the stored config, for spellings of transformers 4.
    unread: transformers cannot read this layout again.
    """

    def __init__(self, name, kind, config, ignored=None, names=None, stored=None, unread=False):
        self.name, self.kind, self.config = name, kind, dict(config)
        self.ignored, self.names, self.stored, self.unread = ignored or {}, names, stored, unread


def spelled(moved=None, rope=None, removed=(), **values):
    """A config with transformers 4 keys: {new: old} renamed, rope_parameters as rope_theta and rope_scaling."""
    def change(config):
        for key in removed:
            config.pop(key)
        for new, old in (moved or {}).items():
            config[old] = config.pop(new)
        if rope is not None:
            config.pop("rope_parameters")
            config.update(rope)
        config.update(values)
    return change


def rope(kind="default", theta=100.0, **more):
    return dict(more, rope_type=kind, rope_theta=theta)


# ---- layouts that save_pretrained does not write ----

def with_buffers(suffix, shape):
    """Buffers that older versions stored beside the weights of attention."""
    def change(tensors):
        for name in [n for n in tensors if re.search(r"(attn\.c_attn|self_attn\.q_proj|query_key_value)\.weight$", n)]:
            tensors[name.rsplit(".", 2)[0] + "." + suffix] = torch.ones(shape)
        return tensors
    return change


def fused(pattern):
    """One 3-D tensor for all experts: gate_up_proj [E, 2F, D], gate rows first, and down_proj [E, D, F]."""
    def change(tensors):
        out = {}
        for name, tensor in tensors.items():
            m = re.match(r"(.*)\.experts\.(\d+)\.(\w+)\.weight$", name)
            if not m:
                out[name] = tensor
            elif m.group(2) == "0" and m.group(3) == pattern[0]:
                every = lambda part: torch.stack(
                    [tensors["%s.experts.%d.%s.weight" % (m.group(1), e, part)] for e in range(4)])
                out[m.group(1) + ".experts.gate_up_proj"] = torch.cat([every(pattern[0]), every(pattern[1])], 1)
                out[m.group(1) + ".experts.down_proj"] = every(pattern[2])
        return {n: t.contiguous() for n, t in out.items()}
    return change


def renamed(old, new, then=lambda tensors: tensors):
    def change(tensors):
        return then({re.sub(old, new, n): t for n, t in tensors.items()})
    return change


# ---- the rows ----

LLAMA3 = rope("llama3", 50.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)  # wavelengths 6, 17, 44, 118 against edges 8 and 32
YARN = rope("yarn", 200.0, factor=4.0, original_max_position_embeddings=16, beta_fast=4.0, beta_slow=1.0)
LONG = dict(short_factor=[1.0, 1.5, 2.0, 3.0], long_factor=[2.0, 4.0, 6.0, 9.0])
GEMMA3 = dict(HEADS, intermediate_size=16, num_hidden_layers=7, sliding_window=6, query_pre_attn_scalar=5,
              rope_parameters={"full_attention": rope("linear", 1000.0, factor=3.0),
                               "sliding_attention": rope(theta=20.0)})
GEMMA3_IGNORED = {
    "window": dict(sliding_window=64), "query_pre_attn_scalar": dict(query_pre_attn_scalar=8),
    "all layers slide": dict(layer_types=["sliding_attention"] * 7),
    "theta of full layers": dict(rope_parameters={"full_attention": rope("linear", 20.0, factor=3.0),
                                                  "sliding_attention": rope(theta=20.0)}),
    "theta of sliding layers": dict(rope_parameters={"full_attention": rope("linear", 1000.0, factor=3.0),
                                                     "sliding_attention": rope(theta=1000.0)}),
    "linear scaling": dict(rope_parameters={"full_attention": rope(theta=1000.0),
                                            "sliding_attention": rope(theta=20.0)}),
    "tanh of gelu": dict(hidden_activation="gelu")}
VISION = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=8,
              patch_size=4)


def shortlonged(original):
    return dict(NARROW, original_max_position_embeddings=original,
                rope_parameters=rope("longrope", 100.0, **dict(LONG, original_max_position_embeddings=original)))


def longrope_swapped(key):
    def change(config):
        config["rope_parameters"] = dict(config["rope_parameters"], **{key: [1.0] * 4})
    return change


def attention_factor_one(config):
    config["rope_parameters"] = dict(config["rope_parameters"], attention_factor=1.0)


def text(**changes):
    """The same changes, of the text model inside a wrapper."""
    def change(config):
        config["text_config"].update(changes)
    return change


ROWS = [
    # llama: head_dim absent from the config (hidden/heads), tied, buffers of older files, transformers 4 spelling.
    Row("llama-linear", "Llama", dict(NARROW, tie_word_embeddings=True, rope_parameters=rope("linear", factor=2.5)),
        {"linear scaling": dict(rope_parameters=ROPE)}, with_buffers("rotary_emb.inv_freq", [4]),
        spelled(rope=dict(rope_theta=100.0, rope_scaling={"type": "linear", "factor": 2.5}), head_dim=None)),
    Row("llama-dynamic", "Llama", dict(HEADS, max_position_embeddings=12, rope_parameters=rope("dynamic", factor=3.0)),
        {"dynamic scaling": dict(rope_parameters=ROPE)}),
    Row("llama-yarn", "Llama", dict(HEADS, rope_parameters=YARN),
        {"yarn": dict(rope_parameters=rope(theta=200.0)), "yarn's attention factor": attention_factor_one}),
    Row("llama-bands", "Llama", dict(HEADS, rope_parameters=LLAMA3), {"llama3": dict(rope_parameters=rope(theta=50.0))}),
    Row("llama-biases", "Llama", dict(HEADS, num_key_value_heads=4, attention_bias=True, mlp_bias=True,
                                      rope_parameters=ROPE), {"rotation": dict(rope_parameters=UNROTATED)}),
    Row("mistral", "Mistral", dict(HEADS, sliding_window=6, tie_word_embeddings=True, rope_parameters=ROPE),
        {"window": dict(sliding_window=None), "window + 1": dict(sliding_window=7)}),
    Row("qwen2", "Qwen2", dict(NARROW, tie_word_embeddings=True, sliding_window=6, rope_parameters=ROPE),
        {"rotation": dict(rope_parameters=UNROTATED)}),
    Row("qwen2-window", "Qwen2", dict(NARROW, use_sliding_window=True, sliding_window=6, max_window_layers=1,
                                      rope_parameters=ROPE),
        {"window": dict(layer_types=["full_attention"] * 2), "window of the second layer only": dict(
            layer_types=["sliding_attention"] * 2)}),
    Row("qwen3", "Qwen3", dict(HEADS, tie_word_embeddings=True, rope_parameters=ROPE),
        {"rotation": dict(rope_parameters=UNROTATED)}),
    Row("qwen3-biases", "Qwen3", dict(HEADS, attention_bias=True, rope_parameters=ROPE),
        {"biases": dict(attention_bias=False)}),
    Row("gemma", "Gemma", dict(HEADS, rope_parameters=ROPE), {"tanh of gelu": dict(hidden_act="gelu_python")},
        stored=spelled(hidden_act="gelu")),  # as published: it means the tanh form
    Row("gemma2", "Gemma2", dict(HEADS, num_hidden_layers=3, intermediate_size=16, sliding_window=6,
                                 query_pre_attn_scalar=5, attn_logit_softcapping=3.0, final_logit_softcapping=4.0,
                                 rope_parameters=ROPE),
        {"softcap of scores": dict(attn_logit_softcapping=None), "softcap of logits": dict(final_logit_softcapping=None),
         "window": dict(layer_types=["full_attention"] * 3), "even layers slide": dict(
             layer_types=["full_attention", "sliding_attention", "full_attention"]),
         "query_pre_attn_scalar": dict(query_pre_attn_scalar=8), "tanh of gelu": dict(hidden_activation="gelu")},
        stored=spelled(removed=["layer_types"])),
    Row("gemma2-untied", "Gemma2", dict(HEADS, tie_word_embeddings=False, attn_logit_softcapping=None,
                                        final_logit_softcapping=None, rope_parameters=ROPE),
        {"query_pre_attn_scalar": dict(query_pre_attn_scalar=8)}),
    Row("gemma3", "Gemma3Text", GEMMA3, GEMMA3_IGNORED),
    Row("gemma3-spelled", "Gemma3Text", dict(GEMMA3, num_hidden_layers=3, layer_types=[
        "sliding_attention", "sliding_attention", "full_attention"], tie_word_embeddings=False),
        {"linear scaling": GEMMA3_IGNORED["linear scaling"],
         "pattern": dict(layer_types=["sliding_attention"] * 3)},
        stored=spelled(removed=["layer_types", "_sliding_window_pattern"], rope=dict(
            rope_theta=1000.0, rope_local_base_freq=20.0, rope_scaling={"rope_type": "linear", "factor": 3.0}),
            sliding_window_pattern=3)),
    Row("phi3", "Phi3", dict(NARROW, sliding_window=6, rope_parameters=ROPE), {"window": dict(sliding_window=None)}),
    Row("phi3-partial", "Phi3", dict(NARROW, tie_word_embeddings=True,
                                     rope_parameters=dict(ROPE, partial_rotary_factor=0.75)),
        {"partial rotation": dict(rope_parameters=dict(ROPE, partial_rotary_factor=1.0))}),
    Row("phi3-longrope-short", "Phi3", shortlonged(32),
        {"factors of short texts": longrope_swapped("short_factor"), "attention factor": attention_factor_one}),
    Row("phi3-longrope-long", "Phi3", shortlonged(12),
        {"factors of long texts": longrope_swapped("long_factor"), "attention factor": attention_factor_one},
        stored=spelled(rope=dict(rope_theta=100.0, rope_scaling=dict(LONG, type="longrope")))),
    Row("olmo2", "Olmo2", dict(NARROW, rope_parameters=ROPE), {"rotation": dict(rope_parameters=UNROTATED)}),
    Row("granite", "Granite", dict(NARROW, embedding_multiplier=3.0, attention_multiplier=0.2, residual_multiplier=0.6,
                                   logits_scaling=5.0, tie_word_embeddings=True, rope_parameters=ROPE),
        {key: {key: value} for key, value in (("embedding_multiplier", 1.0), ("attention_multiplier", 8 ** -0.5),
                                              ("residual_multiplier", 1.0), ("logits_scaling", 1.0))}),
    Row("granite-biases", "Granite", dict(NARROW, attention_multiplier=0.4, attention_bias=True, mlp_bias=True,
                                          rope_parameters=ROPE),
        {"attention_multiplier": dict(attention_multiplier=8 ** -0.5)}),
    Row("stablelm", "StableLm", dict(NARROW, use_qkv_bias=False, use_parallel_residual=True,
                                     rope_parameters=dict(ROPE, partial_rotary_factor=0.5)),
        {"partial rotation": dict(rope_parameters=dict(ROPE, partial_rotary_factor=1.0))}),
    Row("stablelm-norms", "StableLm", dict(NARROW, use_qkv_bias=True, use_parallel_residual=False, qk_layernorm=True,
                                           tie_word_embeddings=True,
                                           rope_parameters=dict(ROPE, partial_rotary_factor=0.25)),
        {"parallel": dict(use_parallel_residual=True), "norms of heads": dict(qk_layernorm=False)},
        stored=spelled(rope=dict(rope_theta=100.0, rope_scaling=None, partial_rotary_factor=0.25))),
    Row("smollm3", "SmolLM3", dict(SIZES, num_hidden_layers=3, no_rope_layers=[1, 0, 1], tie_word_embeddings=False,
                                   rope_parameters=ROPE),
        {"all rotate": dict(no_rope_layers=[1] * 3), "inverted": dict(no_rope_layers=[0, 1, 0])}),
    Row("smollm3-interval", "SmolLM3", dict(SIZES, num_hidden_layers=3, no_rope_layer_interval=3,
                                            use_sliding_window=True, sliding_window=6, rope_parameters=ROPE),
        {"all rotate": dict(no_rope_layers=[1] * 3), "window": dict(layer_types=["full_attention"] * 3)},
        stored=spelled(removed=["no_rope_layers"])),
    Row("gpt2", "GPT2", dict(vocab_size=64, n_embd=32, n_layer=2, n_head=4, n_inner=48, n_positions=32),
        {"tanh of gelu": dict(activation_function="gelu"), "scale of scores": dict(scale_attn_weights=False)},
        renamed(r"^transformer\.", "", with_buffers("bias", [1, 1, 32, 32]))),
    Row("gpt2-scaled", "GPT2", dict(vocab_size=64, n_embd=16, n_layer=2, n_head=2, n_positions=32,
                                    scale_attn_by_inverse_layer_idx=True, scale_attn_weights=False,
                                    tie_word_embeddings=False),
        {"scale by layer": dict(scale_attn_by_inverse_layer_idx=False), "no scale": dict(scale_attn_weights=True)}),
    Row("opt", "OPT", dict(vocab_size=64, hidden_size=16, ffn_dim=32, num_hidden_layers=2, num_attention_heads=4,
                           max_position_embeddings=32, word_embed_proj_dim=16),
        {"relu": dict(activation_function="gelu")},
        renamed(r"^model\.decoder\.", "decoder.")),
    Row("opt-350m", "OPT", dict(vocab_size=64, hidden_size=16, ffn_dim=32, num_hidden_layers=2, num_attention_heads=4,
                                max_position_embeddings=32, do_layer_norm_before=False, word_embed_proj_dim=8),
        {"norm before": dict(do_layer_norm_before=True)}),
    Row("gpt_neox", "GPTNeoX", dict(SINGLE, tie_word_embeddings=True,
                                    rope_parameters=dict(ROPE, partial_rotary_factor=0.5)),
        {"sequential": dict(use_parallel_residual=False), "erf of gelu": dict(hidden_act="gelu_new"),
         "partial rotation": dict(rope_parameters=ROPE)},
        with_buffers("rotary_emb.inv_freq", [2]),
        spelled(rope=dict(rotary_emb_base=100, rotary_pct=0.5))),
    Row("gpt_neox-sequential", "GPTNeoX", dict(SINGLE, use_parallel_residual=False, hidden_act="gelu_new",
                                               rope_parameters=dict(ROPE, partial_rotary_factor=0.25)),
        {"parallel": dict(use_parallel_residual=True), "tanh of gelu": dict(hidden_act="gelu")}),
    Row("mixtral", "Mixtral", dict(EXPERTS, tie_word_embeddings=True, head_dim=None, sliding_window=6),
        {"two experts": dict(num_experts_per_tok=1), "window": dict(sliding_window=None)}),
    Row("qwen3_moe", "Qwen3Moe", dict(EXPERTS3, norm_topk_prob=True),
        {"norm_topk_prob": dict(norm_topk_prob=False)}, stored=spelled({"num_local_experts": "num_experts"})),
    Row("qwen3_moe-dense", "Qwen3Moe", dict(EXPERTS3, num_hidden_layers=4, norm_topk_prob=False, decoder_sparse_step=2,
                                            mlp_only_layers=[3], tie_word_embeddings=True),
        {"norm_topk_prob": dict(norm_topk_prob=True)}),
    Row("qwen3_moe-fused", "Qwen3Moe", dict(EXPERTS3, norm_topk_prob=True, attention_bias=True), {
        "norm_topk_prob": dict(norm_topk_prob=False)}, fused(("gate_proj", "up_proj", "down_proj"))),
    Row("gemma3-vision", "Gemma3", dict(text_config=dict(GEMMA3, num_hidden_layers=3, layer_types=[
        "sliding_attention", "full_attention", "sliding_attention"]), vision_config=VISION, mm_tokens_per_image=4,
        image_token_index=63, boi_token_index=62, eoi_token_index=61),
        {"window": text(sliding_window=64), "query_pre_attn_scalar": text(query_pre_attn_scalar=8)},
        renamed("^", "model.", renamed(r"^model\.language_model\.model", "model.language_model"))),
    Row("llava", "Llava", dict(text_config=dict(HEADS, model_type="llama", rope_parameters=ROPE),
                               vision_config=dict(VISION, model_type="clip_vision_model"), image_token_index=63),
        {"rotation": text(rope_parameters=UNROTATED)}),
]


# ---- a model of a row ----

def make(kind, config):
    wrapped = "text_config" in config
    settings = getattr(transformers, kind + "Config")(**copy.deepcopy(config))
    settings._attn_implementation = "eager"
    name = {"Gemma3Text": "Gemma3ForCausalLM", "GPT2": "GPT2LMHeadModel"}.get(
        kind, kind + ("ForConditionalGeneration" if wrapped else "ForCausalLM"))
    return getattr(transformers, name)(settings).eval()


def role(name):
    """norm, bias or weight, by the name of a parameter."""
    if name.endswith("bias"):
        return "bias"
    return "norm" if re.search(r"(norm|norms\.\d+|ln_[12f])\.weight$", name) else "weight"


def neutral(kind, name):
    return 0.0 if role(name) == "bias" or kind.startswith("Gemma") else 1.0


def fill(row, model, seed):
    """Random numbers that leave no tensor without effect: scores of a few units, gates and norms apart from 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda shape: torch.randn(shape, generator=generator)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            if role(name) != "weight":
                p.copy_(neutral(row.kind, name) + 0.3 * draw(p.shape))
            elif re.search(r"(embed_tokens|embed_in|wte|wpe|embed_positions)\.weight$", name):
                p.copy_(draw(p.shape) * (0.25 if row.kind.startswith("Gemma") else 1.0))
            else:
                inputs = p.shape[0] if re.search(r"c_(attn|proj|fc)\.weight$", name) else p.shape[-1]
                p.copy_(draw(p.shape) * 1.5 / math.sqrt(inputs))
    model.tie_weights()


def first_block(model):
    """The decoder layer whose output is the residual stream behind block 0."""
    lists = [m for n, m in model.named_modules() if re.search(r"(^|\.)(layers|h)$", n) and "vision" not in n]
    assert len(lists) == 1
    return lists[0][0]


def run(model, ids):
    kept = {}

    def keep(_, __, out):
        kept["first"] = out[0] if isinstance(out, tuple) else out
    handle = first_block(model).register_forward_hook(keep)
    with torch.no_grad():
        logits = model(input_ids=ids).logits
    handle.remove()
    return logits.float(), kept["first"].float()


def apart(a, b):
    return float((a - b).abs().max() / a.abs().max())


def smallest_choice(model, ids):
    """The closest call of any router: the gap between the last probability that was taken and the first that was not."""
    gaps = []
    routers = [m for m in model.modules() if type(m).__name__.endswith("TopKRouter")]

    def note(router, args, _):
        x = args[0].reshape(-1, router.weight.shape[1])
        top = torch.softmax(x @ router.weight.T, -1).sort(-1, descending=True).values
        gaps.append(float((top[:, router.top_k - 1] - top[:, router.top_k]).min()))
    handles = [r.register_forward_hook(note) for r in routers]
    run(model, ids)
    for h in handles:
        h.remove()
    return min(gaps, default=1.0)


def say(row, label, distance):
    print("  %-44s %.1e" % (label, distance))
    if not distance > VISIBLE:
        sys.exit("%s: '%s' is not visible" % (row.name, label))


# A key's bias adds the same to all scores of a query where nothing rotates it: no softmax sees it.
UNSEEN = re.compile(r"OPT.*k_proj\.bias$")


def check_tensors(row, model, ids, logits):
    kinds = {}
    for name, p in model.named_parameters():
        if role(name) != "weight" and "vision" not in name and "multi_modal" not in name:
            kinds.setdefault(re.sub(r"\d+", "#", name), []).append(p)
    for label, parameters in sorted(kinds.items()):
        if UNSEEN.search(row.kind + label):
            continue
        before = [p.detach().clone() for p in parameters]
        with torch.no_grad():
            for p in parameters:
                p.fill_(neutral(row.kind, label))
            say(row, label, apart(logits, run(model, ids)[0]))
            for p, b in zip(parameters, before):
                p.copy_(b)


def check_flags(row, model, ids, logits):
    for label, change in row.ignored.items():
        config = copy.deepcopy(row.config)
        change(config) if callable(change) else config.update(change)
        other = make(row.kind, config)
        other.load_state_dict(model.state_dict(), strict=False)
        other.tie_weights()
        say(row, "without " + label, apart(logits, run(other, ids)[0]))


def write(row, model, folder, ids, logits, first):
    with tempfile.TemporaryDirectory() as place:
        model.save_pretrained(place)
        tensors = load_file(os.path.join(place, "model.safetensors"))
        with open(os.path.join(place, "config.json")) as f:
            config = json.load(f)
    if row.names:
        tensors = row.names(tensors)
    if row.stored:
        row.stored(config)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f, indent=1, sort_keys=True)
        f.write("\n")
    save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    save_file({"input_ids": ids, "logits": logits.contiguous(), "hidden_after_first_block": first.contiguous()},
              os.path.join(folder, "reference.safetensors"))


def make_row(row):
    model = make(row.kind, row.config)
    seed = zlib.crc32(row.name.encode())
    vocabulary = 60 if "text_config" in row.config else 64  # a wrapper's last ids stand for images
    ids = torch.randint(vocabulary, (2, T), generator=torch.Generator().manual_seed(seed))
    fill(row, model, seed)
    while smallest_choice(model, ids) < 1e-3:  # no token may change its expert for a rounding
        seed += 1
        fill(row, model, seed)
    logits, first = run(model, ids)
    print("%s: largest logit %.3g" % (row.name, float(logits.abs().max())))
    check_tensors(row, model, ids, logits)
    check_flags(row, model, ids, logits)
    folder = os.path.join(HERE, row.name)
    write(row, model, folder, ids, logits, first)
    if not row.unread:
        again = type(model).from_pretrained(folder, attn_implementation="eager").eval()
        distance = apart(logits, run(again, ids)[0])
        print("  read again: %.1e" % distance)
        if not distance < 1e-6:
            sys.exit("%s: reads differently" % row.name)


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    wanted = sys.argv[1:]
    for row in ROWS:
        if not wanted or row.name in wanted:
            make_row(row)


if __name__ == "__main__":
    main()
