"""Tunes the text tower against the trained picture vectors, while it keeps to the sentence encoder; resumes."""
import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch

import distil
import export
import fit_image
import sources
import texts
from dataset import TAGS, Pictures, Space, l2

SCALE = 25.0


@torch.no_grad()
def picture_vectors(tower, features, styles, tail):
    """(n, P): the unit vectors of all plain training pictures."""
    return torch.cat([tower.head(*fit_image.features_of(tower, features, s, tail)) for s in styles])


def both_ways(words, images, same):
    """Multi-positive contrastive loss; same[i, j]: text i is said of picture j."""
    logits, share = words @ images.T * SCALE, same.float()
    rows = -(logits.log_softmax(1) * share).sum(1) / share.sum(1)
    columns = -(logits.log_softmax(0) * share).sum(0) / share.sum(0).clamp(min=1)
    return rows.mean() + columns.mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("packages", "pics", "features", "text", "tokenizer", "start", "image", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=1.5e-4)
    parser.add_argument("--no-tail", action="store_true", help="the image file comes from a run without --tail")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(2)
    space, held_out = Space(args.text), texts.held_out(args.packages)
    image = fit_image.load(args.image, space)
    text = distil.load(args.start, args.text).train()
    optimiser = torch.optim.AdamW(text.parameters(), lr=args.rate, weight_decay=0.01, betas=(0.9, 0.98))
    step = 0
    if args.out.exists():
        state = torch.load(args.out, weights_only=True)
        text.load_state_dict(state["tower"])
        optimiser.load_state_dict(state["optimiser"])
        step = state["step"]
    parts = fit_image.training_parts(args.pics, args.features)
    pictures = Pictures(args.pics, space, parts, held_out)
    vectors = picture_vectors(image, args.features, [style for style, _ in parts], not args.no_tail)
    labels = distil.tokenise(args.tokenizer, space.lines, text.bos, text.eos)
    batches = distil.Batches(space, args.tokenizer, text.bos, text.eos, seed=step + 7)
    general = batches(args.batch)
    sampler = fit_image.Sampler(pictures, seed=step + 3)
    said = np.where(pictures.share[:, : 1 + TAGS] > 0, pictures.index[:, : 1 + TAGS], -1)
    start, first, total = time.time(), step, None
    while step < args.steps:
        rows = sampler(args.batch)
        column = np.array([sampler.rng.choice(np.flatnonzero(said[i] >= 0)) if sampler.rng.random() < 0.6 else 0 for i in rows])
        chosen = said[rows, column]
        same = torch.from_numpy((said[rows][None] == chosen[:, None, None]).any(2))
        ids = [batches.wrap_ids(labels[c]) for c in chosen]
        more, target = next(general)
        with torch.autocast("cpu", torch.bfloat16):
            found, other = text(distil.pad(ids, text.eos)), text(more)
        found, other = l2(found), l2(other)
        keep = (1 - (other * target).sum(1)).mean() + (1 - (found * space.vectors[chosen]).sum(1)).mean()
        loss = both_ways(found, vectors[rows], same) + 3.0 * keep
        factor = min(1, (step + 1) / 50) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / args.steps)))
        for group in optimiser.param_groups:
            group["lr"] = args.rate * factor
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(text.parameters(), 1.0)
        optimiser.step()
        step += 1
        total = loss.item() if total is None else 0.97 * total + 0.03 * loss.item()
        if step % 25 == 0:
            print(f"step {step}: loss {total:.3f}, keep {keep.item():.3f}, {(time.time() - start) / (step - first):.2f} s/step", flush=True)
        if step % 50 == 0 or step == args.steps:
            torch.save({"tower": text.state_dict(), "optimiser": optimiser.state_dict(), "step": step}, args.out)
    text.eval()
    encode = lambda lines: distil.encode(text, distil.tokenise(args.tokenizer, lines, text.bos, text.eos))
    fit_image.validate_all(image, args.features, args.pics, held_out, encode, not args.no_tail)


if __name__ == "__main__":
    main()
