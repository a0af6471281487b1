"""Pixels ready for a tower: this project beside Pillow + numpy on the same files, CPU time of one thread.

Usage: .deps/reference/bin/python tests/bench/pixels_peers.py PIXELS_BENCH [--seconds 2]
Makes a 640x480 and a 12-megapixel JPEG (random, photo-like), then measures both sides in turn, three times each.
"""
import argparse
import io
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "reference"))
from made_images import encoded, smooth  # noqa: E402

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def pillow(data, size=224):
    image = Image.open(io.BytesIO(data)).convert("RGB")
    scale = size / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    pixels = np.asarray(image.crop((left, top, left + size, top + size)), np.float32)
    return np.ascontiguousarray(((pixels / 255 - MEAN) / STD).transpose(2, 0, 1))


def cpu_ms(call, seconds):
    call()
    times, end = [], time.process_time() + seconds
    while time.process_time() < end or len(times) < 3:
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return 1e3 * float(np.median(times))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bench")
    parser.add_argument("--seconds", type=float, default=2)
    args = parser.parse_args()
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        # Sensor noise as strong as a good and a poor camera's.
        for name, width, height, noise in (("640x480", 640, 480, 4), ("12MP", 4000, 3000, 12)):
            path = pathlib.Path(folder) / f"{name}.jpg"
            path.write_bytes(encoded(Image.fromarray(smooth(rng, width, height, noise=noise)), "JPEG", quality=88))
            files[name] = path
        for name, path in files.items():
            data, peer, ours = path.read_bytes(), [], {"full": [], "scaled": []}
            for _ in range(3):
                peer.append(cpu_ms(lambda: pillow(data), args.seconds / 3))
                out = subprocess.run([args.bench, "--benchmark_format=json", f"--benchmark_min_time={args.seconds / 3}",
                                      str(path)], check=True, capture_output=True).stdout
                for result in json.loads(out)["benchmarks"]:
                    ours[result["name"].split("/")[0]].append(result["cpu_time"])
            for way, times in ours.items():
                print(f"{name} ({len(data) // 1024} KB) {way}: {min(times):.2f} ms, Pillow + numpy {min(peer):.2f} ms, "
                      f"ratio {min(peer) / min(times):.2f}")


if __name__ == "__main__":
    main()
