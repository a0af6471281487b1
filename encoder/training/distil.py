"""Distils the sentence encoder into the CLIP text transformer; saves and resumes."""
import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import bag
import export
import model
from dataset import Space, l2
from texts import TEMPLATES

KINDS = {"labels": 4.0, "classes": 4.0, "nouns": 1.0, "words": 0.6, "glosses": 0.25, "pairs": 1.0}
MAX_TOKENS = 32


class TextTower(torch.nn.Module):
    """The text half of model.Clip, with its names."""

    def __init__(self, settings):
        super().__init__()
        text = settings["text_config"]
        self.text_model = model.TextModel(text)
        self.text_projection = torch.nn.Linear(text["hidden_size"], settings["projection_dim"], bias=False)
        self.eos, self.bos = text["eos_token_id"], text["bos_token_id"]
        self.apply(self.start)

    @staticmethod
    def start(module):
        if isinstance(module, (torch.nn.Linear, torch.nn.Embedding)):
            torch.nn.init.normal_(module.weight, std=0.02)
            if getattr(module, "bias", None) is not None:
                torch.nn.init.zeros_(module.bias)

    def forward(self, ids):
        return self.text_projection(self.text_model(ids)).float()


def tokenise(folder, lines, bos, eos):
    """Token id lists with both ends, cut to MAX_TOKENS."""
    from transformers import CLIPTokenizer
    tokenizer = CLIPTokenizer.from_pretrained(str(folder))
    return [[bos, *ids[1:-1][: MAX_TOKENS - 2], eos] for ids in tokenizer(lines)["input_ids"]]


def pad(rows, eos):
    out = torch.full((len(rows), max(map(len, rows))), eos)
    for i, row in enumerate(rows):
        out[i, : len(row)] = torch.tensor(row)
    return out


class Batches:
    """Weighted random batches of texts of similar length: (ids, target vectors)."""

    def __init__(self, space, tokenizer, bos, eos, seed):
        lines, vectors, weights, self.plain = [], [], [], []
        for kind, weight in KINDS.items():
            if not (space.folder / f"{kind}.npy").exists():
                continue
            texts, raw = space.load(kind)
            self.plain += [kind in ("labels", "classes", "nouns")] * len(texts)
            lines += texts
            vectors.append(space.centre(raw))
            weights += [weight] * len(texts)
        cache = space.folder / "token_ids.json"  # tokenising takes a minute
        if not cache.exists():
            cache.write_text(json.dumps(tokenise(tokenizer, lines, bos, eos)))
        self.ids, self.target, self.eos = json.loads(cache.read_text()), torch.cat(vectors), eos
        assert len(self.ids) == len(self.target), "the texts changed: remove token_ids.json"
        self.around = [tokenise(tokenizer, t.split("{}"), bos, eos) for t in TEMPLATES]
        self.around = [(before[:-1], after[1:]) for before, after in self.around]
        self.weight, self.rng = np.array(weights) / sum(weights), np.random.default_rng(seed)

    def wrap(self, i):
        return self.wrap_ids(self.ids[i]) if self.plain[i] else self.ids[i]

    def wrap_ids(self, ids):
        """The token ids of a text, now and then inside a template ("a photo of a ...")."""
        if self.rng.random() > 0.3 or len(ids) > 20:
            return ids
        before, after = self.around[self.rng.integers(len(self.around))]
        return [*before, *ids[1:-1], *after]

    def __call__(self, size, spread=16):
        while True:
            pool = self.rng.choice(len(self.ids), min(size * spread, len(self.ids)), p=self.weight, replace=len(self.ids) < size * spread)
            pool = sorted(pool, key=lambda i: len(self.ids[i]))
            parts = [pool[i:i + size] for i in range(0, len(pool), size)]
            for k in self.rng.permutation(len(parts)):
                yield pad([self.wrap(i) for i in parts[k]], self.eos), self.target[parts[k]]


def load(path, text):
    """The text tower saved at `path`."""
    tower = TextTower(export.config(vocab_size=len(Space(text).load("tokens")[0]))).eval()
    tower.load_state_dict(torch.load(path, weights_only=True)["tower"])
    return tower


@torch.no_grad()
def encode(tower, ids, batch=256):
    """Unit vectors of token id lists, in order."""
    order, out = sorted(range(len(ids)), key=lambda i: len(ids[i])), None
    for at in range(0, len(order), batch):
        rows = order[at:at + batch]
        found = l2(tower(pad([ids[i] for i in rows], tower.eos)))
        out = torch.zeros(len(ids), found.shape[1]) if out is None else out
        out[rows] = found
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path, help="teacher.py's output")
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("out", type=Path, help="checkpoint file")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=2e-4, help="small, since the start is good")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    space = Space(args.text)
    settings = export.config(vocab_size=len(space.load("tokens")[0]))
    tower = TextTower(settings)
    tables = [p for n, p in tower.named_parameters() if "embedding" in n]
    others = [p for n, p in tower.named_parameters() if "embedding" not in n]
    optimiser = torch.optim.AdamW([{"params": others, "weight_decay": 0.0, "peak": args.rate},
                                   {"params": tables, "weight_decay": 0.0, "peak": 3 * args.rate}],
                                  lr=args.rate, betas=(0.9, 0.98))
    step = 0
    if args.out.exists():
        state = torch.load(args.out, weights_only=True)
        tower.load_state_dict(state["tower"])
        optimiser.load_state_dict(state["optimiser"])
        step = state["step"]
    corpus = Batches(space, args.tokenizer, tower.bos, tower.eos, seed=step + 1)
    batches = corpus(args.batch)
    begin = args.out.with_suffix(".start")
    if step == 0 and not begin.exists():
        vocab = settings["text_config"]["vocab_size"]
        bag.write_into(tower, bag.ridge(corpus.ids, corpus.target, corpus.weight * len(corpus.ids), vocab))
        torch.save({"tower": tower.state_dict()}, begin)
    elif step == 0:
        tower.load_state_dict(torch.load(begin, weights_only=True)["tower"])
    start, seen, total = time.time(), step, 0.0
    while step < args.steps:
        ids, target = next(batches)
        rate = min(1, (step + 1) / 50) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / args.steps)))
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * rate
        with torch.autocast("cpu", torch.bfloat16):
            found = tower(ids)
        found = l2(found)
        near = (1 - (found * target).sum(1)).mean()
        apart = F.cross_entropy(found @ target.T / 0.05, torch.arange(len(ids)))
        loss = near + 0.1 * apart
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimiser.step()
        step += 1
        total = 0.98 * total + 0.02 * near.item() if seen + 1 < step else near.item()
        if step % 50 == 0:
            print(f"step {step}: cosine {1 - total:.4f}, {(step - seen) * args.batch / (time.time() - start):.0f} texts/s", flush=True)
        if step % 100 == 0 or step == args.steps:
            torch.save({"tower": tower.state_dict(), "optimiser": optimiser.state_dict(), "step": step}, args.out)


if __name__ == "__main__":
    main()
