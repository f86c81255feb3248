"""convert_with_llama.py LLAMA_CPP FOLDER OUT.gguf: llama.cpp's own converter of model folders, on a model whose tokenizer it does not know by its digest.

The converter asks which of its pre-tokenizers a vocabulary wants, by the digest of a sample; the test models are of the pattern of Llama 3.
"""
import runpy
import sys

tree, folder, out = sys.argv[1:]
sys.path[:0] = [tree, tree + "/gguf-py"]
from conversion.base import TextModel  # noqa: E402


def absent(self):
    raise FileNotFoundError("no tokenizer.model")  # what the converter expects of a folder without a SentencePiece model


TextModel._create_vocab_sentencepiece = absent
TextModel.get_vocab_base_pre = lambda self, tokenizer: "llama-bpe"
sys.argv = ["convert_hf_to_gguf.py", folder, "--outfile", out, "--outtype", "f32"]
runpy.run_path(tree + "/convert_hf_to_gguf.py", run_name="__main__")
