"""The folder job `imagesearch index`: does it keep the encoder busy, and how long does a second run take?

    .deps/reference/bin/python tests/bench/index_job.py [--build build/release] [--model DIR] [--photos 1500] [--files 100000]

Part 1: a folder of 640x480 JPEGs, all different, on a server of its own with the shipped model (or DIR). Reported: the
share of the job's time that the towers ran, from the server's own counter, at least 0.90 wanted; the CPU that client
and server took; what the bare encoder would have done on the cores that the client left.
Part 2: a folder of tiny files, all different, twice. The model is a tiny random one, because what a second run costs
(reading the folder, the journal, asking the server for its ids) does not depend on the model. Reported: seconds of both
runs, and the second one must send nothing.
Other processes' CPU is printed beside each. Needs tests/reference/setup.sh.
"""
import argparse
import contextlib
import io
import json
import os
import pathlib
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
import zlib

import numpy as np
from PIL import Image

HERE = pathlib.Path(__file__).resolve().parent
TICK = os.sysconf("SC_CLK_TCK")
CORES = len(os.sched_getaffinity(0))


def photo(rng):
    """A JPEG with about a photo's entropy: smooth colours, some edges, noise."""
    coarse = rng.random((15, 20, 3)) * 255
    image = np.asarray(Image.fromarray(coarse.astype(np.uint8)).resize((640, 480), Image.BICUBIC), np.float32)
    for _ in range(8):
        x, y = rng.integers(0, 600), rng.integers(0, 440)
        image[y : y + rng.integers(20, 160), x : x + rng.integers(20, 200)] += rng.normal(0, 40, 3)
    image += rng.normal(0, 6, image.shape)
    out = io.BytesIO()
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=88)
    return out.getvalue()


def tiny_png(number):
    """A PNG of 8x8 pixels that spell the number."""
    rows = b"".join(b"\0" + struct.pack(">Q", number * 2654435761 + y) * 3 for y in range(8))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")


class Server:
    def __init__(self, build, folder, *flags):
        folder.mkdir(parents=True)
        port_file = folder / "port"
        with open(folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                [build / "server/imagesearchd", "--data-dir", folder / "data", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0",
                 "--port-file", port_file, "--log-level", "warn", *flags], stdout=log, stderr=log)
        end = time.monotonic() + 180
        while not port_file.exists() or not self.ready(port_file):
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit("imagesearchd does not start:\n" + (folder / "log").read_text()[-2000:])
            time.sleep(0.1)

    def ready(self, port_file):
        self.port, self.http = map(int, port_file.read_text().split())
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"http://127.0.0.1:{self.http}/readyz", timeout=5).status == 200
        return False

    def metric(self, line):
        """The value of the series that begins with `line`."""
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.http}/metrics", timeout=30).read().decode()
        return float(re.search("^" + re.escape(line) + r"\S* (\S+)$", text, re.M).group(1))

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def machine_cpu():
    fields = list(map(int, pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:9]))
    return (sum(fields) - fields[3] - fields[4]) / TICK


def children_cpu():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run_job(build, server, pictures, state):
    """(summary, seconds, cores of the client, of the server, of others)"""
    before = time.monotonic(), children_cpu(), server.cpu(), machine_cpu()
    job = subprocess.run([build / "client/imagesearch", "--server", f"127.0.0.1:{server.port}", "index", pictures, "--output", "json"],
                         env=dict(os.environ, XDG_STATE_HOME=str(state)), capture_output=True, text=True)
    after = time.monotonic(), children_cpu(), server.cpu(), machine_cpu()
    if job.returncode != 0:
        raise SystemExit(f"imagesearch index ended with {job.returncode}:\n{job.stderr[-2000:]}")
    seconds = after[0] - before[0]
    client, own, machine = ((after[i] - before[i]) / seconds for i in (1, 2, 3))
    return json.loads(job.stdout), seconds, client, own, max(0.0, machine - client - own)


def encoder_busy(args, scratch):
    pictures = scratch / "photos"
    pictures.mkdir()
    rng = np.random.default_rng(20261124)
    for i in range(args.photos):
        (pictures / f"{i:06}.jpg").write_bytes(photo(rng))
    size = sum(p.stat().st_size for p in pictures.iterdir()) / args.photos / 1000
    server = Server(args.build, scratch / "server-1", *(["--model", args.model] if args.model else []))
    try:
        towers = 'imagesearch_encoder_seconds_total{stage="towers"'
        start = server.metric(towers)
        summary, seconds, client, own, others = run_job(args.build, server, pictures, scratch / "state-1")
        busy = (server.metric(towers) - start) / seconds
    finally:
        server.stop()
    assert summary["sent"] == args.photos, summary
    rate = args.photos / seconds
    model = args.model or HERE.parents[1] / "encoder/models/imagesearch-lite-v1"
    some = sorted(pictures.iterdir())[:32]
    bare = subprocess.run([args.build / "tests/bench/batching_bench", model, *some, "--seconds=5"], capture_output=True, text=True)
    print(f"folder job: {args.photos} JPEGs of {size:.0f} kB, {seconds:.1f} s, {rate:.1f} images/s")
    print(f"  towers busy {busy:.3f} of the job's time (>= 0.90 wanted)")
    print(f"  cores: client {client:.2f}, server {own:.2f}, others {others:.2f}, of {CORES}")
    found = re.search(r"images: bare ([\d.]+) /s", bare.stdout)
    if found:
        share = rate / float(found.group(1))
        print(f"  of the bare encoder's {found.group(1)} images/s: {share:.3f}, net of the client's cores {share / (1 - client / CORES):.3f}")
    return {"images": args.photos, "seconds": seconds, "towers_busy": busy, "client_cores": client, "server_cores": own, "other_cores": others}


def second_run(args, scratch):
    pictures = scratch / "tiny"
    for i in range(args.files):
        if i % 1000 == 0:
            (pictures / f"{i // 1000:04}").mkdir(parents=True)
        (pictures / f"{i // 1000:04}" / f"{i:07}.png").write_bytes(tiny_png(i))
    model = scratch / "tiny-model"
    subprocess.run([sys.executable, HERE / "make_checkpoint.py", "--tiny", model], check=True)
    server = Server(args.build, scratch / "server-2", "--model", model, "--precision", "fp32")
    try:
        first, first_seconds, *_ = run_job(args.build, server, pictures, scratch / "state-2")
        second, seconds, client, own, others = run_job(args.build, server, pictures, scratch / "state-2")
    finally:
        server.stop()
    assert first["sent"] == args.files, first
    assert second["sent"] == 0 and second["skipped"]["unchanged"] == args.files, second
    print(f"second run: {args.files} files, first {first_seconds:.1f} s, second {seconds:.2f} s (seconds wanted)")
    print(f"  cores in the second: client {client:.2f}, server {own:.2f}, others {others:.2f}, of {CORES}")
    return {"files": args.files, "first_seconds": first_seconds, "second_seconds": seconds, "other_cores": others}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parents[1] / "build/release")
    parser.add_argument("--model", type=pathlib.Path)
    parser.add_argument("--photos", type=int, default=1500)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    args.build = args.build.resolve()
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="index_job-"))
    try:
        rows = {"folder_job": encoder_busy(args, scratch), "second_run": second_run(args, scratch)}
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


main()
