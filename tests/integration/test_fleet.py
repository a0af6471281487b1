"""One writer and two readers on one data folder behind a real HAProxy (deploy/haproxy.cfg): rolling restarts and kills
under load, forwarded writes, read-your-writes, a slow replica.

FLEET_ROUNDS=50 makes as many rolling restarts (17 minutes on two cores); ctest makes one.
"""
import collections
import concurrent.futures
import importlib.util
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request

import grpc
import pytest
from imagesearch.v1 import admin_pb2, admin_pb2_grpc, imagesearch_pb2 as pb, imagesearch_pb2_grpc, types_pb2

import pictures
from conftest import ROOT, Daemon

ROUNDS = int(os.environ.get("FLEET_ROUNDS", "1"))
RATE = 50  # calls a second
DIMENSION = 16


def client_options():
    """The channel options of the Python client, with its retry policy."""
    path = ROOT / "client/python/imagesearch/_channel.py"
    spec = importlib.util.spec_from_file_location("client_channel", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.OPTIONS + [("grpc.use_local_subchannel_pool", 1)]


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Fleet:
    """The four processes."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.names = ["writer", "reader1", "reader2"]
        ports = free_ports(8)
        self.port = dict(zip(self.names, ports[:3]))
        self.http = dict(zip(self.names, ports[3:6]))
        self.proxy_port, self.proxy_http = ports[6:]
        self.replicas = {}
        (self.folder / "writer/data").mkdir(parents=True)
        for name in self.names:
            home = self.folder / name
            home.mkdir(exist_ok=True)
            if name != "writer":
                (home / "data").symlink_to(self.folder / "writer/data")
            flags = ["--listen", f"127.0.0.1:{self.port[name]}", "--http", f"127.0.0.1:{self.http[name]}",
                     "--drain-notice-ms", "1000", "--encoder-threads", "1", "--max-client-share", "100"]
            if name != "writer":
                flags += ["--role", "reader", "--writer", f"127.0.0.1:{self.port['writer']}"]
            self.replicas[name] = Daemon(home, *flags)
        self.proxy = None

    def start(self):
        for replica in self.replicas.values():
            replica.start(ready=False)
        for replica in self.replicas.values():
            self.await_ready(replica)
        environment = dict(os.environ, PORT=f"127.0.0.1:{self.proxy_port}", HTTP_PORT=f"127.0.0.1:{self.proxy_http}")
        for name in self.names:
            environment[name.upper()] = f"127.0.0.1:{self.port[name]}"
            environment[name.upper() + "_HTTP"] = f"127.0.0.1:{self.http[name]}"
        self.proxy_log = open(self.folder / "haproxy.log", "wb")
        self.proxy = subprocess.Popen(["haproxy", "-db", "-f", ROOT / "deploy/haproxy.cfg"], env=environment,
                                      stdout=self.proxy_log, stderr=self.proxy_log)
        self.await_proxy()
        admin = admin_pb2_grpc.AdminStub(self.replicas["writer"].channel)
        request = admin_pb2.CreateCollectionRequest()
        request.collection.name, request.collection.dimension = "vectors", DIMENSION
        admin.CreateCollection(request, timeout=30)
        return self

    def await_ready(self, replica, within=120):
        end = time.monotonic() + within
        while not replica.ready():
            assert replica.process.poll() is None, replica.log.read_text()
            assert time.monotonic() < end, replica.log.read_text()
            time.sleep(0.05)

    def await_proxy(self):
        end = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.proxy_http}/readyz", timeout=5).read()
                return
            except OSError:
                assert self.proxy.poll() is None and time.monotonic() < end, (self.folder / "haproxy.log").read_text()
                time.sleep(0.1)

    def restart(self, name):
        replica = self.replicas[name]
        assert replica.stop(60) == 0, replica.log.read_text()
        self.revive(name)

    def revive(self, name):
        replica = self.replicas[name]
        replica.channel.close()
        replica.start(ready=False)
        self.await_ready(replica)
        time.sleep(1)  # until the proxy has seen two good checks

    def connect(self, port=None):
        return grpc.insecure_channel(f"127.0.0.1:{port or self.proxy_port}", options=client_options())

    def searches(self, name):
        """How many searches this replica has answered."""
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.http[name]}/metrics", timeout=60).read().decode()
        return sum(float(line.split()[-1]) for line in text.splitlines()
                   if line.startswith("imagesearch_calls_total") and 'method="Search"' in line)

    def close(self):
        for replica in self.replicas.values():
            if replica.process and replica.process.poll() is None:
                replica.process.send_signal(signal.SIGCONT)
            replica.close()
        if self.proxy:
            self.proxy.kill()
            self.proxy.wait()
            self.proxy_log.close()


@pytest.fixture
def fleet(tmp_path):
    made = Fleet(tmp_path)
    try:
        yield made.start()
    finally:
        made.close()


def image(number):
    return pb.Image(id=f"v{number}", vector=pb_vector(number))


def pb_vector(number):
    rng = random.Random(number)
    return types_pb2.Vector(values=[rng.gauss(0, 1) for _ in range(DIMENSION)])


def vector_search(number, **more):
    request = pb.SearchRequest(collection="vectors", limit=3, **more)
    request.query.terms.add().vector.CopyFrom(pb_vector(number))
    return request


def text_search():
    request = pb.SearchRequest(limit=1)
    request.query.terms.add().text = "a boat at sea"
    return request


class Load:
    """RATE calls a second through the proxy, in an open loop: half searches by vector, the rest by text, writes, and
    reads of what was written."""

    def __init__(self, fleet):
        self.channel = fleet.connect()
        self.images = imagesearch_pb2_grpc.ImageSearchStub(self.channel)
        self.acked, self.failed, self.calls = {}, [], collections.Counter()
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.pool = concurrent.futures.ThreadPoolExecutor(64)
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.began = time.monotonic()
        self.thread.start()
        return self

    def __exit__(self, *unused):
        self.stop.set()
        self.thread.join()
        self.pool.shutdown()
        self.took = time.monotonic() - self.began
        self.channel.close()

    def run(self):
        number, due = 0, time.monotonic()
        while not self.stop.is_set():
            self.pool.submit(self.call, number)
            number += 1
            due += 1 / RATE
            time.sleep(max(0, due - time.monotonic()))

    def call(self, number):
        kind = ["vector", "write", "vector", "text", "read"][number % 5]
        try:
            if kind == "vector":
                self.images.Search(vector_search(number), timeout=60)
            elif kind == "text":
                self.images.Search(text_search(), timeout=60)
            elif kind == "write":
                reply = self.images.Upsert(pb.UpsertRequest(collection="vectors", images=[image(number)]), timeout=60)
                assert reply.results[0].status.code == 0, reply
                with self.lock:
                    self.acked[number] = reply.version
            else:
                with self.lock:
                    mine = next(reversed(self.acked.items()), None)
                if mine:
                    reply = self.images.Search(vector_search(mine[0], min_version=mine[1]), timeout=60)
                    assert reply.hits[0].id == f"v{mine[0]}", "an acknowledged write is not seen"
            with self.lock:
                self.calls[kind] += 1
        except grpc.RpcError as error:
            with self.lock:
                self.failed.append((round(time.monotonic() - self.began, 2), kind, error.code(), error.details()))
        except AssertionError as error:
            with self.lock:
                self.failed.append((kind, str(error)))


def await_calls(load, count):
    end = time.monotonic() + 120
    goal = sum(load.calls.values()) + count
    while sum(load.calls.values()) < goal:
        assert time.monotonic() < end, load.failed[:5]
        time.sleep(0.05)


def expect_everything_acknowledged(fleet, load):
    """On each replica by itself."""
    assert load.acked
    version = max(load.acked.values())
    ids = [f"v{number}" for number in load.acked]
    for name in fleet.names:
        images = imagesearch_pb2_grpc.ImageSearchStub(fleet.replicas[name].channel)
        found = sum(images.Count(pb.CountRequest(collection="vectors", ids=ids[i:i + 500], min_version=version),
                                 timeout=60).count for i in range(0, len(ids), 500))
        assert found == len(ids), name


def test_balancer_rolling_restarts_under_load_fail_no_call(fleet):
    with Load(fleet) as load:
        await_calls(load, 50)
        for _ in range(ROUNDS):
            for name in ("reader1", "writer", "reader2"):
                fleet.restart(name)
                await_calls(load, 50)
    assert load.failed == [], (fleet.folder / "haproxy.log").read_text()[-3000:]
    rate = sum(load.calls.values()) / load.took
    print(f"{ROUNDS} rolling restarts: {sum(load.calls.values())} calls, {rate:.1f} a second, {len(load.failed)} failed")
    assert rate > RATE / 2, "the load was not put on: this run says nothing"
    expect_everything_acknowledged(fleet, load)


def test_balancer_kills_cost_no_read_and_no_acknowledged_write(fleet):
    with Load(fleet) as load:
        await_calls(load, 50)
        fleet.replicas["reader1"].kill()
        await_calls(load, 100)
        fleet.revive("reader1")
        fleet.replicas["writer"].kill()
        reads = load.calls["vector"] + load.calls["text"]
        time.sleep(2)
        assert load.calls["vector"] + load.calls["text"] > reads, "reads stand still without the writer"
        fleet.revive("writer")
        writes = load.calls["write"]
        await_calls(load, 100)
        assert load.calls["write"] > writes, "writes did not resume"
    assert load.failed == [], (fleet.folder / "haproxy.log").read_text()[-3000:]
    expect_everything_acknowledged(fleet, load)


def test_balancer_avoids_a_slow_replica(fleet):
    slow = fleet.replicas["reader2"].process
    done = threading.Event()

    def slow_down():  # it runs a fifth of the time
        while not done.is_set():
            slow.send_signal(signal.SIGSTOP)
            time.sleep(0.4)
            slow.send_signal(signal.SIGCONT)
            time.sleep(0.1)

    before = {name: fleet.searches(name) for name in fleet.names}
    thread = threading.Thread(target=slow_down)
    thread.start()
    try:
        with Load(fleet) as load:
            await_calls(load, 400)
    finally:
        done.set()
        thread.join()
        slow.send_signal(signal.SIGCONT)
    served = {name: fleet.searches(name) - before[name] for name in fleet.names}
    print(served)
    assert load.failed == []
    assert served["reader2"] < min(served["writer"], served["reader1"]), served


def test_a_reader_sends_writes_on_and_reads_follow(fleet):
    reader1 = fleet.connect(fleet.port["reader1"])
    images1 = imagesearch_pb2_grpc.ImageSearchStub(reader1)
    images2 = imagesearch_pb2_grpc.ImageSearchStub(fleet.replicas["reader2"].channel)
    # The picture is encoded by the writer, found by its text in both readers.
    content = pictures.encode(pictures.picture(1), "JPEG")
    reply = images1.Upsert(pb.UpsertRequest(images=[pb.Image(id="a", content=content)]), timeout=60)
    for images in (images1, images2):
        request = text_search()
        request.min_version = reply.version
        assert [hit.id for hit in images.Search(request, timeout=60).hits] == ["a"]
    # Errors come back whole: code, reason, and the item's own.
    with pytest.raises(grpc.RpcError) as refused:
        images1.Upsert(pb.UpsertRequest(collection="none", images=[image(1)]), timeout=60)
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND
    assert any(key == "grpc-status-details-bin" and b"NO_SUCH_COLLECTION" in value
               for key, value in refused.value.trailing_metadata())
    # A stream.
    messages = [pb.UpsertStreamRequest(sequence=n, collection="vectors", image=image(n)) for n in range(1, 301)]
    acks = list(images1.UpsertStream(iter(messages), timeout=120))
    assert [ack.sequence for ack in acks] == list(range(1, 301))
    assert all(ack.status.code == 0 for ack in acks)
    count = images2.Count(pb.CountRequest(collection="vectors", min_version=acks[-1].version), timeout=60)
    assert count.count == 300
    deleted = images1.Delete(pb.DeleteRequest(collection="vectors", ids=["v7", "none"]), timeout=60)
    assert deleted.deleted == 1
    reader1.close()


def test_writes_wait_for_the_writer_until_their_deadline(fleet):
    images = imagesearch_pb2_grpc.ImageSearchStub(fleet.replicas["reader1"].channel)
    fleet.replicas["writer"].kill()
    # Past its deadline.
    begin = time.monotonic()
    with pytest.raises(grpc.RpcError) as late:
        images.Upsert(pb.UpsertRequest(collection="vectors", images=[image(1)]), timeout=1.5)
    assert late.value.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)
    assert 1 < time.monotonic() - begin < 30
    # Reads go on.
    assert images.Count(pb.CountRequest(collection="vectors"), timeout=30).count == 0
    waiting = images.Upsert.future(pb.UpsertRequest(collection="vectors", images=[image(2)]), timeout=120)
    stream = images.UpsertStream(iter([pb.UpsertStreamRequest(sequence=1, collection="vectors", image=image(3))]),
                                 timeout=120)
    time.sleep(1)
    assert not waiting.done()
    fleet.revive("writer")
    assert waiting.result(120).results[0].status.code == 0
    assert [ack.status.code for ack in stream] == [0]


def test_each_server_tells_its_role(fleet):
    writer = f"127.0.0.1:{fleet.port['writer']}"
    for name, role, of in [("writer", "writer", ""), ("reader1", "reader", writer)]:
        info = fleet.replicas[name].admin.GetServerInfo(admin_pb2.GetServerInfoRequest(), timeout=30)
        assert (info.role, info.writer) == (role, of)
    command = os.environ.get("IMAGESEARCH", ROOT / "build/release/client/imagesearch")
    told = subprocess.run([command, "--server", f"127.0.0.1:{fleet.port['reader1']}", "info"],
                          capture_output=True, text=True, timeout=60)
    assert f"reader of the writer at {writer}" in told.stdout, told.stdout + told.stderr


# A reader that had not caught up yet, or was started beside its writer, answered NOT_FOUND.
def test_a_fresh_collection_is_known_to_every_replica_at_once(fleet):
    for number in range(20):
        request = admin_pb2.CreateCollectionRequest()
        request.collection.name, request.collection.dimension = f"fresh{number}", DIMENSION
        fleet.replicas["reader1"].admin.CreateCollection(request, timeout=30)
        for name in fleet.names:
            count = fleet.replicas[name].images.Count(pb.CountRequest(collection=f"fresh{number}"), timeout=30)
            assert count.count == 0
    with pytest.raises(grpc.RpcError) as unknown:
        fleet.replicas["reader2"].images.Count(pb.CountRequest(collection="none"), timeout=30)
    assert unknown.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_reader_needs_its_writer_named(tmp_path):
    binary = os.environ.get("IMAGESEARCHD", ROOT / "build/release/server/imagesearchd")
    done = subprocess.run([binary, "--role", "reader", "--data-dir", tmp_path], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2 and "--writer" in done.stderr


def test_haproxy_is_installed():
    assert shutil.which("haproxy"), "deploy/install-deps.sh --tests installs it"
