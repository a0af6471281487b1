#!/usr/bin/env python3
"""Measures other nearest-neighbour libraries on the vectors of index_bench, for comparison by ratio.

First write the vectors, then run both on the same machine, one right after the other:

    index_bench --write DIR ...
    index_peers.py DIR

Installs faiss-cpu, hnswlib and usearch from PyPI into a virtual environment outside the repository
(--venv). Each library is taken at the smallest search effort that reaches the target recall@10,
each with the element types that serve it best. Figures are queries a second of one thread, by wall
clock and by processor time (what the wall clock would show on an idle machine).
"""
import argparse
import os
import pathlib
import subprocess
import sys
import time

PACKAGES = ["numpy", "faiss-cpu==1.15.1", "hnswlib==0.8.0", "usearch==2.26.6"]
EFFORTS = [8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048]
TOP = 10


def arguments():
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path, help="folder with base.f32, image.f32, text.f32")
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--queries", type=int, default=500, help="of each kind, at most")
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--threads", type=int, default=2, help="of builds")
    parser.add_argument("--peers", default="", help="comma-separated names; empty: all")
    parser.add_argument("--venv", type=pathlib.Path, default=cache / "imagesearchd" / "peers")
    return parser.parse_args()


def enter_environment(venv):
    """Runs this script again inside `venv`, which is made when it is missing."""
    python = venv / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PACKAGES], check=True)
    os.execv(python, [str(python), *sys.argv, "--venv", ""])


class FaissPeer:
    def __init__(self, factory, effort, rows, threads):
        import faiss

        self.faiss, self.effort = faiss, effort
        faiss.omp_set_num_threads(threads)
        self.index = faiss.index_factory(rows.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        self.index.train(rows)
        self.index.add(rows)
        faiss.omp_set_num_threads(1)

    def bytes(self):
        return len(self.faiss.serialize_index(self.index))

    def search(self, queries, effort):
        parameters = None
        if self.effort == "ef":
            parameters = self.faiss.SearchParametersHNSW(efSearch=effort)
        elif self.effort == "nprobe":
            parameters = self.faiss.SearchParametersIVF(nprobe=effort)
        return self.index.search(queries, TOP, params=parameters)[1]


class HnswlibPeer:
    effort = "ef"

    def __init__(self, rows, threads):
        import hnswlib

        self.index = hnswlib.Index("ip", rows.shape[1])
        self.index.init_index(len(rows), ef_construction=200, M=16)
        self.index.add_items(rows, num_threads=threads)

    def bytes(self):
        return self.index.index_file_size()

    def search(self, queries, effort):
        self.index.set_ef(max(effort, TOP))
        return self.index.knn_query(queries, TOP, num_threads=1)[0]


class UsearchPeer:
    effort = "ef"

    def __init__(self, dtype, rows, threads):
        import numpy
        from usearch.index import Index

        self.index = Index(ndim=rows.shape[1], metric="ip", dtype=dtype, connectivity=16,
                           expansion_add=200)
        self.index.add(numpy.arange(len(rows)), rows, threads=threads)

    def bytes(self):
        return self.index.serialized_length

    def search(self, queries, effort):
        self.index.expansion_search = effort
        return self.index.search(queries, TOP, threads=1).keys.reshape(len(queries), -1)


PEERS = {
    "faiss-hnsw32": lambda rows, threads: FaissPeer("HNSW32,Flat", "ef", rows, threads),
    "faiss-hnsw32-sq8": lambda rows, threads: FaissPeer("HNSW32_SQ8", "ef", rows, threads),
    "faiss-ivf1024-sq8": lambda rows, threads: FaissPeer("IVF1024,SQ8", "nprobe", rows, threads),
    "faiss-flat": lambda rows, threads: FaissPeer("Flat", "", rows, threads),
    "hnswlib": HnswlibPeer,
    "usearch-bf16": lambda rows, threads: UsearchPeer("bf16", rows, threads),
}


def recall(found, truth):
    hits = sum(len(set(f) & set(t)) for f, t in zip(found.tolist(), truth.tolist()))
    return hits / truth.size


def exact(rows, queries):
    import numpy

    nearest = []
    for begin in range(0, len(queries), 100):
        scores = queries[begin:begin + 100] @ rows.T
        nearest.append(numpy.argpartition(-scores, TOP, axis=1)[:, :TOP])
    return numpy.concatenate(nearest)


def measure(peer, queries, truth, options):
    efforts = EFFORTS if peer.effort else [0]
    for effort in efforts:
        reached = recall(peer.search(queries, effort), truth)
        if reached >= options.recall:
            break
    done, wall, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < options.seconds:
        peer.search(queries, effort)
        done += len(queries)
    return effort, reached, done / (time.perf_counter() - wall), done / (time.process_time() - cpu)


def main():
    options = arguments()
    if str(options.venv) != ".":
        enter_environment(options.venv)
    os.environ.setdefault("OMP_NUM_THREADS", str(options.threads))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(options.threads))
    import numpy

    def read(name):
        return numpy.fromfile(options.data / name, numpy.float32).reshape(-1, options.dimension)

    rows = read("base.f32")
    sets = {name: read(name + ".f32")[:options.queries] for name in ("text", "image")}
    truths = {name: exact(rows, queries) for name, queries in sets.items()}
    print(f"{len(rows)} rows of {options.dimension} values")
    wanted = [name for name in options.peers.split(",") if name] or list(PEERS)
    for name in wanted:
        wall, cpu = time.perf_counter(), time.process_time()
        peer = PEERS[name](rows, options.threads)
        print(f"{name:18} built in {time.perf_counter() - wall:.1f} s on {options.threads} threads "
              f"({time.process_time() - cpu:.1f} s of CPU time), {peer.bytes() / len(rows):.0f} bytes a row",
              flush=True)
        for kind, queries in sets.items():
            effort, reached, by_wall, by_cpu = measure(peer, queries, truths[kind], options)
            print(f"{name:18} {kind:6} {peer.effort or 'exact'} {effort:5}  recall@10 {reached:.4f}  "
                  f"QPS: 1 thread {by_wall:7.0f} (by CPU time {by_cpu:7.0f})", flush=True)


if __name__ == "__main__":
    main()
