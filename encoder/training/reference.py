"""Loads a checkpoint directory in plain torch (fp32 maths): what every other implementation is compared with.

    import sys; sys.path.insert(0, "encoder/training")
    import reference
    tower = reference.load("encoder/models/imagesearch-lite-v1")
    tower.encode_texts(["a photo of a cat"])      # (1, P) float32, unit length
    tower.encode_images(pixel_tensor)             # (n, 3, 224, 224) normalised -> (n, P)
    tower.encode_pictures([PIL images])           # preprocessing included
"""
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

import model

MEAN, STD = 127.0, 128.0


def preprocess(image, size=224):
    """A PIL image -> (3, size, size) float32: alpha over white, shortest edge bicubic, centre crop, (x-127)/128."""
    from PIL import Image
    if image.mode != "RGB":
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    w, h = image.size
    short = min(w, h)
    new = (size if w == short else int(size * w / short), size if h == short else int(size * h / short))
    if new != (w, h):
        image = image.resize(new, Image.BICUBIC)
    left, top = (new[0] - size) // 2, (new[1] - size) // 2
    pixels = np.asarray(image.crop((left, top, left + size, top + size)), dtype=np.float32)
    return torch.from_numpy((pixels - MEAN) / STD).permute(2, 0, 1)


def golden_image(index, size=224):
    """Self-test picture: channel c at column x, row y is (x*(3+4c) + y*(5-2c) + x*y*index//64 + 40c) % 256."""
    y, x = np.mgrid[0:size, 0:size].astype(np.int64)
    planes = [(x * (3 + 4 * c) + y * (5 - 2 * c) + x * y * index // 64 + 40 * c) % 256 for c in range(3)]
    return torch.from_numpy((np.stack(planes).astype(np.float32) - MEAN) / STD)


class Reference:
    def __init__(self, folder):
        from transformers import CLIPTokenizer
        folder = Path(folder)
        self.config = json.loads((folder / "config.json").read_text())
        self.clip = model.Clip(self.config).eval().requires_grad_(False)
        weights = load_file(folder / "model.safetensors")
        self.clip.load_state_dict({k: v.float() for k, v in weights.items()})
        self.tokenizer = CLIPTokenizer.from_pretrained(str(folder))
        self.length = self.config["text_config"]["max_position_embeddings"]

    @torch.no_grad()
    def encode_images(self, pixels):
        pixels = pixels.float()
        return torch.cat([self.clip.encode_images(p) for p in pixels.split(32)])

    def encode_pictures(self, images):
        return self.encode_images(torch.stack([preprocess(i) for i in images]))

    @torch.no_grad()
    def encode_texts(self, texts):
        parts = []
        for start in range(0, len(texts), 256):
            ids = self.tokenizer(texts[start:start + 256], padding=True, truncation=True, max_length=self.length,
                                 return_tensors="pt")["input_ids"]
            parts.append(self.clip.encode_texts(ids))
        return torch.cat(parts)


def load(folder):
    return Reference(folder)
