"""Precision and recall of the tiers of duplicates, on a set whose duplicates are known because this script makes them.

    .deps/reference/bin/python tests/bench/duplicate_quality.py FOLDER [--distinct FOLDER] [--build build/release]

Every picture below FOLDER is stored as it is and as six variants: the same bytes, resized (50 to 90 %), JPEG of quality
40, cropped by up to 3 % and by up to 5 % of each side's length, and 3 % cropped, resized to 60 % and JPEG of quality 60
in one. Those below --distinct are stored once each: nothing among them should be found. Of files whose decoded pixels
are equal only the first is taken. It starts an imagesearchd of its own with the shipped model, runs
`imagesearch duplicates` for each tier, the last one at several thresholds, and counts pairs: precision is the part of
the reported pairs (two pictures of one group) that come from one picture, recall the part of the variants that are in
the group of their original. --show prints the first wrong groups.
"""
import argparse
import hashlib
import io
import json
import os
import pathlib
import random
import subprocess
import tempfile
import time

from PIL import Image

SEED = 1


def load(path):
    image = Image.open(path)
    if image.mode in ("RGBA", "LA", "P"):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image)
        image = white
    return image.convert("RGB")


def jpeg(image, quality):
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def png(image):
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def scaled(image, by):
    return image.resize((max(1, round(image.width * by)), max(1, round(image.height * by))), Image.LANCZOS)


def cropped(image, share, rng):
    left, top = rng.uniform(0, share), rng.uniform(0, share)
    return image.crop((round(image.width * left), round(image.height * top),
                       image.width - round(image.width * (share - left)),
                       image.height - round(image.height * (share - top))))


def variants(original, image, rng):
    yield "same bytes", original
    yield "resized", png(scaled(image, rng.uniform(0.5, 0.9)))
    yield "JPEG 40", jpeg(image, 40)
    yield "crop 3 %", png(cropped(image, 0.03, rng))
    yield "crop 5 %", png(cropped(image, 0.05, rng))
    yield "crop, resize, JPEG", jpeg(scaled(cropped(image, 0.03, rng), 0.6), 60)


def pictures(folder, seen):
    """Paths of the folder's pictures; those whose pixels are in `seen` are left out."""
    for path in sorted(pathlib.Path(folder).rglob("*")):
        if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
            continue
        image = load(path)
        pixels = hashlib.sha256(repr(image.size).encode() + image.tobytes()).digest()
        if pixels not in seen:
            seen.add(pixels)
            yield path


def make_set(folder, distinct, out):
    """A manifest of files; ids are "ORIGIN/VARIANT"."""
    rng = random.Random(SEED)
    rows, kinds, names, seen = [], ["original"], {}, set()

    def add(id, content):
        path = out / f"{len(rows)}.bin"
        path.write_bytes(content)
        rows.append({"path": str(path), "id": id})

    for number, path in enumerate(pictures(folder, seen)):
        names[f"p{number}"] = path.name
        original, image = path.read_bytes(), load(path)
        add(f"p{number}/original", original)
        for kind, content in variants(original, image, rng):
            if kind not in kinds:
                kinds.append(kind)
            add(f"p{number}/{kind}", content)
    for number, path in enumerate(pictures(distinct, seen) if distinct else []):
        names[f"d{number}"] = path.name
        add(f"d{number}/original", path.read_bytes())
    manifest = out / "set.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest, [row["id"] for row in rows], kinds[1:], names


def measure(groups, ids, kinds):
    group_of = {id: n for n, group in enumerate(groups) for id in group}
    origin = lambda id: id.split("/")[0]
    right = wrong = wrong_distinct = 0
    for group in groups:
        for i, a in enumerate(group):
            for b in group[i + 1:]:
                if origin(a) == origin(b):
                    right += 1
                elif a[0] == b[0] == "d":
                    wrong_distinct += 1
                else:
                    wrong += 1
    recall = {}
    for kind in kinds:
        all = [id for id in ids if id.endswith("/" + kind)]
        found = sum(group_of.get(id, -1) == group_of.get(origin(id) + "/original", -2) for id in all)
        recall[kind] = found / len(all)
    return right, wrong, wrong_distinct, recall


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--distinct")
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--thresholds", default="0.90,0.93,0.95,0.96,0.97,0.98", help="of look-alikes")
    parser.add_argument("--show", type=int, default=0, help="wrong groups to print for each tier")
    arguments = parser.parse_args()
    build = pathlib.Path(arguments.build).resolve()
    with tempfile.TemporaryDirectory() as scratch:
        out = pathlib.Path(scratch)
        manifest, ids, kinds, names = make_set(arguments.folder, arguments.distinct, out)
        port = out / "port"
        with open(out / "log", "wb") as log:
            server = subprocess.Popen([build / "server/imagesearchd", "--data-dir", out / "data", "--listen",
                                       "127.0.0.1:0", "--port-file", port], stdout=log, stderr=log)
        try:
            while not port.exists():
                assert server.poll() is None, (out / "log").read_text()
                time.sleep(0.1)
            environment = {**os.environ, "IMAGESEARCH_SERVER": "127.0.0.1:" + port.read_text().split()[0]}
            command = build / "client/imagesearch"
            while subprocess.run([command, "health"], env=environment, capture_output=True).returncode:
                time.sleep(0.2)
            subprocess.run([command, "index", manifest, "--no-journal", "-q"], env=environment, check=True)
            distinct = sum(id[0] == "d" for id in ids)
            print(f"{len(ids)} pictures: {(len(ids) - distinct) // (1 + len(kinds))} with {len(kinds)} variants each, "
                  f"{distinct} distinct ones")
            tiers = [("bytes",), ("picture",)]
            tiers += [("look-alike", "--min-score", value) for value in arguments.thresholds.split(",")]
            for tier, *more in tiers:
                started = time.monotonic()
                reply = json.loads(subprocess.run(
                    [command, "duplicates", "--tier", tier, *more, "--output", "json", "--timeout", "600"],
                    env=environment, check=True, capture_output=True).stdout)
                seconds = time.monotonic() - started
                groups = [[image["id"] for image in group["images"]] for group in reply["groups"]]
                right, wrong, wrong_distinct, recall = measure(groups, ids, kinds)
                tier = " ".join([tier, *more[1:]])
                print(f"{tier}: {len(groups)} groups in {seconds:.2f} s; pairs {right} right, {wrong} wrong "
                      f"(precision {right / max(1, right + wrong):.4f}), {wrong_distinct} pairs among the distinct; recall "
                      + ", ".join(f"{kind} {value:.3f}" for kind, value in recall.items()), flush=True)
                mixed = [sorted({names[id.split("/")[0]] for id in group}) for group in groups
                         if len({id.split("/")[0] for id in group}) > 1]
                for group in mixed[:arguments.show]:
                    print("   ", ", ".join(group[:8]))
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
