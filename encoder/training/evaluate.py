"""Measures a checkpoint on the sets of eval_sets.py by exact search; prints a table and writes JSON."""
import argparse
import json
import time
from pathlib import Path

import torch
from PIL import Image

import reference

KS = (1, 5, 10)


def read_lines(path):
    return [json.loads(x) for x in path.read_text(encoding="utf-8").splitlines()]


class Vectors:
    """Picture vectors by relative path, computed once."""

    def __init__(self, tower, root):
        self.tower, self.root, self.known = tower, root, {}

    def __call__(self, paths):
        todo = [p for p in dict.fromkeys(paths) if p not in self.known]
        for at in range(0, len(todo), 32):
            part = todo[at:at + 32]
            found = self.tower.encode_pictures([Image.open(self.root / p) for p in part])
            self.known.update(zip(part, found))
        return torch.stack([self.known[p] for p in paths])


def recall(queries, gallery, right):
    """{k: percent of queries with a right row among the first k}; ties go to the lower row."""
    scores = queries @ gallery.T
    out = {}
    best = torch.full((len(queries),), -2.0)
    for i, rows in enumerate(right):
        best[i] = scores[i, rows].max()
    rank = (scores > best[:, None]).sum(1)  # how many rows are above the best right one
    for k in KS:
        out[k] = round(100 * (rank < k).float().mean().item(), 2)
    return out


def text_to_image(tower, vectors, path):
    """Each caption asks for its own picture (or any with the same caption)."""
    rows = read_lines(path)
    gallery = vectors([r["image"] for r in rows])
    captions = [(c, i) for i, r in enumerate(rows) for c in r["captions"]]
    owners = {}
    for caption, i in captions:
        owners.setdefault(caption, []).append(i)
    return len(rows), recall(tower.encode_texts([c for c, _ in captions]), gallery, [owners[c] for c, _ in captions])


def tags_to_image(tower, vectors, path, gallery_path):
    names = [r["image"] for r in read_lines(gallery_path)]
    place = {n: i for i, n in enumerate(names)}
    rows = read_lines(path)
    return len(rows), recall(tower.encode_texts([r["query"] for r in rows]), vectors(names),
                             [[place[p] for p in r["relevant"]] for r in rows])


def image_to_image(vectors, path, first):
    """Pictures under FIRST/ ask for the picture of their group among the others."""
    rows = read_lines(path)
    ask, other = [r for r in rows if r["image"].startswith(first + "/")], [r for r in rows if not r["image"].startswith(first + "/")]
    place = {r["group"]: i for i, r in enumerate(other)}
    return len(ask), recall(vectors([r["image"] for r in ask]), vectors([r["image"] for r in other]), [[place[r["group"]]] for r in ask])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("sets", type=Path)
    parser.add_argument("--styles", nargs="*", default=["openmoji"])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tower, report, start = reference.load(args.checkpoint), {}, time.time()
    vectors = Vectors(tower, args.sets)
    for style in args.styles:
        lines = args.sets / f"{style}.jsonl"
        report[f"{style}: label -> picture"] = text_to_image(tower, vectors, lines)
        report[f"{style}: held-out tag -> picture"] = tags_to_image(tower, vectors, args.sets / f"{style}_heldout_tags.jsonl", lines)
        report[f"{style} -> twemoji"] = image_to_image(vectors, args.sets / f"{style}_twemoji.jsonl", style)
    if "openmoji" in args.styles:
        report["stamps: caption -> picture"] = text_to_image(tower, vectors, args.sets / "stamps.jsonl")
    print(f"{'set':38s} {'queries':>7s}  R@1    R@5    R@10")
    for name, (count, found) in report.items():
        print(f"{name:38s} {count:7d} " + " ".join(f"{found[k]:6.2f}" for k in KS))
    print(f"{len(vectors.known)} pictures, {time.time() - start:.0f} s")
    if args.json:
        args.json.write_text(json.dumps({n: {"n": c, **{f"R@{k}": v for k, v in f.items()}} for n, (c, f) in report.items()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
