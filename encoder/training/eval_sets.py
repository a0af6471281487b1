"""Makes the evaluation sets as folders of PNGs with JSON Lines: pictures and names that training never saw.

    openmoji/     openmoji.jsonl       query = label                   (1,914 pictures)
    stamps/       stamps.jsonl         query = the stamp's caption     (430 pictures)
    twemoji/      openmoji_twemoji.jsonl   "group" joins an OpenMoji picture and its subject in Twemoji
    heldout_tags.jsonl                 {"query": tag, "relevant": [OpenMoji pictures that carry it]}
    validation/   noto-v1.jsonl, fxemoji.jsonl and held-out tags: what choices were made on

Lines are {"image": "relative/path.png", "captions": ["..."], "group": "..."}. OpenMoji is CC BY-SA and the stamps are
GPL-2: they are read from their packages on the user's machine and never leave it.
"""
import argparse
import json
import shutil
from pathlib import Path

from PIL import Image

import rasterise
import sources

# Stamps that are mostly drawings or symbols, not photographs.
DRAWN_FOLDERS = ("symbols", "seasonal", "clothes")


def write_lines(path, rows):
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")


def emoji_set(packages, out, style, limit):
    """[(code, relative path, label, tags)] of a style, drawn under OUT/STYLE."""
    (out / style).mkdir(parents=True, exist_ok=True)
    rows = []
    for code, svg, label, tags in sources.style_pictures(packages, style):
        if limit and len(rows) == limit:
            break
        picture = rasterise.draw(svg)
        if picture is not None:
            path = f"{style}/{code.lower()}.png"
            Image.fromarray(picture).save(out / path)
            rows.append((code, path, label, tags))
    return rows


def label_lines(rows):
    return [{"image": path, "captions": [label], "group": code} for code, path, label, _ in rows]


def tag_lines(rows, held_out):
    relevant = {}
    for _, path, _, tags in rows:
        for tag in sorted(set(tags) & held_out):
            relevant.setdefault(tag, []).append(path)
    return [{"query": t, "relevant": p} for t, p in sorted(relevant.items())]


def stamps(packages, out, limit):
    """One captioned photograph per caption; transparent cut-outs are kept as they are."""
    root, rows, seen = Path(packages) / "deb/usr/share/tuxpaint/stamps", [], set()
    for path in sorted(root.rglob("*.png")):
        words = path.with_suffix(".txt")
        if not words.exists() or path.relative_to(root).parts[0] in DRAWN_FOLDERS:
            continue
        caption = words.read_text(encoding="utf-8", errors="replace").splitlines()[0].strip()
        if not caption or caption in seen or (limit and len(rows) == limit):
            continue
        seen.add(caption)
        target = out / "stamps" / "_".join(path.relative_to(root).parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        rows.append({"image": f"stamps/{target.name}", "captions": [caption]})
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path, help="the folder with node_modules and deb (see train.sh)")
    parser.add_argument("out", type=Path)
    parser.add_argument("--limit", type=int, default=0, help="pictures per set, for a quick look")
    parser.add_argument("--validation-only", action="store_true")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    emoji = sources.Emoji(args.packages / "node_modules")
    held_out = set(emoji.held_out_tags())
    twemoji = emoji_set(args.packages, args.out, "twemoji", args.limit)
    for style in sources.VALIDATION_STYLES + ([] if args.validation_only else [sources.HELD_OUT_STYLE]):
        rows = emoji_set(args.packages, args.out, style, args.limit)
        write_lines(args.out / f"{style}.jsonl", label_lines(rows))
        write_lines(args.out / f"{style}_heldout_tags.jsonl", tag_lines(rows, held_out))
        both = {code for code, *_ in rows} & {code for code, *_ in twemoji}
        write_lines(args.out / f"{style}_twemoji.jsonl", [r for r in label_lines(rows) + label_lines(twemoji) if r["group"] in both])
        print(f"{style}: {len(rows)} pictures, {len(both)} also in twemoji")
    if not args.validation_only:
        shutil.copyfile(args.out / "openmoji_heldout_tags.jsonl", args.out / "heldout_tags.jsonl")
        rows = stamps(args.packages, args.out, args.limit)
        write_lines(args.out / "stamps.jsonl", rows)
        print(f"stamps: {len(rows)} pictures")


if __name__ == "__main__":
    main()
