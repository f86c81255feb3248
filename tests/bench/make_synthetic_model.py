"""Writes a model of a real shape with random weights: sharded bf16 safetensors, tensor by tensor, never more than one in memory.

    python3 tests/bench/make_synthetic_model.py --shape 8b --blocks 1 --tokenizer ../shared/models/novella-15m OUT

Weights have random signs and magnitudes over two octaves, and a variance of about 1 / inputs, so that activations stay in range. The tokenizer is that of another model, whose
ids are fewer: what counts are shapes. The same shape, blocks and seed give the same bytes.
"""
import argparse
import json
import math
import os
import random
import shutil
import struct

# hidden, MLP, heads, key/value heads, head, vocabulary, blocks, tied
SHAPES = {
    "135m": (576, 1536, 9, 3, 64, 49152, 30, True),
    "1b": (2048, 8192, 32, 8, 64, 128256, 16, True),
    "8b": (4096, 14336, 32, 8, 128, 128256, 32, False),
    "70b": (8192, 28672, 64, 8, 128, 128256, 80, False),
    "small": (256, 1024, 4, 2, 64, 8192, 4, True),  # for tests
}
PIECE = 1 << 24  # numbers made at a time


def config_of(shape, blocks):
    hidden, mlp, heads, kv_heads, head, vocabulary, _, tied = SHAPES[shape]
    return {"architectures": ["LlamaForCausalLM"], "attention_bias": False, "bos_token_id": 0, "dtype": "bfloat16", "eos_token_id": 1,
            "head_dim": head, "hidden_act": "silu", "hidden_size": hidden, "intermediate_size": mlp, "max_position_embeddings": 8192,
            "mlp_bias": False, "model_type": "llama", "num_attention_heads": heads, "num_hidden_layers": blocks,
            "num_key_value_heads": kv_heads, "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "tie_word_embeddings": tied,
            "vocab_size": vocabulary}


def tensors_of(shape, blocks):
    """(name, shape), in the order of the files; a row of one is a norm."""
    hidden, mlp, heads, kv_heads, head, vocabulary, _, tied = SHAPES[shape]
    yield "model.embed_tokens.weight", (vocabulary, hidden)
    for block in range(blocks):
        for name, size in (("input_layernorm", (hidden,)), ("self_attn.q_proj", (heads * head, hidden)),
                           ("self_attn.k_proj", (kv_heads * head, hidden)), ("self_attn.v_proj", (kv_heads * head, hidden)),
                           ("self_attn.o_proj", (hidden, heads * head)), ("post_attention_layernorm", (hidden,)),
                           ("mlp.gate_proj", (mlp, hidden)), ("mlp.up_proj", (mlp, hidden)), ("mlp.down_proj", (hidden, mlp))):
            yield "model.layers.%d.%s.weight" % (block, name), size
    yield "model.norm.weight", (hidden,)
    if not tied:
        yield "lm_head.weight", (vocabulary, hidden)


def count_of(size):
    return math.prod(size)


def bytes_of(size):
    return 2 * count_of(size)


def shards_of(tensors, most):
    shards, room = [], 0
    for name, size in tensors:
        if not shards or bytes_of(size) > room:
            shards.append([])
            room = most
        shards[-1].append((name, size))
        room -= bytes_of(size)
    return shards


def write_numbers(file, generator, size):
    """bf16: a norm is from 1 to below 2; else signs, the lowest bit of the exponent and mantissas are random."""
    left, exponent = count_of(size), 0x3F80
    if len(size) > 1:  # the mean square of magnitudes from 2^k to 2^(k+2), k odd as bf16 counts, is 4.7 * 4^k
        exponent = (127 + round((-math.log2(size[-1] * 4.7) - 1) / 4) * 2 + 1) << 7
    mask = 0x80FF if len(size) > 1 else 0x007F
    while left > 0:
        count = min(left, PIECE)
        bits = int.from_bytes(generator.randbytes(2 * count), "little")
        repeated = lambda word: int.from_bytes(struct.pack("<H", word) * count, "little")  # noqa: E731
        file.write((bits & repeated(mask) | repeated(exponent & ~mask)).to_bytes(2 * count, "little"))
        left -= count


def write_shard(path, tensors, generator):
    header, at = {}, 0
    for name, size in tensors:
        header[name] = {"dtype": "BF16", "shape": list(size), "data_offsets": [at, at + bytes_of(size)]}
        at += bytes_of(size)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, size in tensors:
            write_numbers(file, generator, size)


def make(out, shape, blocks=None, tokenizer=None, seed=1, shard_bytes=2 << 30):
    blocks = blocks or SHAPES[shape][6]
    os.makedirs(out, exist_ok=True)
    shards = shards_of(list(tensors_of(shape, blocks)), shard_bytes)
    generator, weight_map = random.Random(seed), {}
    for number, tensors in enumerate(shards, 1):
        name = "model-%05d-of-%05d.safetensors" % (number, len(shards))
        write_shard(os.path.join(out, name), tensors, generator)
        weight_map.update((tensor, name) for tensor, _ in tensors)
    total = sum(bytes_of(size) for tensors in shards for _, size in tensors)
    with open(os.path.join(out, "model.safetensors.index.json"), "w", encoding="ascii") as file:
        json.dump({"metadata": {"total_size": total}, "weight_map": weight_map}, file)
    with open(os.path.join(out, "config.json"), "w", encoding="ascii") as file:
        json.dump(config_of(shape, blocks), file, indent=1)
    for name in ("tokenizer.json", "tokenizer_config.json") if tokenizer else ():
        shutil.copyfile(os.path.join(tokenizer, name), os.path.join(out, name))
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="1b")
    parser.add_argument("--blocks", type=int, help="fewer than the shape has")
    parser.add_argument("--tokenizer", help="folder with tokenizer.json")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(make(given.out, given.shape, given.blocks, given.tokenizer, given.seed))


if __name__ == "__main__":
    main()
