"""Trains the head and the art tail against the text vectors; validates on kept-out styles; saves and resumes."""
import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import backbone
import model
import sources
import texts
from dataset import Pictures, Space, feature_files, l2, recall

DROPOUT, SCALE, CANDIDATES, PAIRS = 0.3, 25.0, 4096, 1.0


def new_tower(space, temperature, weight):
    tower = model.ImageTower(backbone.vision_config(temperature=temperature, weight=weight), space.vectors.shape[1])
    backbone.load_into(tower)
    tower.head.class_embedding.data.copy_(space.class_vectors())
    return tower.to(memory_format=torch.channels_last)


class Cache:
    """Trunk outputs, ImageNet features and class vectors of every training picture."""

    def __init__(self, features, parts, tower, trunks=True):
        self.trunk = feature_files(features, parts) if trunks else None
        self.pooled = feature_files(features, parts, ".pooled")
        with torch.no_grad():
            self.classes = torch.cat([tower.head.class_vector(torch.from_numpy(self.pooled[i:i + 4096]).float())
                                      for i in range(0, len(self.pooled), 4096)])

    def tail_input(self, rows):
        return torch.from_numpy(self.trunk[rows]).float().contiguous(memory_format=torch.channels_last)


def fast_tail(tail, x):
    """model.Tail with its 1x1 convolutions as bf16 matrix products: a third less time to train on a CPU."""

    def pointwise(conv, y):
        with torch.autocast("cpu", torch.bfloat16):
            return F.linear(y.permute(0, 2, 3, 1), conv.weight.flatten(1), conv.bias).permute(0, 3, 1, 2).float()

    for block in tail.blocks:
        y = pointwise(block.project, F.relu6(block.depthwise(F.relu6(pointwise(block.expand, x)))))
        x = x + y if block.residual else y
    return F.relu6(pointwise(tail.head_conv, x)).mean((2, 3))


def art_vector(head, g):
    return l2(head.fc2(F.gelu(head.fc1(g))).float())


def soft_loss(v, candidates, index, share, scale):
    """Cross-entropy of pictures over all texts with the shared targets of dataset.Pictures."""
    logits = v @ candidates.T * scale
    picked = logits.gather(1, index)
    return (torch.logsumexp(logits, 1) - (picked * share).sum(1) / share.sum(1)).mean()


def some_candidates(index, total, size, rng):
    """The rows that a batch needs and `size` random others: (rows, index into them)."""
    extra = torch.from_numpy(rng.integers(total, size=size))
    rows, inverse = torch.unique(torch.cat([index.flatten(), extra]), return_inverse=True)
    return rows, inverse[: index.numel()].view(index.shape)


def paired_loss(v, labels):
    """Pictures of one label are positives of each other (two styles of one subject in a batch)."""
    same = labels[:, None] == labels[None]
    same.fill_diagonal_(False)
    have = same.any(1)
    if not have.any():
        return v.sum() * 0
    logits = (v @ v.T * 15.0).masked_fill(torch.eye(len(v), dtype=torch.bool), -1e4)
    log = logits.log_softmax(1)
    return -(log.masked_fill(~same, 0).sum(1)[have] / same.sum(1)[have]).mean()


class Sampler:
    """Batches by weight; half of each batch are partners: the same label in another style."""

    def __init__(self, pictures, seed):
        self.pictures, self.rng = pictures, np.random.default_rng(seed)
        self.by_label = {}
        for i, label in enumerate(pictures.index[:, 0]):
            if pictures.weight[i] > 0:
                self.by_label.setdefault(label, []).append(i)

    def __call__(self, size):
        rows = self.rng.choice(len(self.pictures), size // 2, p=self.pictures.weight)
        partners = [self.rng.choice(self.by_label[self.pictures.index[i, 0]]) for i in rows]
        return np.concatenate([rows, partners])


@torch.no_grad()
def features_of(tower, features, style, tail=True):
    """(f, g): ImageNet and art features of a style's plain pictures; without `tail` the art tail is still a copy."""
    trunk, pooled = np.load(features / f"{style}.0.npy", mmap_mode="r"), np.load(features / f"{style}.0.pooled.npy")
    f = torch.from_numpy(pooled).float()
    if not tail:
        return f, f
    return f, torch.cat([tower.art_tail(torch.from_numpy(trunk[i:i + 64].astype(np.float32)).contiguous(
        memory_format=torch.channels_last)) for i in range(0, len(pooled), 64)])


def validate(tower, features, pics, held_out, text_vector, weight, found):
    """Figures on the kept-out styles: label to picture, held-out tag to picture, picture to Twemoji.
    `found`: features_of() by style; `weight`: of the class branch."""
    report, keep = {}, tower.head.weight
    tower.head.weight = weight
    for style in sources.VALIDATION_STYLES:
        rows = [json.loads(x) for x in (pics / f"{style}.jsonl").read_text().splitlines()]
        v = tower.head(*found[style])
        report[f"{style} R@1/5/10"] = recall(text_vector([r["label"] for r in rows]), v, [[i] for i in range(len(rows))])
        if style == sources.VALIDATION_STYLES[0]:
            tags = {}
            for i, row in enumerate(rows):
                for t in set(row["tags"]) & held_out:
                    tags.setdefault(t, []).append(i)
            report["held-out tags"] = recall(text_vector(list(tags)), v, list(tags.values()))
            other = [json.loads(x)["key"] for x in (pics / "twemoji.jsonl").read_text().splitlines()]
            place = {k: i for i, k in enumerate(other)}
            known = [i for i, r in enumerate(rows) if r["key"] in place]
            report["to twemoji"] = recall(v[known], tower.head(*found["twemoji"]),
                                          [[place[rows[i]["key"]]] for i in known])
    tower.head.weight = keep
    return report


def validate_all(tower, features, pics, held_out, text_vector, tail=True, weights=(0.0, 0.5, 1.0)):
    with torch.no_grad():
        found = {s: features_of(tower, features, s, tail) for s in [*sources.VALIDATION_STYLES, "twemoji"]}
        for weight in weights:
            print(f"class weight {weight}:", json.dumps(validate(tower, features, pics, held_out, text_vector, weight, found)), flush=True)


def train(tower, pictures, cache, candidates, steps, batch, rates, tail, state, save, log, seed):
    """`tail` False: only the head, on the frozen ImageNet features. Resumes from `state`."""
    head = tower.head
    params = [{"params": [*head.fc1.parameters(), *head.fc2.parameters()], "peak": rates[0]}]
    if tail:
        params.append({"params": list(tower.art_tail.parameters()), "peak": rates[1]})
    optimiser = torch.optim.AdamW(params, lr=rates[0], weight_decay=0.05, betas=(0.9, 0.99))
    step = 0
    if state:
        optimiser.load_state_dict(state["optimiser"])
        step = state["step"]
    sampler, start, total = Sampler(pictures, seed + step), time.time(), None
    index, share = torch.from_numpy(pictures.index), torch.from_numpy(pictures.share)
    first = step
    while step < steps:
        rows = sampler(batch)
        g = fast_tail(tower.art_tail, cache.tail_input(rows)) if tail else torch.from_numpy(cache.pooled[rows]).float()
        factor = min(1, (step + 1) / 100) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * factor
        a = art_vector(head, F.dropout(g, DROPOUT))
        use = (torch.rand(len(rows), 1) < 0.5).float()  # the art branch must also stand alone
        v = l2(a + use * head.weight * cache.classes[rows])
        some, where = some_candidates(index[rows], len(candidates), CANDIDATES, sampler.rng)
        loss = soft_loss(v, candidates[some], where, share[rows], SCALE) + PAIRS * paired_loss(v, index[rows, 0])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for g in optimiser.param_groups for p in g["params"]], 1.0)
        optimiser.step()
        step += 1
        total = loss.item() if total is None else 0.98 * total + 0.02 * loss.item()
        if step % 50 == 0:
            log(f"step {step}: loss {total:.3f}, {(step - first) * batch / (time.time() - start):.0f} pictures/s")
        if step % (50 if tail else 200) == 0 or step == steps:
            save({"tower": tower.state_dict(), "optimiser": optimiser.state_dict(), "step": step})


def load(path, space, temperature=1.0, weight=1.0):
    """The image tower saved at `path`, ready to encode."""
    tower = new_tower(space, temperature, weight)
    tower.load_state_dict(torch.load(path, weights_only=True)["tower"])
    return tower.eval()


def training_parts(pics, features, views=(0,), validation_too=False):
    """The (style, view) parts whose pictures and features are there, but for the validation styles."""
    return [(s, v) for v in views for s in sources.STYLES if (validation_too or s not in sources.VALIDATION_STYLES)
            and (pics / f"{s}.jsonl").exists() and (features / f"{s}.{v}.npy").exists()
            and (features / f"{s}.{v}.pooled.npy").exists()]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("packages", "pics", "features", "text", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--start", type=Path, help="begin from this file's tower")
    parser.add_argument("--candidates", type=Path, help="text tower file (distil.py) whose vectors are the targets")
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rates", type=float, nargs=2, default=[1e-3, 2e-4], help="head, tail")
    parser.add_argument("--views", type=int, nargs="*", default=[0, 1])
    parser.add_argument("--tail", action="store_true")
    parser.add_argument("--validation-too", action="store_true", help="the last run: train on the validation styles as well")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--weight", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    space, held_out = Space(args.text), texts.held_out(args.packages)
    tower = new_tower(space, args.temperature, args.weight)
    candidates, text_vector = space.vectors, None
    if args.candidates:
        import distil
        text = distil.load(args.candidates, args.text)
        candidates = distil.encode(text, distil.tokenise(args.tokenizer, space.lines, text.bos, text.eos))
        text_vector = lambda lines: distil.encode(text, distil.tokenise(args.tokenizer, lines, text.bos, text.eos))
    else:
        import teacher
        encoder = teacher.Teacher()
        text_vector = lambda lines: space.centre(encoder(lines))
    state = None
    if args.start:
        tower.load_state_dict(torch.load(args.start, weights_only=True)["tower"])
        tower.head.class_embedding.data.copy_(space.class_vectors())
    if args.out.exists():
        state = torch.load(args.out, weights_only=True)
        tower.load_state_dict(state["tower"])
    tower.requires_grad_(False)
    for part in (tower.art_tail, tower.head.fc1, tower.head.fc2):
        part.requires_grad_(True)
    parts = training_parts(args.pics, args.features, args.views, args.validation_too)
    pictures = Pictures(args.pics, space, parts, held_out)
    cache = Cache(args.features, parts, tower, args.tail)
    print(f"{len(pictures)} pictures, {len(space.lines)} texts", flush=True)
    train(tower, pictures, cache, candidates, args.steps, args.batch, args.rates, args.tail, state,
          lambda s: torch.save(s, args.out), lambda m: print(m, flush=True), args.seed)
    validate_all(tower, args.features, args.pics, held_out, text_vector, args.tail)


if __name__ == "__main__":
    main()
