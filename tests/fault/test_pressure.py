"""Clients that drip, lie and do not read, by HTTP/2 made by hand; and memory that runs out, by ulimit and by cgroup: what
was acknowledged is there, what can't be done is refused by name, and the server is well again afterwards.
IMAGESEARCH_FAULT_SCALE=long runs the long form."""
import os
import pathlib
import resource
import signal
import threading
import time

import grpc
import pytest
from imagesearch.v1 import admin_pb2, imagesearch_pb2 as pb, types_pb2

import pictures
from http2_client import Connection
from test_bad_input import reason_of
from test_clients import VECTORS, count, eventually, metrics, percentile, start

LONG = os.environ.get("IMAGESEARCH_FAULT_SCALE") == "long"


def measure(channel, calls=200):
    times = []
    for _ in range(calls):
        begin = time.perf_counter()
        count(channel)
        times.append(time.perf_counter() - begin)
    return percentile(times, 0.99)


def test_uploads_that_drip_are_cut_off_and_disturb_nobody(daemon):
    slow = 200 if LONG else 40
    server = start(daemon, "--max-client-share", "100", "--connection-age-s", "4", "--connection-age-grace-s", "3")
    alone = measure(server.channel)
    begin = time.monotonic()
    connections = [Connection(server.port) for _ in range(slow)]
    streams = [connection.begin("ImageSearch/Upsert", 4 << 20) for connection in connections]
    beside = []
    for _ in range(3):
        for connection, stream in zip(connections, streams):
            connection.send(stream, bytes(1024))
        beside.append(measure(server.channel, 70))
    assert server.health("live") == server.health("ready") == 1
    # Age, a tenth of jitter, grace, and a little for a busy machine.
    assert all(connection.closed_within(max(0.1, begin + 12 - time.monotonic())) for connection in connections)
    print(f"{slow} uploads at 1 KB/s, gone after {time.monotonic() - begin:.1f} s; p99 {alone * 1e3:.1f} ms alone,"
          f" {max(beside) * 1e3:.1f} ms beside them")
    assert max(beside) < 2
    with server.connect() as channel:
        count(channel)


def test_messages_that_claim_a_gibibyte_get_no_memory_for_it(daemon):
    liars = 64
    server = start(daemon, "--max-client-share", "100")
    before = server.rss_mib()
    connections = [Connection(server.port) for _ in range(liars)]
    for connection in connections:
        stream = connection.begin("ImageSearch/Upsert", 1 << 30)
        try:
            for _ in range(4):
                connection.send(stream, bytes(16384))
        except OSError:
            pass  # refused already
    time.sleep(1)
    count(server.channel)
    rise = server.rss_mib("VmHWM") - before
    for connection in connections:
        connection.close()
    print(f"{liars} messages that claim 1 GiB: resident memory {rise:+.0f} MiB")
    assert rise < 256
    assert server.health("live") == server.health("ready") == 1


def test_answers_that_nobody_reads_stay_bounded(daemon):
    """A reply waits in memory until its client takes it: the places of calls whose reply waits are not free."""
    connections, calls = (32, 200) if LONG else (8, 200)
    server = start(daemon, "--max-client-share", "75")
    metadata = {"text": "x" * 16000}
    for part in range(4):
        images = []
        for i in range(60):
            image = pb.Image(id=f"{part}-{i}", vector=types_pb2.Vector(values=[1 + i, 1 + part, 1, 1, 1, 1, 1, 1]))
            image.metadata.update(metadata)
            images.append(image)
        server.images.Upsert(pb.UpsertRequest(collection=VECTORS, images=images), timeout=30)
    request = pb.ListRequest(collection=VECTORS, page_size=230)
    assert server.images.List(request, timeout=30).ByteSize() > 3_500_000
    before = server.rss_mib()
    silent = [Connection(server.port, receive_buffer=4096) for _ in range(connections)]
    for connection in silent:
        for _ in range(calls):
            try:
                connection.call("ImageSearch/List", request.SerializeToString())
            except OSError:
                break
    time.sleep(5)
    rise = server.rss_mib("VmHWM") - before
    healthy = server.health("live") == 1
    for connection in silent:
        connection.close()
    print(f"{connections} x {calls} replies of 3.6 MB that nobody reads: resident memory {rise:+.0f} MiB")
    assert healthy and rise < 600
    assert eventually(lambda: metrics(server)["imagesearch_connections"] <= 3)
    with server.connect() as channel:
        count(channel)


class Load:
    """Uploads that are acknowledged, beside pictures that take much memory to decode."""

    def __init__(self, server, big):
        self.server, self.big = server, big
        self.acknowledged, self.outcomes = [], {}
        self.lock, self.stop = threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self.upload, args=(i,)) for i in range(2)]
        self.threads += [threading.Thread(target=self.decode) for _ in range(6)]

    def note(self, outcome):
        with self.lock:
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    def upload(self, worker):
        stub = Load.stub(self.server)
        number = 0
        while not self.stop.is_set():
            number += 1
            id = f"{worker}-{number}"
            image = pb.Image(id=id, content=pictures.encode(pictures.picture(number % 50)))
            try:
                status = stub.Upsert(pb.UpsertRequest(images=[image]), timeout=20).results[0].status
                self.note(status.reason or "OK")
                if status.code == 0:
                    with self.lock:
                        self.acknowledged.append(id)
                assert status.code != 13, status
            except grpc.RpcError as error:
                self.note(reason_of(error)[1] or error.code().name)
                self.stop.wait(0.05)

    def decode(self):
        stub = Load.stub(self.server)
        while not self.stop.is_set():
            try:
                reply = stub.Encode(pb.EncodeRequest(inputs=[pb.EncodeInput(image=self.big)] * 8), timeout=20)
                for result in reply.results:
                    self.note(result.status.reason or "OK")
            except grpc.RpcError as error:
                self.note(reason_of(error)[1] or error.code().name)
                self.stop.wait(0.05)

    @staticmethod
    def stub(server):
        from imagesearch.v1 import imagesearch_pb2_grpc
        return imagesearch_pb2_grpc.ImageSearchStub(server.connect())

    def run(self, seconds):
        for thread in self.threads:
            thread.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.server.process.poll() is None:
            time.sleep(0.1)
        self.stop.set()
        for thread in self.threads:
            thread.join()


def check_all_there(server, acknowledged):
    acknowledged = sorted(set(acknowledged))
    for i in range(0, len(acknowledged), 500):
        ids = acknowledged[i:i + 500]
        assert server.images.Count(pb.CountRequest(ids=ids), timeout=30).count == len(ids)


def big_picture():
    return pictures.encode(pictures.picture(3, (6000, 6000)), "PNG", compress_level=1)  # 108 MB of pixels


def test_memory_that_runs_out_by_ulimit_costs_nothing_acknowledged(daemon):
    server = daemon("--http", "127.0.0.1:0").start()
    warm = Load(server, big_picture())
    warm.run(3)
    assert warm.outcomes.get("OK", 0) > 10, warm.outcomes
    data = next(int(line.split()[1]) for line in pathlib.Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
                if line.startswith("VmData"))
    limit = (data << 10) + (96 << 20)
    resource.prlimit(server.process.pid, resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))
    load = Load(server, big_picture())
    load.run(60 if LONG else 8)
    died = server.process.poll()
    print(f"under a data limit of {limit >> 20} MiB: {load.outcomes}, {len(load.acknowledged)} acknowledged,"
          f" {'ended by ' + str(died) if died is not None else 'alive'}")
    assert "OUT_OF_MEMORY" in load.outcomes or died is not None, "void: memory never ran out"
    assert "INTERNAL" not in load.outcomes and "UNKNOWN" not in load.outcomes, load.outcomes
    if died is None:
        resource.prlimit(server.process.pid, resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    else:
        assert died == -signal.SIGABRT, died  # an allocation that a library can't do without: as a kill
        server.start()
    assert eventually(server.ready)
    check_all_there(server, warm.acknowledged + load.acknowledged)
    with server.connect():
        server.images.Encode(pb.EncodeRequest(inputs=[pb.EncodeInput(text="well again")]), timeout=30)


def memory_group(name):
    """A cgroup of its own with (folder, file of the limit); skips where none can be made."""
    for root, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        folder = pathlib.Path(root) / name
        try:
            folder.mkdir()
            if (folder / limit).exists():
                return folder, folder / limit
            folder.rmdir()
        except OSError:
            pass
    pytest.skip("no memory cgroup can be made here")


def test_an_oom_kill_by_cgroup_costs_nothing_acknowledged(daemon):
    folder, limit = memory_group(f"imagesearch-test-{os.getpid()}")
    server = daemon("--http", "127.0.0.1:0").start()
    try:
        acknowledged = []
        for kill in range(10 if LONG else 2):
            before = Load(server, big_picture())
            before.run(2)
            acknowledged += before.acknowledged
            (folder / "cgroup.procs").write_text(str(server.process.pid))
            limit.write_text(str(40 << 20))  # what it has already counts elsewhere
            load = Load(server, big_picture())
            load.run(40)
            died = server.process.poll()
            assert died == -signal.SIGKILL, f"void: not killed in 40 s, {died}, {load.outcomes}"
            assert "INTERNAL" not in load.outcomes, load.outcomes
            acknowledged += load.acknowledged
            server.start()
            check_all_there(server, acknowledged)
            assert acknowledged, "void: nothing was written"
            print(f"oom kill {kill + 1}: {load.outcomes}; {len(acknowledged)} acknowledged, all there")
    finally:
        server.close()
        eventually(lambda: not (folder / "cgroup.procs").read_text().strip())
        folder.rmdir()
