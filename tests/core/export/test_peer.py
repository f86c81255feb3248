"""test_peer.py: an artifact read by somebody who knows only the formats' description: the layout of safetensors and of
compressed-tensors, in plain Python, and the safetensors package where it is installed."""
import array
import hashlib
import json
import os
import struct
import subprocess
import sys

SOURCE = os.environ.get("QUANTD_SOURCE", ".")
sys.path.insert(0, os.path.join(SOURCE, "tests", "http"))
from harness import Skip, equal, run_claims, temporary_folder  # noqa: E402

WRITER = os.path.join(os.path.dirname(os.environ.get("QUANTD", "build/quantd")), "tests", "core", "export", "write_artifact")
MODEL = os.path.join(SOURCE, "tests", "models", "novella-1m")
GRIDS = [("4", "none", "128"), ("4", "integer", "32"), ("8", "none", "0"), ("8", "integer", "128"), ("2", "integer", "64")]
FOLDER = temporary_folder()


def artifact(form, grid):
    folder = os.path.join(FOLDER, form.replace(":", "-") + "-".join(grid))
    if not os.path.isdir(folder):
        subprocess.run([WRITER, MODEL, folder, form, *grid, "bf16"], check=True, stdout=subprocess.DEVNULL)
    return folder


def tensors(folder):
    """name -> (dtype, shape, bytes)"""
    with open(os.path.join(folder, "model.safetensors"), "rb") as file:
        blob = file.read()
    (length,) = struct.unpack_from("<Q", blob)
    header = json.loads(blob[8:8 + length])
    equal(header.pop("__metadata__"), {"format": "pt"}, "metadata")
    equal((8 + length) % 8, 0, "alignment of the data")
    data = blob[8 + length:]
    return {name: (t["dtype"], t["shape"], data[slice(*t["data_offsets"])]) for name, t in header.items()}


def unpack(words, row, width, count, bits):
    """Element i is bits i b .. i b + b - 1 of the row's little-endian bit stream."""
    stream = int.from_bytes(words[4 * row * width:4 * (row + 1) * width], "little")
    mask = (1 << bits) - 1
    return [stream >> (bits * i) & mask for i in range(count)]


def bf16(raw):
    return [struct.unpack("<f", b"\0\0" + raw[i:i + 2])[0] for i in range(0, len(raw), 2)]


def zeros_of(t, layer, rows, groups, bits):
    if layer + ".weight_zero_point" not in t:
        return [[1 << (bits - 1)] * groups] * rows
    dtype, shape, raw = t[layer + ".weight_zero_point"]
    equal((dtype, shape), ("I32", [-(-rows * bits // 32), groups]), layer)
    columns = []
    for g in range(groups):
        column = b"".join(raw[4 * (k * groups + g):4 * (k * groups + g) + 4] for k in range(shape[0]))
        columns.append(unpack(column, 0, shape[0], rows, bits))
    return [list(row) for row in zip(*columns)]


def dequantize(t, layer, bits):
    rows, cols = struct.unpack("<2q", t[layer + ".weight_shape"][2])
    dtype, (_, groups), raw = t[layer + ".weight_scale"]
    equal(dtype, "BF16", "dtype of scales in a bf16 model")
    scales, zeros = bf16(raw), zeros_of(t, layer, rows, groups, bits)
    out = array.array("f")
    for o in range(rows):
        codes = unpack(t[layer + ".weight_packed"][2], o, t[layer + ".weight_packed"][1][1], cols, bits)
        for i, code in enumerate(codes):
            g = i * groups // cols
            out.append((code - zeros[o][g]) * scales[o * groups + g])
    return out.tobytes()


def packed_layers_are_the_dequantized_ones_to_the_bit():
    for grid in GRIDS:
        packed, plain = tensors(artifact("compressed-tensors", grid)), tensors(artifact("safetensors:f32", grid))
        layers = [n[:-len(".weight_packed")] for n in packed if n.startswith("model.layers.3.") and n.endswith(".weight_packed")]
        equal(len(layers), 7, "linear layers of a block")
        for layer in layers:
            got = array.array("f", dequantize(packed, layer, int(grid[0])))
            want = array.array("f", plain[layer + ".weight"][2])
            equal(got == want, True, "%s %s" % (grid, layer))


def everything_else_is_the_sources_to_the_byte():
    source = tensors(MODEL)
    for form in ("compressed-tensors", "safetensors:bf16"):
        folder = artifact(form, GRIDS[0])
        mine = tensors(folder)
        kept = [n for n in source if "_proj" not in n]
        equal(len(kept), 14, "embedding and norms")
        for name in kept:
            equal(mine[name], source[name], name)
        for name in os.listdir(MODEL):
            if name not in ("config.json", "model.safetensors"):
                with open(os.path.join(MODEL, name), "rb") as a, open(os.path.join(folder, name), "rb") as b:
                    equal(a.read() == b.read(), True, name)


def the_manifest_has_every_file_with_its_digest():
    folder = artifact("compressed-tensors", GRIDS[1])
    with open(os.path.join(folder, "manifest.json"), encoding="utf-8") as file:
        manifest = json.load(file)
    equal(sorted(f["path"] for f in manifest["files"]), sorted(set(os.listdir(folder)) - {"manifest.json"}), "files")
    for f in manifest["files"]:
        with open(os.path.join(folder, f["path"]), "rb") as file:
            content = file.read()
        equal((len(content), hashlib.sha256(content).hexdigest()), (f["size"], f["sha256"]), f["path"])
    equal(manifest["bits_per_weight"], 4 + (16 + 4) / 32, "4 bits, and a bf16 scale and a 4-bit zero for 32 weights")


def the_safetensors_package_reads_what_we_wrote():
    try:
        from safetensors import safe_open
    except ImportError:
        raise Skip("the Python package safetensors is not installed")
    try:
        import numpy  # noqa: F401
    except ImportError:
        raise Skip("the Python package numpy is not installed")
    for form in ("compressed-tensors", "safetensors:f32"):
        folder = artifact(form, GRIDS[1])
        mine = tensors(folder)
        with safe_open(os.path.join(folder, "model.safetensors"), framework="np") as file:
            equal(sorted(file.keys()), sorted(mine), "names")
            for name in file.keys():
                if mine[name][0] != "BF16":
                    equal(file.get_tensor(name).tobytes(), mine[name][2], name)


run_claims([packed_layers_are_the_dequantized_ones_to_the_bit, everything_else_is_the_sources_to_the_byte,
            the_manifest_has_every_file_with_its_digest, the_safetensors_package_reads_what_we_wrote])
