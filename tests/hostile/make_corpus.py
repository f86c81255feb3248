"""Makes folders/ and corpus_*/ beside this file anew: sound files of every kind, small, from kit.py, gguf.py and the binary ($QUANTD). Hostile
ones are made of them by mutate.c; a crash becomes a file that is added by hand, under a name that says what was wrong."""
import os
import shutil
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from artifacts import *  # noqa: E402,F403
import gguf as g  # noqa: E402
import test_safetensors as shards  # noqa: E402

FOLDERS = {
    "plain": folder(),
    "sharded": dict({name: safetensors(tensors) for name, tensors in shards.PARTS.items()},
                    **{"config.json": config(), "tokenizer.json": tokenizer(), "model.safetensors.index.json": shards.index_text()}),
    "packed": artifact(bits=4, group_size=16, alphabet="int-asymmetric"),
    "gguf": {"model.gguf": g.gguf()},
}
# Containers that this tree can write by now; each a folder.
MADE_HERE = (("gptq:v1", {"bits": 4, "group_size": 16}), ("gptq:v2", {"bits": 3, "group_size": 32, "alphabet": "int-asymmetric"}), ("awq", {"group_size": 32}),
             ("compressed-tensors:int-quantized", {}), ("compressed-tensors:mxfp4-pack-quantized", {}),
             ("compressed-tensors:nvfp4-pack-quantized", {}), ("gguf:q4_0", {}), ("gguf:q5_1", {}), ("gguf:mxfp4", {}), ("safetensors:bf16", {}))
for name, fields in MADE_HERE:
    try:
        FOLDERS[name.replace(":", "-").replace("compressed-tensors", "ct").replace("-pack-quantized", "")] = artifact(name, **fields)
    except AssertionError as why:
        print("%s: %s" % (name, str(why).splitlines()[-1]), file=sys.stderr)


def fresh(name):
    path = os.path.join(HERE, name)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path


def keep(path, name, content):
    with open(os.path.join(path, name), "wb") as out:
        out.write(content)


root, corpus = fresh("folders"), fresh("corpus_folder")
for name, files in sorted(FOLDERS.items()):
    put(os.path.join(root, name), files)
    for file, content in sorted(files.items()):
        if name in ("plain", "packed") or file not in ("tokenizer.json", "README.md"):
            keep(corpus, "%s--%s" % (name, file), ("%s/%s\n" % (name, file)).encode() + content)
corpus = fresh("corpus_gguf")
keep(corpus, "model", g.gguf())
keep(corpus, "version_2", g.gguf(version=2, tensors=[]))
keep(corpus, "empty", b"")
for kind, (_, block, _) in g.TYPES.items():
    ne = (max(block, 32), 2)
    keep(corpus, "type_" + kind.lower(), g.gguf(keys={}, tensors=[g.Tensor("t", kind, ne, g.blocks(kind, *ne)), g.Tensor("n", "F32", (3,), g.blocks("F32", 3))]))
keep(corpus, "values", g.gguf(tensors=[], keys={"k%d" % kind: g.value(kind, 1) for kind in g.FORMATS}))
keep(corpus, "arrays", g.gguf(tensors=[], keys={"a%d" % kind: g.value(g.ARRAY, g.array(kind, [1, 0, 1])) for kind in g.FORMATS}))
keep(corpus, "strings", g.gguf(tensors=[], keys={"s": g.value(g.STRING, "x"), "a": g.value(g.ARRAY, g.array(g.STRING, ["", "y", "z" * 40]))}))
keep(corpus, "alignment_64", g.gguf(keys={"general.alignment": g.value(g.U32, 64)}, alignment=64, tensors=[g.Tensor("t", "F32", (3,), b"\0" * 12), g.Tensor("u", "F32", (3,), b"\0" * 12)]))
