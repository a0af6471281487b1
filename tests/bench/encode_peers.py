"""The bare encoder beside the reference implementations, on one checkpoint, in turn, in one run.

    tests/bench/encode_peers.sh MODEL_DIR [--threads 2] [--seconds 3] [--json FILE]

(the script makes the peers' virtual environment and calls this). MODEL_DIR: a Hugging Face CLIP
folder; tests/bench/make_checkpoint.py makes one. For each implementation and batch: images a second
(median of the batches' times), and how far its vectors are from transformers' in fp32: the cosine's
mean and worst, and the worst with the mean vector removed (random weights give vectors that share
most of their direction, so only the last says much). Preprocessing is left out. At the end our rate
over that of each peer of the same fidelity class. With --threads 1 times are CPU time, which a busy
machine disturbs least; else wall time, and the share of the machine that other processes took
meanwhile is printed beside it.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("--bench", required=True, help="encode_bench")
parser.add_argument("--tool", required=True, help="tests/reference/encode_tool")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--batches", default="1,8,32")
parser.add_argument("--seconds", type=float, default=3)
parser.add_argument("--gflop", type=float, default=8.8, help="an image's multiply-adds times two, in 1e9")
parser.add_argument("--json", help="also write the rows to this file")
args = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(args.threads)
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402
from transformers import CLIPModel  # noqa: E402

torch.set_num_threads(args.threads)
clock = time.process_time if args.threads == 1 else time.perf_counter
BATCHES = [int(b) for b in args.batches.split(",")]
SAMPLES = 64  # pictures for fidelity; the first 32 calibrate NNCF
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
rows = []


class ImageTower(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.tower, self.projection = model.vision_model, model.visual_projection

    def forward(self, pixel_values):
        return self.projection(self.tower(pixel_values=pixel_values).pooler_output)


def pictures(size):
    """Smooth random pictures with some noise: (SAMPLES, size, size, 3) bytes."""
    rng = np.random.default_rng(5)
    coarse = torch.from_numpy(rng.random((SAMPLES, 3, 7, 7)).astype(np.float32) * 255)
    fine = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic")
    fine += torch.from_numpy(rng.normal(0, 12, fine.shape).astype(np.float32))
    return fine.clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


def unit(v):
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def fidelity(vectors):
    """(mean, worst, worst with the mean vector removed) cosine with the reference."""
    ours, theirs = unit(np.asarray(vectors, np.float32)), unit(reference)
    plain = (ours * theirs).sum(1)
    centre = theirs.mean(0)
    centred = (unit(ours - centre) * unit(theirs - centre)).sum(1)
    return [float(plain.mean()), float(plain.min()), float(centred.min())]


def busy():
    """CPU seconds that everything on the machine has used, and that this process has."""
    fields = list(map(int, pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:9]))
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK"), time.process_time()


def report(name, batch, seconds, cosines, others=None, of_peak=None):
    row = {"name": name, "batch": batch, "images_per_second": batch / seconds, "cosine_mean": cosines[0],
           "cosine_worst": cosines[1], "cosine_worst_centred": cosines[2]}
    line = f"{name:26} batch {batch:3} {batch / seconds:8.2f} images/s   cosine {cosines[0]:.6f} {cosines[1]:.6f} {cosines[2]:.5f}"
    if of_peak is not None:
        row["of_peak"] = of_peak
        line += f"   {of_peak:.2f} of the cores' peak"
    if others is not None:
        row["other_cores"] = others
        line += f"   others {others:.2f} cores"
    rows.append(row)
    print(line, flush=True)


def measure(name, run):
    """run: pixels as normalised float32 (batch, 3, size, size) -> vectors."""
    cosines = fidelity(np.concatenate([run(normal[i : i + 8]) for i in range(0, SAMPLES, 8)]))
    for batch in BATCHES:
        pixels = normal[:batch]
        run(pixels)
        times, start, before = [], time.perf_counter(), busy()
        while len(times) < 3 or time.perf_counter() - start < args.seconds:
            begin = clock()
            run(pixels)
            times.append(clock() - begin)
        after, wall = busy(), time.perf_counter() - start
        others = max(0.0, (after[0] - before[0] - (after[1] - before[1])) / wall)
        report(name, batch, statistics.median(times), cosines, others)


def ours(folder):
    (folder / "pixels.raw").write_bytes(raw.tobytes())
    cosines = {}
    for precision in ("fp32", "bf16", "int8"):
        out = folder / "out.json"
        done = subprocess.run([args.tool, args.model, out, "--precision", precision, "--pixels", folder / "pixels.raw",
                               "--threads", str(args.threads)], capture_output=True, text=True)
        if done.returncode == 0:
            cosines[precision] = fidelity(json.loads(out.read_text())["pixels"])
        else:
            print(f"imagesearchd {precision}: {done.stderr.strip()}")
    out = subprocess.run([args.bench, "--model", args.model, "--threads", str(args.threads), "--image_gflop", str(args.gflop),
                          "--precisions", ",".join(cosines), "--benchmark_filter=^image", "--benchmark_format=json",
                          f"--benchmark_min_time={args.seconds / 3}"], check=True, capture_output=True, text=True).stdout
    for row in json.loads(out[out.index("{\n"):])["benchmarks"]:
        _, precision, batch = row["name"].split("/")[:3]
        batch = int(batch.split(":")[1])
        if batch in BATCHES:
            report(f"imagesearchd {precision}", batch, batch / row["items_per_second"], cosines[precision], of_peak=row.get("of_peak"))


def onnx_files(folder):
    """(fp32, int8) of the image tower: dynamic int8, a scale for each output channel."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    plain, small = folder / "tower.onnx", folder / "tower.int8.onnx"
    with torch.no_grad():
        torch.onnx.export(tower, (torch.from_numpy(normal[:2]),), str(plain), input_names=["pixel_values"], output_names=["vector"],
                          dynamo=True, dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=512)},), opset_version=18)
    quantize_dynamic(str(plain), str(small), weight_type=QuantType.QInt8, per_channel=True, op_types_to_quantize=["MatMul", "Gemm"])
    return plain, small


def onnx_runtime(folder):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    for name, file in zip(("fp32", "int8 dynamic"), onnx_files(folder)):
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        measure(f"ONNX Runtime {name}", lambda pixels: session.run(None, {"pixel_values": pixels})[0])


def open_vino(folder):
    import openvino
    core, plain = openvino.Core(), openvino.convert_model(tower, example_input=torch.zeros(2, 3, side, side))

    def rows_of(name, model, hint):
        request = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": args.threads, "PERFORMANCE_HINT": "LATENCY",
                                                    "INFERENCE_PRECISION_HINT": hint}).create_infer_request()
        measure(f"OpenVINO {name}", lambda pixels: request.infer([pixels])[0].copy())

    rows_of("fp32", plain, "f32")
    rows_of("bf16", plain, "bf16")
    import nncf
    small = nncf.quantize(plain, nncf.Dataset([normal[i : i + 1] for i in range(32)]), model_type=nncf.ModelType.TRANSFORMER,
                          subset_size=32)
    rows_of("int8 (NNCF)", small, "f32")


def transformers_rows(folder):
    for dtype in (torch.float32, torch.bfloat16):
        cast = tower.to(dtype)

        def eager(pixels):
            with torch.inference_mode():
                return cast(torch.from_numpy(pixels).to(dtype)).float().numpy()

        measure(f"transformers {str(dtype).removeprefix('torch.')}", eager)


def compare():
    """Our rate over each peer's, against the precision of ours that is meant for its fidelity."""
    rate = {(row["name"], row["batch"]): row["images_per_second"] for row in rows}
    print("\nimagesearchd / peer, by batch " + " / ".join(map(str, BATCHES)))
    for name in dict.fromkeys(row["name"] for row in rows):
        mine = "imagesearchd " + ("int8" if "int8" in name else "bf16" if "bf" in name else "fp32")
        if not name.startswith("imagesearchd") and (mine, BATCHES[0]) in rate:
            print(f"{mine} / {name}: " + " / ".join(f"{rate[mine, b] / rate[name, b]:.2f}" for b in BATCHES))


model = CLIPModel.from_pretrained(args.model, dtype=torch.float32).eval()
side = model.config.vision_config.image_size
tower = ImageTower(model).eval()
raw = pictures(side)
normal = np.ascontiguousarray(((raw.astype(np.float32) / 255 - MEAN) / STD).transpose(0, 3, 1, 2))
with torch.inference_mode():
    reference = np.concatenate([tower(torch.from_numpy(normal[i : i + 8])).numpy() for i in range(0, SAMPLES, 8)])
with tempfile.TemporaryDirectory() as scratch:
    for peer in (ours, onnx_runtime, open_vino, transformers_rows):
        peer(pathlib.Path(scratch))
compare()
if args.json:
    pathlib.Path(args.json).write_text(json.dumps(rows, indent=1) + "\n")
