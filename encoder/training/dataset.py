"""Joins pictures, their texts and the teacher's vectors: what the image side is trained and validated on."""
import json
from pathlib import Path

import numpy as np
import torch

import sources
import texts

EXTRA_WEIGHT = {**{s: 2.0 for s in sources.EMOJI}, **{s: 2.5 for s in sources.INKED}, **{s: 2.0 for s in sources.FLAGS},
                **{s: 3.0 for s in sources.FRAMED}, "openclipart": 1.5, "game-icons": 1.0}
NEIGHBOURS, TAGS = 12, 8


def l2(x):
    return torch.nn.functional.normalize(x, dim=-1)


class Space:
    """The text space: teacher vectors of all labels and tags, centred; `mean` is what was taken off."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.lines, raw = self.load("labels")
        self.mean = torch.from_numpy(raw.astype(np.float32)).mean(0)
        self.vectors = self.centre(raw)
        self.row = {t: i for i, t in enumerate(self.lines)}

    def load(self, kind):
        return json.loads((self.folder / f"{kind}.json").read_text()), np.load(self.folder / f"{kind}.npy")

    def centre(self, raw):
        return l2(torch.from_numpy(raw.astype(np.float32)) - self.mean)

    def class_vectors(self):
        """(1000, 384): each ImageNet class's name, synonyms and broader words, weighed; the mean of all taken off."""
        names, raw = self.load("class_names")
        words, raw_words = self.load("classes")
        row, all_words, clean = {t: i for i, t in enumerate(words)}, self.centre(raw_words), self.centre(raw)
        _, synonyms = texts.class_names()
        parents, out = json.loads((self.folder / "class_parents.json").read_text()), []
        for name, others, broader, vector in zip(names, synonyms, parents, clean):
            vector = 2 * vector
            for synonym in others[:2]:  # the first is the common word, later ones are often Latin
                if synonym in row and synonym != name:
                    vector = vector + all_words[row[synonym]]
            for weight, word in zip((1.0, 0.4), broader):
                vector = vector + weight * self.vectors[self.row[word]]
            out.append(l2(vector))
        out = torch.stack(out)
        return out - out.mean(0)


class Pictures:
    """Rows of several (style, view) parts. Per picture, `index` holds text rows and `share` their part in the target:
    the label first, then tags, then the label's nearest texts (smoothing over synonyms)."""

    def __init__(self, pics, space, parts, held_out):
        self.rows, self.style = [], []
        for style, _ in parts:
            lines = [json.loads(x) for x in (Path(pics) / f"{style}.jsonl").read_text().splitlines()]
            self.rows += lines
            self.style += [style] * len(lines)
        self.index = np.zeros((len(self.rows), 1 + TAGS + NEIGHBOURS), np.int64)
        self.share = np.zeros(self.index.shape, np.float32)
        self.weight = np.array([EXTRA_WEIGHT.get(s, 0.6) for s in self.style], np.float64)
        for i, row in enumerate(self.rows):
            tags = [space.row[t] for t in row["tags"] if t in space.row and t not in held_out and t != row["label"]]
            label = space.row.get(row["label"]) if row["label"] not in held_out else None
            if label is None:
                if not tags:
                    self.weight[i] = 0  # nothing that may be said of it
                    continue
                label = tags.pop(0)
            tags = tags[:TAGS]
            self.index[i, 0], self.share[i, 0] = label, 0.55 if tags else 0.75
            self.index[i, 1:1 + len(tags)] = tags
            self.share[i, 1:1 + len(tags)] = 0.2 / max(1, len(tags))
        known = np.flatnonzero(self.weight)
        labels, place = np.unique(self.index[known, 0], return_inverse=True)
        near = [(space.vectors[part] @ space.vectors.T).topk(NEIGHBOURS) for part in torch.from_numpy(labels).split(512)]
        self.index[known, 1 + TAGS:] = torch.cat([n.indices for n in near]).numpy()[place]
        self.share[known, 1 + TAGS:] = torch.softmax(torch.cat([n.values for n in near]) / 0.07, 1).numpy()[place] * 0.25
        self.weight /= self.weight.sum()

    def __len__(self):
        return len(self.rows)


def feature_files(features, parts, suffix=""):
    """The cached arrays of several (style, view) parts, one after the other, in RAM."""
    return np.concatenate([np.load(Path(features) / f"{style}.{view}{suffix}.npy") for style, view in parts])


def recall(queries, gallery, right, ks=(1, 5, 10)):
    """Percent of queries with a right row in the first k; `right` is a list of index lists."""
    order = (queries @ gallery.T).topk(max(ks), 1).indices.numpy()
    first = [next((r for r, j in enumerate(o) if j in set(w)), 10 ** 9) for o, w in zip(order, right)]
    return [round(100 * float(np.mean([f < k for f in first])), 1) for k in ks]
