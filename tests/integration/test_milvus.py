"""imagesearchd over a real Milvus: replicas, migration, loss of Milvus under load, TLS and logins."""
import json
import os
import signal
import subprocess
import threading
import time

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from imagesearch.v1 import admin_pb2, imagesearch_pb2 as pb, imagesearch_pb2_grpc, types_pb2

import milvus_support
import pictures
from conftest import Daemon

COMMAND = os.environ.get("IMAGESEARCH", str(milvus_support.ROOT / "build/release/client/imagesearch"))


@pytest.fixture(scope="module")
def milvus(tmp_path_factory):
    server = milvus_support.Milvus(tmp_path_factory.mktemp("milvus")).start()
    yield server
    server.close()


@pytest.fixture
def replica(tmp_path, request):
    """Makes servers over a Milvus: replica(milvus, name, flags...), of one prefix within a test."""
    made = []

    def make(server, name, *flags, **start):
        folder = tmp_path / name
        folder.mkdir()
        prefix = "".join(c for c in request.node.name if c.isalnum())[:40]
        daemon = Daemon(folder, "--index", server.url, "--milvus-prefix", prefix, *flags)
        made.append(daemon)
        return daemon.start(**start)
    yield make
    for daemon in made:
        daemon.close()


def make_vectors(server, name):
    return server.admin.CreateCollection(admin_pb2.CreateCollectionRequest(
        collection=types_pb2.Collection(name=name, dimension=2)), timeout=60)


def image(name, x, **fields):
    made = pb.Image(id=name, vector=types_pb2.Vector(values=[x, 1]))
    made.metadata.update(fields)
    return made


def details(error):
    status = status_pb2.Status()
    for key, value in error.trailing_metadata():
        if key == "grpc-status-details-bin":
            status.ParseFromString(value)
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    for detail in status.details:
        detail.Unpack(info), detail.Unpack(retry)
    return info.reason, retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9


def answers(stub, version=0):
    """What a reader of `default` can see."""
    listed = stub.List(pb.ListRequest(min_version=version, page_size=1000), timeout=30)
    query = pb.Query(terms=[pb.Term(text="boxes of many colours"), pb.Term(id="p1", weight=0.5)])
    found = stub.Search(pb.SearchRequest(query=query, limit=20, with_metadata=True, min_version=version), timeout=30)
    odd = stub.Count(pb.CountRequest(filter='kind = "odd" AND n >= 3', min_version=version), timeout=30)
    return ([(i.id, dict(i.metadata), list(i.vector.values)) for i in listed.images],
            [(h.id, h.score, dict(h.metadata)) for h in found.hits], odd.count)


def close(one, other):
    """The same but for the last bits of numbers."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) < 1e-5
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(close, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
    return one == other


def test_two_replicas_behind_a_balancer_answer_the_same(milvus, replica, tmp_path):
    first, second = replica(milvus, "first"), replica(milvus, "second")
    one, other = (each.admin.GetServerInfo(admin_pb2.GetServerInfoRequest(), timeout=20) for each in (first, second))
    assert one.instance_id == other.instance_id and one.role == "stateless"
    balancer = milvus_support.Balancer(tmp_path, [first.port, second.port])
    try:
        with grpc.insecure_channel(f"127.0.0.1:{balancer.port}") as channel:
            stub = imagesearch_pb2_grpc.ImageSearchStub(channel)
            version = 0
            for i in range(12):
                made = pb.Image(id=f"p{i}", content=pictures.encode(pictures.picture(i)))
                made.metadata.update({"kind": "odd" if i % 2 else "even", "n": i})
                reply = stub.Upsert(pb.UpsertRequest(images=[made]), timeout=30)
                assert reply.results[0].status.code == 0 and reply.results[0].created
                assert reply.version > version
                version = reply.version
                # Wherever it goes, a read with this version sees the write.
                got = stub.Get(pb.GetRequest(ids=[f"p{i}"], min_version=version), timeout=30)
                assert got.images[0].id == f"p{i}"
            assert not stub.Upsert(pb.UpsertRequest(images=[made]), timeout=30).results[0].created
            deleted = stub.Delete(pb.DeleteRequest(ids=["p0"]), timeout=30)
            assert deleted.deleted == 1
            seen = answers(first.images, deleted.version)
            assert seen == answers(second.images, deleted.version)
            assert [name for name, _, _ in seen[0]] == sorted(f"p{i}" for i in range(1, 12))
            assert seen[2] == 5  # 3, 5, 7, 9, 11
            for _ in range(4):
                assert answers(stub, deleted.version) == seen
            # Each replica had calls.
            made = stub.Upsert(pb.UpsertRequest(images=[image("vector only", 1)]), timeout=30)
            assert made.results[0].status.reason == "DIM_MISMATCH"
    finally:
        balancer.close()
    # A collection made through one is there for the other, and gone with it.
    make_vectors(first, "vectors-2")
    second.images.Upsert(pb.UpsertRequest(collection="vectors-2", images=[image("a", 1)]), timeout=30)
    assert [c.name for c in second.admin.ListCollections(admin_pb2.ListCollectionsRequest(), timeout=30).collections] \
        == ["default", "vectors-2"]
    first.admin.DeleteCollection(admin_pb2.DeleteCollectionRequest(collection="vectors-2"), timeout=30)
    time.sleep(1.1)  # handles are fresh for a second
    with pytest.raises(grpc.RpcError) as error:
        second.images.Count(pb.CountRequest(collection="vectors-2"), timeout=30)
    assert details(error.value)[0] == "NO_SUCH_COLLECTION"


def run(server, *arguments):
    done = subprocess.run([COMMAND, "--server", f"127.0.0.1:{server.port}", *arguments], capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def lines(path):
    """The lines of an export, without what belongs to the place and not to the picture."""
    made = {}
    for line in path.read_text().splitlines():
        record = json.loads(line)
        record.pop("version", None), record.pop("content_hash", None)
        made[record["id"]] = record
    return made


def test_export_and_import_move_a_collection_there_and_back(milvus, replica, daemon, tmp_path):
    here = daemon().start()
    there = replica(milvus, "there")
    for i in range(30):
        made = pb.Image(id=f"p{i}", content=pictures.encode(pictures.picture(i)))
        made.metadata.update({"kind": "odd" if i % 2 else "even", "n": i, "tags": ["x", f"t{i}"],
                              "camera": {"f/1.8": True, "taken": "2024-05-01"}, 'q"': "line\nbreak \u00e9"})
        if i == 7:
            made.expire_time.FromSeconds(int(time.time()) + 86400)
        here.images.Upsert(pb.UpsertRequest(images=[made]), timeout=30)
    run(here, "export", str(tmp_path / "here.jsonl"))
    run(there, "import", str(tmp_path / "here.jsonl"))
    run(there, "export", str(tmp_path / "there.jsonl"))
    assert close(lines(tmp_path / "there.jsonl"), lines(tmp_path / "here.jsonl"))
    assert len(lines(tmp_path / "here.jsonl")) == 30
    assert close(answers(there.images), answers(here.images))
    # And back, into another collection of the first.
    here.admin.CreateCollection(admin_pb2.CreateCollectionRequest(collection=types_pb2.Collection(name="back")),
                                timeout=30)
    run(here, "import", str(tmp_path / "there.jsonl"), "--collection", "back")
    run(here, "export", str(tmp_path / "back.jsonl"), "--collection", "back")
    assert close(lines(tmp_path / "back.jsonl"), lines(tmp_path / "here.jsonl"))


def test_what_milvus_cant_do_is_refused_by_name(milvus, replica):
    server = replica(milvus, "server")
    make_vectors(server, "vectors")
    server.images.Upsert(pb.UpsertRequest(collection="vectors", images=[image("a", 1, title="x")]), timeout=30)
    query = pb.Query(terms=[pb.Term(vector=types_pb2.Vector(values=[1, 1]))])
    for refused in (
            lambda: server.images.Search(pb.SearchRequest(collection="vectors", query=query, exact=True), timeout=20),
            lambda: server.images.Count(pb.CountRequest(collection="vectors", filter='title = "*x"'), timeout=20),
            lambda: server.images.Count(pb.CountRequest(collection="vectors", filter="geo_within(p, 1, 2, 3)"),
                                        timeout=20)):
        with pytest.raises(grpc.RpcError) as error:
            refused()
        assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED, error.value
        assert details(error.value)[0] == "NOT_ON_MILVUS"


def test_milvus_killed_under_load_loses_no_acknowledged_write(tmp_path_factory, replica, milvus):
    server = replica(milvus, "server", "--probe-interval-ms", "500")
    make_vectors(server, "vectors")
    acked, refusals, slowest, stop = set(), [], [0.0], threading.Event()

    def write(worker):
        count = 0
        while not stop.is_set():
            name, start = f"w{worker}-{count}", time.monotonic()
            try:
                reply = server.images.Upsert(pb.UpsertRequest(collection="vectors", images=[image(name, count + 1)]),
                                             timeout=5)
                if reply.results[0].status.code == 0:
                    acked.add(name)
                    count += 1
            except grpc.RpcError as error:
                refusals.append((error.code(), *details(error)))
                time.sleep(0.2)
            slowest[0] = max(slowest[0], time.monotonic() - start)

    workers = [threading.Thread(target=write, args=(i,)) for i in range(2)]
    for worker in workers:
        worker.start()
    try:
        end = time.monotonic() + 60
        while len(acked) < 20 and time.monotonic() < end:
            time.sleep(0.1)
        assert len(acked) >= 20
        milvus.kill()
        before = len(acked)
        time.sleep(4)
        away = [r for r in refusals]
        assert len(acked) <= before + 2
        assert away and all(code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
                            for code, _, _ in away), away
        assert any(code == grpc.StatusCode.UNAVAILABLE and reason == "MILVUS_UNAVAILABLE" and retry > 0
                   for code, reason, retry in away), away
        end = time.monotonic() + 20
        while server.ready() and time.monotonic() < end:
            time.sleep(0.1)
        assert not server.ready()
        milvus.start()
        end = time.monotonic() + 240
        while len(acked) < before + 20 and time.monotonic() < end:
            time.sleep(0.2)
        assert len(acked) >= before + 20, f"no recovery: {refusals[-5:]}"
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    # No call outlived its deadline by more than this machine's slowness.
    assert slowest[0] < 8, slowest
    unexpected = [r for r in refusals if r[0] not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)]
    assert not unexpected, unexpected[:5]
    assert server.process.poll() is None
    stored, token = set(), ""
    while True:
        page = server.images.List(pb.ListRequest(collection="vectors", page_token=token, page_size=1000), timeout=30)
        stored |= {i.id for i in page.images}
        token = page.next_page_token
        if not token:
            break
    assert acked <= stored, acked - stored
    end = time.monotonic() + 30
    while not server.ready() and time.monotonic() < end:
        time.sleep(0.1)
    assert server.ready()


def test_a_milvus_that_hangs_holds_no_call_past_its_deadline(milvus, replica):
    server = replica(milvus, "server")
    make_vectors(server, "vectors")
    server.images.Upsert(pb.UpsertRequest(collection="vectors", images=[image("a", 1)]), timeout=30)
    milvus.signal(signal.SIGSTOP)
    try:
        for call in (lambda: server.images.Count(pb.CountRequest(collection="vectors"), timeout=1.5),
                     lambda: server.images.Upsert(pb.UpsertRequest(collection="vectors", images=[image("b", 1)]),
                                                  timeout=1.5)):
            start = time.monotonic()
            with pytest.raises(grpc.RpcError) as error:
                call()
            assert time.monotonic() - start < 4
            assert error.value.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)
    finally:
        milvus.signal(signal.SIGCONT)
    end = time.monotonic() + 90
    while True:
        try:
            assert server.images.Count(pb.CountRequest(collection="vectors"), timeout=5).count in (1, 2)
            break
        except grpc.RpcError:
            assert time.monotonic() < end
            time.sleep(0.5)


def log_holds(server, text, within):
    end = time.monotonic() + within
    while text not in server.log.read_text():
        assert time.monotonic() < end, server.log.read_text()
        time.sleep(0.1)


def test_tls_and_logins(tmp_path, replica, milvus):
    milvus.close()  # one at a time
    certificate, key = milvus_support.certificate(tmp_path, "milvus")
    other, _ = milvus_support.certificate(tmp_path, "other")
    folder = tmp_path / "secured"
    folder.mkdir()
    secured = milvus_support.Milvus(folder, "--authorization-enabled", "true", "--tls-mode", "1", "--server-pem-path",
                                    certificate, "--server-key-path", key, "--ca-pem-path", certificate).start()
    try:
        tls = ("--milvus-tls", "--milvus-ca", str(certificate))
        login = ("--milvus-user", "root", "--milvus-password", "Milvus")
        good = replica(secured, "good", *tls, *login)
        make_vectors(good, "vectors")
        good.images.Upsert(pb.UpsertRequest(collection="vectors", images=[image("a", 1)]), timeout=30)
        assert good.images.Count(pb.CountRequest(collection="vectors"), timeout=20).count == 1
        assert "Milvus\"" not in good.log.read_text() and "password" not in good.log.read_text()
        for name, flags in (("wrong", ("--milvus-user", "root", "--milvus-password", "wrong")), ("nobody", ())):
            folder = tmp_path / name
            folder.mkdir()
            denied = Daemon(folder, "--index", secured.url, *tls, *flags)
            denied.start(ready=False)
            assert denied.wait(60) == 1
            assert "can't start" in denied.log.read_text() and "auth" in denied.log.read_text().lower()
            denied.close()
        # Whoever can't trust or reach it waits, says why, and serves nothing.
        for name, flags in (("plain", login), ("untrusted", ("--milvus-tls", "--milvus-ca", str(other), *login))):
            waiting = replica(secured, name, *flags, ready=False)
            log_holds(waiting, "waiting for Milvus", 60)
            assert not waiting.ready()
            with pytest.raises(grpc.RpcError) as error:
                waiting.images.Count(pb.CountRequest(), timeout=10)
            assert details(error.value)[0] == "NOT_READY"
    finally:
        secured.close()
