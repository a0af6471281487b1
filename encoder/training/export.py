"""Writes the checkpoint directory: fp16 weights, configs, tokenizer, golden self-test and SHA256SUMS."""
import argparse
import hashlib
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

import backbone
import model

TOKENIZER = ["vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"]
GOLDEN_TEXTS = ["a photo of a cat", "red apple", "a drawing of a bicycle", "thunderstorm", "Two children, playing football!",
                "naïve café 42", ""]
MAX_BYTES = 32_000_000
CLASS_WEIGHT = 1.0  # of the class branch, chosen on the validation styles and photographs


def config(vocab_size=8192, width=384, layers=3, heads=6, mlp=768, dim=384, **vision):
    return {"model_type": "imagesearch_clip", "projection_dim": dim, "logit_scale_init_value": 3.0,
            "text_config": {"model_type": "clip_text_model", "vocab_size": vocab_size, "hidden_size": width,
                            "intermediate_size": mlp, "num_hidden_layers": layers, "num_attention_heads": heads,
                            "max_position_embeddings": 77, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
                            "bos_token_id": vocab_size - 2, "eos_token_id": vocab_size - 1,
                            "pad_token_id": vocab_size - 1},
            "vision_config": backbone.vision_config(**vision)}


def preprocessor():
    side = {"height": 224, "width": 224}
    return {"image_processor_type": "CLIPImageProcessor", "do_convert_rgb": True, "do_resize": True,
            "size": {"shortest_edge": 224}, "resample": 3, "do_center_crop": True, "crop_size": side,
            "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
            "image_mean": [127 / 255] * 3, "image_std": [128 / 255] * 3}


def golden(folder):
    """Expected vectors, computed from the files just written."""
    import reference
    tower = reference.load(folder)
    images = torch.stack([reference.golden_image(i) for i in (0, 1)])
    rule = "channel c at column x, row y, 224x224: (x*(3+4*c) + y*(5-2*c) + x*y*index/64 [integer division] + 40*c) mod 256, " \
           "then (value - 127) / 128, straight into the tower"
    return {"tolerance_cosine": 0.9999, "image_rule": rule,
            "texts": [{"text": t, "vector": v.tolist()} for t, v in zip(GOLDEN_TEXTS, tower.encode_texts(GOLDEN_TEXTS))],
            "images": [{"index": i, "vector": v.tolist()} for i, v in enumerate(tower.encode_images(images))]}


def export(clip, settings, tokenizer, out):
    """Saves `clip` (a model.Clip built from `settings`) under `out`, beside the card and NOTICE already there."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    weights = {k: v.detach().half().contiguous() for k, v in clip.state_dict().items()}
    assert all(torch.isfinite(v).all() for v in weights.values()), "a weight does not fit fp16"
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    assert (out / "model.safetensors").stat().st_size <= MAX_BYTES
    for name in TOKENIZER:
        shutil.copyfile(Path(tokenizer) / name, out / name)
    (out / "config.json").write_text(json.dumps(settings, indent=1) + "\n")
    (out / "preprocessor_config.json").write_text(json.dumps(preprocessor(), indent=2) + "\n")
    (out / "golden.json").write_text(json.dumps(golden(out)) + "\n")
    write_sums(out)


def write_sums(out):
    names = sorted(p.name for p in out.iterdir() if p.is_file() and p.name != "SHA256SUMS")
    (out / "SHA256SUMS").write_text("".join(f"{hashlib.sha256((out / n).read_bytes()).hexdigest()}  {n}\n" for n in names))


def trained(text, tokenizer, text_tower, image_tower, out, weight):
    """The two trained towers as one checkpoint."""
    import distil
    import fit_image
    from dataset import Space
    space = Space(text)
    settings = config(vocab_size=len(space.load("tokens")[0]), weight=weight)
    clip = model.Clip(settings)
    clip.vision_model.load_state_dict(fit_image.load(Path(image_tower), space).state_dict())
    clip.load_state_dict(distil.load(text_tower, text).state_dict(), strict=False)
    export(clip, settings, tokenizer, out)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("text", "tokenizer", "text_tower", "image_tower", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--weight", type=float, default=CLASS_WEIGHT, help="of the class branch")
    args = parser.parse_args()
    trained(args.text, args.tokenizer, args.text_tower, args.image_tower, args.out, args.weight)


if __name__ == "__main__":
    main()
