"""Hostile config.json: keys missing, of the wrong type, huge, contradictory, deep, twice; each refused with the key's name."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from kit import *  # noqa: E402,F403


def text(name, content, match, sound=False, names="config"):
    content = content.encode() if isinstance(content, str) else content
    case("config: " + name, folder(config=content), match, sound=sound, names=None if sound else names)


def other(name, match, sound=False, names="config", **fields):
    text(name, config(**fields), match, sound, names)


def raw(key, value):
    """The tiny config with one value as it is written."""
    return json.dumps(dict(CONFIG, **{key: 0})).replace('"%s": 0' % key, '"%s": %s' % (key, value))


text("sound", config(), "7 linear layers", sound=True)
# Not JSON.
for name, content in (("empty", ""), ("blank", "   "), ("an array", "[]"), ("a string", '"x"'), ("a number", "17"), ("null", "null"), ("a brace", "{"),
                      ("something behind", config().decode() + "x"), ("two objects", config().decode() * 2), ("a comma too many", config().decode()[:-1] + ",}"),
                      ("single quotes", "{'a':1}"), ("a comment", "// x\n" + config().decode()), ("a byte order mark", "\ufeff" + config().decode()),
                      ("UTF-16", config().decode().encode("utf-16")), ("NUL", config() + b"\0"), ("a NUL in a key", '{"a\\u0000b":1}'),
                      ("Latin-1", b'{"architectures":["\xe9"]}'), ("a lone surrogate", '{"architectures":["\\ud800"]}'), ("YAML", "hidden_size: 32\n")):
    text(name, content, r"JSON")
text("deep arrays", '{"a":' + "[" * 100000 + "]" * 100000 + "}", r"nested deeper")
text("deep objects", '{"a":' * 5000 + "1" + "}" * 5000, r"nested deeper")
text("33 levels", '{"a":' + "[" * 32 + "]" * 32 + "}", r"nested deeper")
text("a million empty objects", '{"a":[' + "{}," * 1000000 + "{}]}", r"architectures|values|JSON")
text("a million empty arrays", '{"a":[' + "[]," * 1000000 + "[]]}", r"architectures|values|JSON")
text("five megabytes", b'{"a":"' + b"x" * (5 << 20) + b'"}', r"larger than the limit")
text("a hundred thousand keys", json.dumps({"k%d" % i: i for i in range(100000)}), r"architectures")
text("keys that hash alike do not matter: two hundred thousand of one letter more", json.dumps({"a" * (i % 500) + str(i): 0 for i in range(8000)}), r"architectures")
for key in CONFIG:
    text("%s twice" % key, json.dumps(CONFIG)[:-1] + ', "%s": %s}' % (key, json.dumps(CONFIG[key])), r"duplicate")

# Missing keys.
for key in ("architectures", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size"):
    other("without %s" % key, key, **{key: DROP})
    other("%s is null" % key, key, **{key: None})

# Types.
SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size", "max_position_embeddings")
for key in SIZES:
    for value in ("32", 32.0, [32], {"x": 32}, True):
        other("%s is %s" % (key, json.dumps(value)), key, **{key: value})
    for value in (-1, -HUGE - 1):
        other("%s is %d" % (key, value), key, **{key: value})
    for value in (2**31 - 1, 2**32, 2**32 + 32, HUGE):
        if key != "max_position_embeddings":
            other("%s is %d" % (key, value), r"%s|config wants|missing|beyond|heads|features|rotary|out of range|overflow" % key, **{key: value})
    for value in ("9223372036854775808", "1" * 400, "1e400", "NaN", "-Infinity", "0x20", "032", "+32", "3_2"):
        text("%s is %s" % (key, value[:20]), raw(key, value), r"JSON|%s" % key)
for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size"):
    other("%s is 0" % key, key, **{key: 0})
other("no key/value heads", r"key/value heads", num_key_value_heads=0)
other("more key/value heads than heads", r"key/value heads", num_key_value_heads=4)
other("heads that the key/value heads do not divide", r"key/value heads", num_attention_heads=4, num_key_value_heads=3)
other("heads that do not divide hidden_size", r"does not divide", num_attention_heads=5)
other("sizes whose product overflows", r"beyond|config wants|missing", num_attention_heads=2**32, head_dim=2**32, hidden_size=32)
other("a head_dim that is odd", r"head_dim|rotary|rope|even", head_dim=15)
other("another head_dim", r"config wants", head_dim=8)
other("another hidden_size", r"config wants", hidden_size=64)
other("more layers than tensors", names="model.layers.1.", match=r"layers\.1\..* is missing", num_hidden_layers=2)
other("a hundred thousand layers", match=r"promises 700000 linear layers, the files have \d+ tensors", num_hidden_layers=100000)
other("a hundred thousand and one layers", r"num_hidden_layers", num_hidden_layers=100001)
other("another vocabulary", r"embed_tokens.*config wants", vocab_size=9)
other("sound, a bos_token_id beyond the vocabulary is none", "7 linear", sound=True, bos_token_id=HUGE)
other("sound, a bos_token_id of the wrong type is none", "7 linear", sound=True, bos_token_id="x")

# architectures.
for value in ([], {}, "LlamaForCausalLM", 1, [1], [None], [["LlamaForCausalLM"]], True):
    other("architectures is %s" % json.dumps(value), r"architectures", architectures=value)
for value in ("", "GPTJForCausalLM", "llamaforcausallm", "LlamaForCausalLM ", "L" * 100000, "../../etc/passwd", "%s%n%d", "\u202eLlama", "LlamaForCausalLM\n"):
    other("architecture %r" % value[:30], r"is not supported; supported are", architectures=[value])
for key in ("rms_norm_eps",):
    for value in ("1e-5", [], {}, True, -1e-5, 2, 1e308):
        other("%s is %s" % (key, json.dumps(value)), key, **{key: value})
    for value in ("NaN", "1e999", "Infinity"):
        text("%s is %s" % (key, value), raw(key, value), r"JSON|%s" % key)
other("architecture 'GPT2LMHeadModel' of other tensors", r"wte.weight. is missing", names="wte.weight", architectures=["GPT2LMHeadModel"])
for value in ("selu", "", "SILU", "silu\\u0000", "relu" * 1000):
    text("hidden_act is %s" % value[:20], raw("hidden_act", '"%s"' % value), r"hidden_act|NUL")
for value in (1, [], True):
    other("hidden_act is %s" % json.dumps(value), r"hidden_act", hidden_act=value)
for key in ("attention_bias", "mlp_bias", "tie_word_embeddings"):
    for value in (1, 0, "true", [], {}):
        other("%s is %s" % (key, json.dumps(value)), key, **{key: value})
other("attention biases that are not there", names="tensor", match=r"q_proj\.bias' is missing", attention_bias=True)
other("MLP biases that are not there", names="tensor", match=r"gate_proj\.bias' is missing", mlp_bias=True)

# layer_types, windows.
for value in (["linear_attention"], ["full_attention", "x"], [1], [None], [[]], [""], ["sliding_attention"], ["f" * 100000]):
    other("layer_types is %s" % json.dumps(value)[:40], r"layer_types", layer_types=value)
for value in ("full_attention", 7, {}, True, {"0": "full_attention"}):
    other("layer_types is %s" % json.dumps(value), r"layer_types", layer_types=value)
other("layer_types of two layers", r"layer_types", layer_types=["full_attention"] * 2)
other("layer_types of a hundred thousand layers", r"layer_types", layer_types=["full_attention"] * 100000)
for value in (-1, "4096", 4096.0, [], True, -HUGE):
    other("Mistral: sliding_window is %s" % json.dumps(value), r"sliding_window", architectures=["MistralForCausalLM"], sliding_window=value)
other("Mistral: layers slide without a window", r"layer_types", architectures=["MistralForCausalLM"], layer_types=["sliding_attention"])
other("sound, Mistral with a window of 2^63 - 1", "7 linear", sound=True, architectures=["MistralForCausalLM"], sliding_window=HUGE)

# Rotation.
for value in ("10000", [], True, {}, 0, -1.0, 0.5, 1e-300):
    other("rope_theta is %s" % json.dumps(value), r"rope_theta", rope_theta=value)
for value in ("NaN", "1e999"):
    text("rope_theta is %s" % value, raw("rope_theta", value), r"JSON|rope_theta")
for value in (7, "linear", [], True, {"rope_type": 7}, {"rope_type": []}, {"type": "magic", "factor": 2}, {"rope_type": "linear"}, {"rope_type": "dynamic"},
              {"rope_type": "linear", "factor": 0}, {"rope_type": "linear", "factor": -2}, {"rope_type": "linear", "factor": "2"}, 
              {"rope_type": "linear", "factor": 1e-308}, {"rope_type": "llama3", "factor": 8}, {"rope_type": "yarn"}, {"rope_type": "longrope"},
              {"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": -1}, {"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": "x"},
              {"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 64, "beta_fast": 0},
              {"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 64, "beta_fast": -1, "beta_slow": -2},
              {"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 64, "attention_factor": "x"},
              {"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 64, "attention_factor": -1},
              {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 1, "original_max_position_embeddings": 64},
              {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 1, "original_max_position_embeddings": 64},
              {"rope_type": "llama3", "factor": 8, "low_freq_factor": 0, "high_freq_factor": 4, "original_max_position_embeddings": 64},
              {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 0},
              {"rope_type": "llama3", "factor": None, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 64}):
    for key in ("rope_scaling", "rope_parameters"):
        other("%s is %s" % (key, json.dumps(value)), r"rope|factor|original_max|beta", **{key: value})
for value in (0, -0.5, 1.5, "x", 1e308, 1e-9, []):
    other("partial_rotary_factor is %s" % json.dumps(value), r"partial_rotary_factor|rotary", partial_rotary_factor=value)

# quantization_config that lies: no such tensors, no such method.
for value in ({}, {"quant_method": "x"}, {"quant_method": 7}, {"quant_method": None}, {"quant_method": "compressed-tensors"}, {"quant_method": "bitsandbytes"}, [], "x", 7, True,
              {"quant_method": "gptq"}, {"quant_method": "gptq", "bits": 5, "group_size": 128},
              {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemv"}, {"quant_method": "mxfp4"}):
    other("quantization_config is %s" % json.dumps(value), r"quantization|quant_method|is missing|bits|config_groups|format", quantization_config=value)
other("quantization_config that is deep", r"quantization|quant_method|nested", quantization_config={"quant_method": {"a": [[[[[[[[]]]]]]]]}})
other("sound, quantization_config is null", "7 linear", sound=True, quantization_config=None)

if __name__ == "__main__":
    run_cases()
