"""Draws every picture of the artwork packages at 224 px on white and stores each style as one array."""
import argparse
import io
import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

import sources

SIZE = 224


def draw(svg, crop=False):
    """An SVG as (224, 224, 3) uint8 on white, its whole picture centred; None where it cannot be drawn."""
    import resvg_py
    try:
        png = resvg_py.svg_to_bytes(svg_string=svg, width=SIZE, dpi=90)
        image = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
        if crop:
            box = image.getchannel("A").getbbox()
            if box is None:
                return None
            image = image.crop(box)
        if max(image.size) > 4096:
            return None
        scale = SIZE / max(image.size) * (0.94 if crop else 1.0)
        size = [max(1, round(s * scale)) for s in image.size]
        if tuple(size) != image.size:
            image = image.resize(size, Image.BICUBIC)
    except Exception:  # a malformed drawing is left out; the count is printed
        return None
    canvas = Image.new("RGBA", (SIZE, SIZE), "white")
    canvas.alpha_composite(image, ((SIZE - size[0]) // 2, (SIZE - size[1]) // 2))
    pixels = np.asarray(canvas.convert("RGB"))
    return pixels if pixels.std() > 1 else None


def rasterise(packages, out, style, limit):
    """Writes OUT/STYLE.npy (n, 224, 224, 3) and OUT/STYLE.jsonl (key, label, tags)."""
    if (out / f"{style}.jsonl").exists():
        return style, 0, 0
    pixels, rows, failed = [], [], 0
    for key, svg, label, tags in sources.style_pictures(packages, style):
        picture = draw(svg, crop=style in sources.CLIPART)
        if picture is None:
            failed += 1
            continue
        pixels.append(picture)
        rows.append({"key": key, "label": label, "tags": tags})
        if limit and len(rows) == limit:
            break
    np.save(out / f"{style}.npy", np.stack(pixels))
    (out / f"{style}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return style, len(rows), failed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--limit", type=int, default=0, help="pictures per style")
    parser.add_argument("--styles", nargs="*", default=sources.STYLES)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(2) as pool:
        jobs = [pool.submit(rasterise, args.packages, args.out, s, args.limit) for s in args.styles]
        for job in jobs:
            print("%-28s %5d drawn, %d left out" % job.result(), flush=True)


if __name__ == "__main__":
    main()
