#!/usr/bin/env python3
"""Requests a second by replica count, each replica on a core of its own, behind a real HAProxy: one writer and its readers
on one data folder. Prints a table for docs/operations.md. Needs an idle machine with a core for each replica and one more
for clients and proxy (--shared-core where there is none: then the clients' share is lost to the replicas, and it says so).

    .deps/reference/bin/python tests/bench/fleet_scaling.py --replicas 1,2 --seconds 20 [--images 20000] [--kind text]
"""
import argparse
import os
import pathlib
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/integration"))
import conftest  # noqa: E402


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", default="1,2", help="counts to measure, up to 3")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--images", type=int, default=20000, help="vectors in the collection that is searched")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--kind", choices=["text", "vector"], default="text",
                        help="text: each call encodes a new text; vector: the index alone")
    parser.add_argument("--shared-core", action="store_true")
    return parser.parse_args()


def pin(pid, cores):
    for task in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(task), cores)


def measure(count, arguments, test_fleet, pb):
    with tempfile.TemporaryDirectory(prefix="fleet-scaling-") as folder:
        fleet = test_fleet.Fleet(folder)
        for name in fleet.names[count:]:
            fleet.replicas.pop(name)
        fleet.names = fleet.names[:count]
        for name in {"writer", "reader1", "reader2"} - set(fleet.names):  # HAProxy finds nobody there
            os.environ.update({name.upper(): "127.0.0.1:1", name.upper() + "_HTTP": "127.0.0.1:1"})
        fleet.start()
        try:
            for core, name in enumerate(fleet.names):
                pin(fleet.replicas[name].process.pid, {core})
            clients_core = {0} if arguments.shared_core else {count}
            os.sched_setaffinity(0, clients_core)
            pin(fleet.proxy.pid, clients_core)
            writer = fleet.replicas["writer"].images
            batch, version = 250, 0
            for start in range(0, arguments.images, batch):
                images = [test_fleet.image(n) for n in range(start, start + batch)]
                version = writer.Upsert(pb.UpsertRequest(collection="vectors", images=images), timeout=300).version
            for name in fleet.names:
                fleet.replicas[name].images.Count(pb.CountRequest(collection="vectors", min_version=version), timeout=300)
            done, stop, lock = [0], threading.Event(), threading.Lock()

            def client(number):
                channel = fleet.connect()
                images = test_fleet.imagesearch_pb2_grpc.ImageSearchStub(channel)
                calls = 0
                while not stop.is_set():
                    if arguments.kind == "vector":
                        request = test_fleet.vector_search(number * 1_000_003 + calls)
                    else:
                        request = pb.SearchRequest(limit=1)
                        request.query.terms.add().text = f"picture {number} of {calls}"
                    images.Search(request, timeout=60)
                    calls += 1
                with lock:
                    done[0] += calls
                channel.close()

            threads = [threading.Thread(target=client, args=(n,)) for n in range(arguments.clients)]
            begin = time.monotonic()
            for thread in threads:
                thread.start()
            time.sleep(arguments.seconds)
            stop.set()
            for thread in threads:
                thread.join()
            return done[0] / (time.monotonic() - begin)
        finally:
            fleet.close()


def main():
    arguments = parse()
    counts = [int(count) for count in arguments.replicas.split(",")]
    cores = os.cpu_count()
    needed = max(counts) + (0 if arguments.shared_core else 1)
    if cores < needed:
        sys.exit(f"{needed} cores are needed, {cores} are there: measure fewer replicas, or give --shared-core")

    class Session:
        config = type("Config", (), {})()
    conftest.pytest_sessionstart(Session)
    try:
        import test_fleet
        from imagesearch.v1 import imagesearch_pb2 as pb
        print(f"{arguments.kind} searches over {arguments.images} vectors, {arguments.clients} clients, "
              f"{arguments.seconds:g} s each" + (", clients on the first replica's core" if arguments.shared_core else ""))
        print("| replicas | calls a second | of the first |\n|---|---|---|")
        first = None
        for count in counts:
            rate = measure(count, arguments, test_fleet, pb)
            first = first or rate
            print(f"| {count} | {rate:.0f} | {rate / first:.2f} |", flush=True)
    finally:
        conftest.pytest_sessionfinish(Session)


if __name__ == "__main__":
    main()
