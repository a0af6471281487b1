"""A soak: the real imagesearchd at 70 % of the rate that it is measured to reach, for as long as asked, with its memory,
descriptors, threads and latency noted each 10 s, and drawn. Fails on growth, on failed calls, and as void when the load
fell below its floor.

    .deps/reference/bin/python tests/fault/soak.py --minutes 120 --plot docs/soak.svg --samples build/soak.csv

The load: 70 % text searches (each text another one), 10 % image searches, 10 % uploads that replace one of --images
images, 5 % Get, 3 % Count with a filter, 2 % Delete (the image comes back with a later upload).
"""
import argparse
import csv
import pathlib
import random
import shutil
import sys
import tempfile
import threading
import time
import types
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import conftest  # noqa: E402: the daemon of the integration tests
import pictures  # noqa: E402
import soak_report  # noqa: E402

COLORS = ("red", "green", "blue", "black", "white", "yellow", "pink", "brown")
THINGS = ("boat", "cat", "dog", "tree", "house", "car", "bird", "flower", "face", "cup", "chair", "mountain")
BASES = [pictures.encode(pictures.picture(seed, (320, 240)), "JPEG", quality=88) for seed in range(48)]


def photo(number):
    """A picture whose bytes no other number has: what follows the end of a JPEG is no part of it."""
    return BASES[number % len(BASES)] + number.to_bytes(8, "big")


class Load:
    """Calls by number, over connections of their own, with what became of them."""

    def __init__(self, server, images, connections=8):
        from imagesearch.v1 import imagesearch_pb2, imagesearch_pb2_grpc
        self.pb = imagesearch_pb2
        self.images = images
        self.stubs = [imagesearch_pb2_grpc.ImageSearchStub(server.connect()) for _ in range(connections)]
        self.lock = threading.Lock()
        self.searches = []  # seconds of each search since the last sample
        self.done = 0
        self.failures = []

    def fill(self):
        pb = self.pb

        def messages():
            for i in range(self.images):
                yield pb.UpsertStreamRequest(sequence=i, image=self.image(i, i))

        for ack in self.stubs[0].UpsertStream(messages()):
            assert ack.status.code == 0, ack

    def image(self, id, number):
        image = self.pb.Image(id=f"i{id}", content=photo(number))
        image.metadata.update({"kind": THINGS[id % len(THINGS)], "number": id})
        return image

    def call(self, number):
        """One call; notes its time when it is a search."""
        pb, stub = self.pb, self.stubs[number % len(self.stubs)]
        rng = random.Random(number)
        draw, id = rng.random(), rng.randrange(self.images)
        start = time.perf_counter()
        try:
            if draw < 0.8:
                text = f"a {rng.choice(COLORS)} {rng.choice(THINGS)} near a {rng.choice(COLORS)} {rng.choice(THINGS)} {number}"
                term = pb.Term(text=text) if draw < 0.7 else pb.Term(image=photo(number))
                reply = stub.Search(pb.SearchRequest(query=pb.Query(terms=[term]), limit=10), timeout=30)
                assert len(reply.hits) == 10, len(reply.hits)
                with self.lock:
                    self.searches.append(time.perf_counter() - start)
            elif draw < 0.9:
                status = stub.Upsert(pb.UpsertRequest(images=[self.image(id, number)]), timeout=30).results[0].status
                assert status.code == 0, status
            elif draw < 0.95:
                stub.Get(pb.GetRequest(ids=[f"i{id}", "i0"]), timeout=30)
            elif draw < 0.98:
                stub.Count(pb.CountRequest(filter=f'kind = "{rng.choice(THINGS)}" AND number < {id}'), timeout=30)
            elif id != 0:
                stub.Delete(pb.DeleteRequest(ids=[f"i{id}"]), timeout=30)
            with self.lock:
                self.done += 1
        except Exception as error:  # noqa: BLE001: any failure counts, and a NOT_FOUND can't be
            with self.lock:
                self.failures.append(f"{number}: {error}")

    def run(self, seconds, rate=None, threads=16, first=0):
        """Closed loop without a rate, else at that rate whatever becomes of the calls. The number of calls made."""
        start = time.monotonic()
        numbers = iter(range(first, sys.maxsize))
        turn = threading.Lock()
        made = [0]

        def work():
            while True:
                with turn:
                    number = next(numbers)
                due = start + (number - first) / rate if rate else time.monotonic()
                if due >= start + seconds:
                    return
                time.sleep(max(0.0, due - time.monotonic()))
                self.call(number)
                with turn:
                    made[0] += 1

        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return made[0]


def metrics(port):
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20).read().decode()
    wanted = {"process_resident_memory_bytes": "rss", "process_open_fds": "fds", "process_threads": "threads"}
    return {wanted[name]: float(value) for name, _, value in (line.rpartition(" ") for line in text.splitlines())
            for name in [name] if name in wanted}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--share", type=float, default=0.7, help="of the measured rate")
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--every", type=float, default=10, help="seconds between samples")
    parser.add_argument("--plot", type=pathlib.Path, help="an SVG file")
    parser.add_argument("--samples", type=pathlib.Path, help="a CSV file")
    options = parser.parse_args()

    session = types.SimpleNamespace(config=types.SimpleNamespace())
    conftest.pytest_sessionstart(session)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="imagesearch-soak-"))
    server = conftest.Daemon(folder, "--http", "127.0.0.1:0")
    try:
        return soak(server.start(), folder, options)
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)
        conftest.pytest_sessionfinish(session)


def soak(server, folder, options):
    port = int((folder / "port").read_text().split()[1])
    load = Load(server, options.images)
    load.fill()
    load.run(10)  # warm
    measured = load.run(20, first=10**6) / 20
    rate = options.share * measured
    print(f"{measured:.0f} calls a second at most; {options.minutes:g} minutes at {rate:.0f}", flush=True)
    load.searches.clear()
    load.failures.clear()
    load.done = 0

    samples = []
    start = time.monotonic()
    seconds = options.minutes * 60
    driver = threading.Thread(target=load.run, args=(seconds, rate), kwargs={"first": 10**9})
    driver.start()
    done = 0
    while driver.is_alive():
        driver.join(options.every)
        now = time.monotonic() - start
        with load.lock:
            searches, load.searches = sorted(load.searches), []
            finished, done = load.done - done, load.done
        if not driver.is_alive() and now < (len(samples) + 0.5) * options.every:
            break  # the rest of an interval
        took = now - (samples[-1]["seconds"] if samples else 0)
        samples.append({"seconds": round(now, 1), "rate": finished / took,
                        "p99_ms": 1000 * searches[int(len(searches) * 0.99)] if searches else float("nan"),
                        **metrics(port)})
    healthy = server.health("live") == server.health("ready") == 1
    code = server.stop()
    if options.samples:
        options.samples.parent.mkdir(parents=True, exist_ok=True)
        with open(options.samples, "w", newline="") as out:
            writer = csv.DictWriter(out, samples[0].keys())
            writer.writeheader()
            writer.writerows(samples)
    if options.plot:
        title = f"{options.minutes:g} minutes at {rate:.0f} calls a second ({options.share:.0%} of {measured:.0f})"
        options.plot.write_text(soak_report.draw(samples, title))

    problems = soak_report.judge(samples, rate, seconds)
    if load.failures:
        problems.append(f"{len(load.failures)} calls failed, the first: {load.failures[0]}")
    if not healthy:
        problems.append("not live or not ready at the end")
    if code != 0:
        problems.append(f"exit code {code}")
    print(f"{load.done} calls, {len(load.failures)} failed; {soak_report.describe(samples)}")
    for problem in problems:
        print("FAILED:", problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
