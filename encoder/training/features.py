"""Runs the frozen early blocks over every picture, plain and augmented, and stores their output as fp16."""
import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import backbone
import model
import sources

SHAPE = (112, 14, 14)  # the trunk's output
CHUNK = 64


def to_pixels(batch):
    """(n, 224, 224, 3) uint8 -> (n, 3, 224, 224) in 0..255."""
    return torch.from_numpy(np.array(batch)).permute(0, 3, 1, 2).float()


def augment(x, rng):
    """Random size, place, turn, tint, background, ink and grey level; pixels stay in 0..255."""
    n = len(x)

    def uniform(low, high, *shape):
        return torch.rand(*shape, generator=rng) * (high - low) + low

    ink = x.std(1).mean((1, 2)) < 2  # one-colour drawings: any ink on any paper
    dark, light = uniform(0, 140, n, 3, 1, 1), uniform(150, 255, n, 3, 1, 1)
    swap = (uniform(0, 1, n, 1, 1, 1) < 0.3).float()
    fore, back = dark * (1 - swap) + light * swap, light * (1 - swap) + dark * swap
    back = torch.where(uniform(0, 1, n, 1, 1, 1) < 0.4, torch.full_like(back, 255), back)
    grey = x.mean(1, keepdim=True) / 255
    inked = fore * (1 - grey) + back * grey
    paper = torch.where(uniform(0, 1, n, 3, 1, 1)[:, :1] < 0.35, uniform(120, 255, n, 3, 1, 1), torch.full((n, 3, 1, 1), 255.0))
    painted = torch.where((x.min(1, keepdim=True).values > 250), paper.expand_as(x), x)
    pick = (ink & (uniform(0, 1, n) < 0.7)).view(n, 1, 1, 1)
    edge = torch.where(pick, back, paper)
    x = torch.where(pick, inked, painted)
    angle, size = uniform(-0.25, 0.25, n), uniform(0.9, 1.5, n)
    cos, sin = torch.cos(angle) * size, torch.sin(angle) * size
    shift = uniform(-0.15, 0.15, n, 2)
    theta = torch.stack([torch.stack([cos, -sin, shift[:, 0]], -1), torch.stack([sin, cos, shift[:, 1]], -1)], 1)
    grid = F.affine_grid(theta, x.shape, align_corners=False)
    x = F.grid_sample(x - edge, grid, align_corners=False) + edge
    x = x * uniform(0.75, 1.15, n, 1, 1, 1) * uniform(0.88, 1.12, n, 3, 1, 1) + uniform(-15, 15, n, 1, 1, 1)
    mono = (uniform(0, 1, n, 1, 1, 1) < 0.12).float()
    x = x * (1 - mono) + x.mean(1, keepdim=True) * mono
    soft = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="bilinear", align_corners=False)
    return torch.where(uniform(0, 1, n, 1, 1, 1) < 0.25, soft, x).clamp(0, 255)


def run(pics, out, style, view, tower):
    """OUT/STYLE.VIEW.npy: the trunk's output for each picture; OUT/STYLE.VIEW.pooled.npy: the ImageNet features."""
    path = out / f"{style}.{view}.npy"
    if path.exists():
        return 0
    pixels = np.load(pics / f"{style}.npy", mmap_mode="r")
    found, pooled = np.zeros((len(pixels), *SHAPE), np.float16), np.zeros((len(pixels), 1280), np.float16)
    rng = torch.Generator().manual_seed(1000 * view + len(pixels))
    for at in range(0, len(pixels), CHUNK):
        x = to_pixels(pixels[at:at + CHUNK])
        x = (augment(x, rng) if view else x).sub(127).div(128).contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            trunk = tower.trunk(x)
            found[at:at + CHUNK] = trunk.float().half().numpy()
            pooled[at:at + CHUNK] = tower.class_tail(trunk).float().half().numpy()
    np.save(out / f"{style}.{view}.pooled.npy", pooled)
    np.save(out / "part.npy", found)
    (out / "part.npy").rename(path)
    return len(pixels)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pics", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--views", type=int, nargs="*", default=[0, 1], help="0 is the plain picture, others are augmented")
    parser.add_argument("--styles", nargs="*", default=sources.STYLES)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    tower = model.ImageTower(backbone.vision_config(), 384).eval().to(memory_format=torch.channels_last)
    backbone.load_into(tower)
    for view in args.views:
        for style in args.styles:
            if view and style in sources.VALIDATION_STYLES:
                continue
            start = time.time()
            count = run(args.pics, args.out, style, view, tower)
            print(f"{style} view {view}: {count} pictures, {time.time() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
