"""Clients that are many, slow, silent or killed. IMAGESEARCH_FAULT_SCALE=long runs the long form: 1,000 active and 5,000
idle connections, 500 half-open ones, 1,000 killed streams."""
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import grpc
from imagesearch.v1 import imagesearch_pb2 as pb, imagesearch_pb2_grpc

LONG = os.environ.get("IMAGESEARCH_FAULT_SCALE") == "long"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"  # and empty SETTINGS
VECTORS = "vectors"


def start(daemon, *flags):
    server = daemon("--http", "127.0.0.1:0", "--probe-interval-ms", "500", *flags).start()
    server.http_port = int((server.folder / "port").read_text().split()[1])
    from imagesearch.v1 import admin_pb2, types_pb2
    server.admin.CreateCollection(admin_pb2.CreateCollectionRequest(
        collection=types_pb2.Collection(name=VECTORS, dimension=8)), timeout=20)
    return server


def metrics(server):
    text = urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/metrics", timeout=20).read().decode()
    values = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            values[name] = float(value)
    return values


def eventually(condition, within=30):
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False


def raw(server, first=PREFACE):
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    if first:
        connection.sendall(first)
    return connection


def closed(connection, within):
    """Whether the server closes the connection in time, whatever it says before."""
    connection.settimeout(within)
    try:
        while connection.recv(4096):
            pass
        return True
    except socket.timeout:
        return False
    except ConnectionError:
        return True


def count(channel, timeout=10):
    return imagesearch_pb2_grpc.ImageSearchStub(channel).Count(pb.CountRequest(collection=VECTORS), timeout=timeout).count


def info(channel):
    from imagesearch.v1 import admin_pb2, admin_pb2_grpc
    return admin_pb2_grpc.AdminStub(channel).GetServerInfo(admin_pb2.GetServerInfoRequest(), timeout=10)


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def test_many_active_and_idle_connections(daemon):
    active, idle = (1000, 5000) if LONG else (60, 400)
    seconds = 600 if LONG else 5
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = start(daemon, "--max-client-share", "100", "--connection-idle-s", "0")
    before = metrics(server)
    sleepers = [raw(server) for _ in range(idle)]
    channels = [server.connect() for _ in range(active)]
    calls, failures = [0], []
    stop = time.monotonic() + seconds

    def work(mine):
        while time.monotonic() < stop:
            for channel in mine:
                try:
                    count(channel)
                    calls[0] += 1
                except grpc.RpcError as error:
                    failures.append(error.code())

    workers = [threading.Thread(target=work, args=(channels[i::8],)) for i in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    full = metrics(server)
    assert full["imagesearch_connections"] >= active + idle
    assert not failures and calls[0] >= active, (calls, failures[:5])
    assert server.health("live") == server.health("ready") == 1
    for channel in channels:
        channel.close()
    for sleeper in sleepers:
        sleeper.close()
    assert eventually(lambda: metrics(server)["imagesearch_connections"] <= 3)
    after = metrics(server)
    print(f"{active} active, {idle} idle: {calls[0]} calls, 0 failed; descriptors {before['process_open_fds']:.0f} ->"
          f" {full['process_open_fds']:.0f} -> {after['process_open_fds']:.0f}; resident MiB"
          f" {before['process_resident_memory_bytes'] / 2**20:.0f} -> {full['process_resident_memory_bytes'] / 2**20:.0f}"
          f" -> {after['process_resident_memory_bytes'] / 2**20:.0f}")
    assert after["process_open_fds"] <= before["process_open_fds"] + 12


def test_half_open_connections_are_evicted_and_disturb_nobody(daemon):
    half_open = 500 if LONG else 60
    server = start(daemon, "--max-client-share", "100", "--handshake-timeout-ms", "3000")
    channel = server.connect()
    count(channel)

    def measure():
        times = []
        for _ in range(200):
            begin = time.perf_counter()
            count(channel)
            times.append(time.perf_counter() - begin)
        return percentile(times, 0.99)

    alone = measure()
    silent = [raw(server, None) for _ in range(half_open)]
    half = [raw(server, PREFACE[:10]) for _ in range(half_open)]
    begin = time.monotonic()
    beside = measure()
    assert all(closed(connection, max(0.1, begin + 15 - time.monotonic())) for connection in silent + half)
    print(f"{2 * half_open} half-open, gone after {time.monotonic() - begin:.1f} s; p99 {alone * 1e3:.1f} ms alone,"
          f" {beside * 1e3:.1f} ms beside them")
    assert beside < 2  # the machine is shared: the figure, not the bound, is what docs/faults.md reports
    assert server.health("live") == 1


def test_slow_uploads_over_http_are_cut_off_and_leave_room_for_others(daemon):
    slow = 200 if LONG else 30
    server = start(daemon)
    head = b"POST /v1/count HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
    connections = []
    for _ in range(slow):
        connection = socket.create_connection(("127.0.0.1", server.http_port), timeout=20)
        connection.sendall(head)
        connections.append(connection)
    # gRPC has threads of its own, and a client's HTTP connections beyond its share are refused.
    for _ in range(5):
        for connection in connections:
            try:
                connection.sendall(b" ")
            except OSError:
                pass
        assert server.health("live") == 1
        count(server.channel)
        time.sleep(0.2)
    assert all(closed(connection, 45) for connection in connections)
    # A place is free again once its thread has noticed the end; until then the answer is 503 with Retry-After.
    for attempt in range(10):
        try:
            assert urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/healthz", timeout=20).status == 200
            break
        except urllib.error.HTTPError as error:
            assert error.code == 503 and error.headers["Retry-After"] and attempt < 9
            time.sleep(1)


def test_descriptors_run_out_and_come_back(daemon):
    # The server raises its soft limit to the hard one: both are set.
    server = daemon("--http", "127.0.0.1:0", "--probe-interval-ms", "300")
    real = subprocess.Popen

    def limited(*arguments, **options):
        return real(*arguments, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)), **options)

    subprocess.Popen = limited
    try:
        server.start()
    finally:
        subprocess.Popen = real
    server.http_port = int((server.folder / "port").read_text().split()[1])
    info(server.channel)
    crowd = [raw(server) for _ in range(400)]
    # Connections can't take what the store needs: most of the crowd was closed, and what was there goes on.
    assert sum(closed(connection, 0.2) for connection in crowd[200:]) == 200
    info(server.channel)
    assert server.health("live") == server.health("ready") == 1
    assert metrics(server)["process_open_fds"] < 256
    for connection in crowd:
        connection.close()
    assert eventually(lambda: metrics(server)["imagesearch_connections"] <= 3)
    with server.connect() as channel:
        info(channel)


CLIENT = """
import sys
sys.path.insert(0, sys.argv[3])
import grpc
from imagesearch.v1 import imagesearch_pb2 as pb, imagesearch_pb2_grpc
def messages():
    n = 0
    while True:
        n += 1
        yield pb.UpsertStreamRequest(sequence=n, collection="vectors", image=pb.Image(
            id=f"{sys.argv[2]}-{n}", vector={"values": [float(n % 97 + 1), 1, 2, 3, 4, 5, 6, 7]}))
stub = imagesearch_pb2_grpc.ImageSearchStub(grpc.insecure_channel("127.0.0.1:" + sys.argv[1]))
for ack in stub.UpsertStream(messages()):
    assert ack.status.code == 0, ack
    print(ack.id, flush=True)
"""


def test_clients_killed_in_mid_stream_leave_nothing_behind(daemon, pytestconfig):
    kills = 1000 if LONG else 8
    server = start(daemon)
    rng = random.Random(7)
    acknowledged = []
    before = None
    for i in range(kills):
        client = subprocess.Popen([sys.executable, "-c", CLIENT, str(server.port), str(i), pytestconfig.imagesearch_stubs],
                                  stdout=subprocess.PIPE, text=True)
        first = client.stdout.readline()
        assert first, "the client could not write"
        time.sleep(rng.random() * 0.3)
        client.send_signal(signal.SIGKILL)
        # A line that was cut in the middle is no acknowledgement that anyone saw.
        acknowledged += [line.strip() for line in [first, *client.stdout] if line.endswith("\n")]
        client.wait()
        if i == kills // 2:
            before = metrics(server)
    assert eventually(lambda: metrics(server)["imagesearch_streams"] == 0)
    after = metrics(server)
    assert after["imagesearch_calls_in_flight"] == after["imagesearch_bytes_in_flight"] == 0
    assert after["process_open_fds"] <= before["process_open_fds"] + 5
    assert len(acknowledged) >= kills
    for i in range(0, len(acknowledged), 500):
        ids = acknowledged[i:i + 500]
        found = server.images.Count(pb.CountRequest(collection=VECTORS, ids=ids), timeout=30).count
        assert found == len(ids)
    grown = (after["process_resident_memory_bytes"] - before["process_resident_memory_bytes"]) / 2**20
    print(f"{kills} clients killed in mid-stream: {len(acknowledged)} acknowledged, all stored; resident memory of the"
          f" second half {grown:+.0f} MiB")
    assert grown < 100
    assert server.health("live") == server.health("ready") == 1
