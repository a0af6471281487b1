"""Real vectors of the shipped model for index_bench and index_peers.py: artwork pictures, and their labels as queries.

    encoder/training/train.sh --work WORK          # its first two steps download and draw the pictures; stop it then
    .deps/reference/bin/python tests/bench/real_vectors.py WORK DIR [--build build/release]
    build/release/tests/bench/index_bench --read DIR && python3 tests/bench/index_peers.py DIR

Indexes every picture that the training work folder WORK holds (the copies made for training left out) into a server of
its own, exports the vectors, and encodes the distinct labels and tags as texts. Writes raw little-endian float32 rows:
base.f32, image.f32 (1,000 pictures taken out of the base) and text.f32 (2,000 texts; index_bench asks the first half, and gives the
second to the index as the sample of texts to learn from).
"""
import argparse
import json
import os
import pathlib
import random
import subprocess
import tempfile
import time

import numpy as np
from PIL import Image

SEED, QUERIES = 1, 1000


def draw(work, out):
    """Writes the pictures as files; returns their number and all texts that describe them."""
    count, texts = 0, []
    for array in sorted((work / "pics").glob("*.npy")):
        if "+" in array.stem:
            continue
        pictures = np.load(array, mmap_mode="r")
        rows = [json.loads(line) for line in array.with_suffix(".jsonl").read_text().splitlines()]
        (out / array.stem).mkdir()
        for number, (picture, row) in enumerate(zip(pictures, rows)):
            Image.fromarray(np.asarray(picture)).save(out / array.stem / f"{number}.png", compress_level=1)
            texts += [row["label"], *row.get("tags", [])]
            count += 1
    return count, sorted(set(texts))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/release"))
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        (folder / "pics").mkdir()
        count, texts = draw(arguments.work, folder / "pics")
        port = folder / "port"
        with open(folder / "log", "wb") as log:
            server = subprocess.Popen([build / "server/imagesearchd", "--data-dir", folder / "data", "--listen", "127.0.0.1:0",
                                       "--port-file", port], stdout=log, stderr=log)
        try:
            while not port.exists():
                assert server.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
            command = build / "client/imagesearch"
            environment = {**os.environ, "IMAGESEARCH_SERVER": "127.0.0.1:" + port.read_text().split()[0]}
            while subprocess.run([command, "health"], env=environment, capture_output=True).returncode:
                time.sleep(0.2)
            start = time.monotonic()
            subprocess.run([command, "index", folder / "pics", "--no-journal", "-q"], env=environment, check=True)
            print(f"{count} pictures indexed in {time.monotonic() - start:.0f} s", flush=True)
            subprocess.run([command, "export", folder / "rows.jsonl", "--npy", folder / "rows.npy"], env=environment, check=True)
            rows = np.load(folder / "rows.npy").astype(np.float32)
            assert len(rows) == count, f"{len(rows)} of {count} pictures came back"
            rng = random.Random(SEED)
            texts = rng.sample(texts, 2 * QUERIES)
            encoded = []
            for first in range(0, len(texts), 50):
                lines = subprocess.run([command, "encode", "--json", *texts[first:first + 50]], env=environment, check=True,
                                       capture_output=True, text=True).stdout.splitlines()
                encoded += [json.loads(line)["vector"] for line in lines]
            order = np.random.default_rng(SEED).permutation(count)
            rows[order[QUERIES:]].tofile(arguments.out / "base.f32")
            rows[order[:QUERIES]].tofile(arguments.out / "image.f32")
            np.asarray(encoded, np.float32).tofile(arguments.out / "text.f32")
            print(f"{count - QUERIES} rows, {QUERIES} image queries, {len(encoded)} texts in {arguments.out}")
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
