"""The bare encoder beside the reference implementations, on one checkpoint, in turn, in one run.

    python tests/bench/encode_peers.py MODEL_DIR --bench build/release/tests/bench/encode_bench

MODEL_DIR: a Hugging Face CLIP folder (a random-weight one will do: speed does not depend on the
values). Needs torch and transformers (tests/reference/setup.sh), and openvino for its rows. Prints a
row for each implementation and batch: milliseconds an image, and images a second. With --threads 1
all times are CPU time of the process, which a busy machine disturbs least; else wall time.
"""
import argparse
import json
import os
import statistics
import subprocess
import time

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("--bench", required=True)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--batches", default="1,8,32")
parser.add_argument("--seconds", type=float, default=3)
parser.add_argument("--gflop", type=float, default=8.8, help="an image's multiply-adds times two, in 1e9")
args = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(args.threads)

import numpy as np  # noqa: E402
import torch  # noqa: E402
from transformers import CLIPModel  # noqa: E402

torch.set_num_threads(args.threads)
clock = time.process_time if args.threads == 1 else time.perf_counter
BATCHES = [int(b) for b in args.batches.split(",")]


class ImageTower(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.tower, self.projection = model.vision_model, model.visual_projection

    def forward(self, pixel_values):
        return self.projection(self.tower(pixel_values=pixel_values).pooler_output)


def report(name, batch, seconds):
    print(f"{name:24} batch {batch:3}: {1e3 * seconds / batch:8.2f} ms an image, {batch / seconds:7.2f} images/s", flush=True)


def measure(name, run, size):
    for batch in BATCHES:
        pixels = np.random.default_rng(1).normal(size=(batch, 3, size, size)).astype(np.float32)
        run(pixels)
        times, start = [], time.perf_counter()
        while len(times) < 3 or time.perf_counter() - start < args.seconds:
            begin = clock()
            run(pixels)
            times.append(clock() - begin)
        report(name, batch, statistics.median(times))


def ours():
    out = subprocess.run([args.bench, "--model", args.model, "--threads", str(args.threads), "--image_gflop", str(args.gflop),
                          "--benchmark_filter=^image", "--benchmark_format=json", f"--benchmark_min_time={args.seconds / 3}"],
                         check=True, capture_output=True, text=True).stdout
    for row in json.loads(out[out.index('{\n'):])["benchmarks"]:
        _, precision, batch = row["name"].split("/")[:3]
        batch = int(batch.split(":")[1])
        if batch in BATCHES:
            report(f"imagesearchd {precision}", batch, batch / row["items_per_second"])
            print(f"{'':24} {row['of_peak']:.2f} of the cores' peak")


model = CLIPModel.from_pretrained(args.model, dtype=torch.float32).eval()
side = model.config.vision_config.image_size
tower = ImageTower(model).eval()
ours()
try:
    import openvino
    converted = openvino.convert_model(tower, example_input=torch.zeros(2, 3, side, side))
    for hint in ("f32", "bf16"):
        request = openvino.Core().compile_model(converted, "CPU", {
            "INFERENCE_NUM_THREADS": args.threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint}).create_infer_request()
        measure(f"OpenVINO {hint}", lambda pixels: request.infer([pixels]), side)
except ImportError:
    print("OpenVINO is not installed: no rows for it")
for dtype in (torch.float32, torch.bfloat16):
    tower = tower.to(dtype)

    def eager(pixels):
        with torch.inference_mode():
            return tower(torch.from_numpy(pixels).to(dtype))

    measure(f"transformers {str(dtype).removeprefix('torch.')}", eager, side)
