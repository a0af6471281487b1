"""Makes a CLIP checkpoint of random weights at the true size of ViT-B/32, for benchmarks.

    .deps/reference/bin/python tests/bench/make_checkpoint.py [--tiny] FOLDER

FOLDER gets a Hugging Face CLIP checkpoint (600 MB) with OpenAI's vocabulary. Speed does not depend
on the weights; their spread is such that the vectors depend on the input, so that cosines between
precisions mean something. Needs the virtual environment that tests/reference/setup.sh makes. A
folder that has a checkpoint already is left alone. --tiny: one block, 32 wide, for benchmarks in
which the model must cost nothing.
"""
import gzip
import importlib.util
import json
import pathlib
import sys

import torch
from transformers import CLIPConfig, CLIPModel

SEED = 20261124
SPREAD = 2.0  # of the linear layers' weights, over the usual initial values
SIZE = 224


def vocabulary():
    """(tokens by place, merges) from the merge list that open_clip ships."""
    package = pathlib.Path(importlib.util.find_spec("open_clip").origin).parent
    lines = gzip.open(package / "bpe_simple_vocab_16e6.txt.gz", "rt", encoding="utf-8").read().split("\n")
    merges = lines[1 : 49152 - 256 - 2 + 1]
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = [chr(b) for b in own] + [chr(256 + i) for i in range(256 - len(own))]
    tokens = symbols + [s + "</w>" for s in symbols] + ["".join(m.split()) for m in merges]
    return tokens + ["<|startoftext|>", "<|endoftext|>"], merges


def random_model(tiny):
    torch.manual_seed(SEED)
    config = CLIPConfig(projection_dim=512)
    if tiny:
        small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
        config = CLIPConfig(projection_dim=32, text_config=small, vision_config={**small, "image_size": 32, "patch_size": 16})
    config.text_config.bos_token_id, config.text_config.eos_token_id, config.text_config.pad_token_id = 49406, 49407, 49407
    model = CLIPModel(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 2 and "embedding" not in name:
                weight.mul_(SPREAD)
    return model


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--tiny"]
    if len(arguments) != 1:
        sys.exit(__doc__)
    tiny, folder = len(sys.argv) > 2, pathlib.Path(arguments[0])
    if (folder / "preprocessor_config.json").exists():
        return
    random_model(tiny).save_pretrained(folder)
    tokens, merges = vocabulary()
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "bos_token": "<|startoftext|>",
         "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}))
    (folder / "preprocessor_config.json").write_text(json.dumps(
        {"size": {"shortest_edge": 32 if tiny else SIZE}, "crop_size": 32 if tiny else SIZE, "image_mean": [0.48145466, 0.4578275, 0.40821073],
         "image_std": [0.26862954, 0.26130258, 0.27577711]}))


main()
