"""Starting, refusing to start, health, draining with open streams, and configuration of the real program."""
import os
import pathlib
import shutil
import signal
import subprocess
import threading
import time

import grpc
from imagesearch.v1 import admin_pb2, imagesearch_pb2 as pb

import pictures

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("IMAGESEARCHD", ROOT / "build/release/server/imagesearchd")


def run(*flags, env=None, timeout=20):
    return subprocess.run([BINARY, *flags], capture_output=True, text=True, timeout=timeout, cwd="/",
                          env={**os.environ, **(env or {})})


def test_help_lists_the_fixed_flags_and_version_is_told():
    text = run("--help").stdout
    for flag in ("--data-dir", "--listen", "--http", "--model", "--precision", "--config", "--port-file"):
        assert flag in text
    assert run("--version").stdout.startswith("imagesearchd ")


def test_wrong_settings_exit_2_and_say_what_is_allowed():
    for flags, env, words in [
        (["--precision", "fp7"], {}, ["--precision", "auto"]), (["--listen", "nowhere"], {}, ["--listen", "HOST:PORT"]),
        (["--unknown"], {}, ["--unknown", "--help"]), (["--max-limit", "0"], {}, ["1 to"]),
        ([], {"IMAGESEARCH_MAX_LIMIT": "x"}, ["IMAGESEARCH_MAX_LIMIT"]), (["--config", "/none"], {}, ["/none"]),
    ]:
        done = run(*flags, env=env)
        assert done.returncode == 2, (flags, done)
        assert all(word in done.stderr for word in words), (flags, done.stderr)


def model_copy(folder):
    shipped = next((ROOT / "encoder/models").glob("*/config.json")).parent
    copy = folder / "model"
    shutil.copytree(shipped, copy)
    return copy


def test_a_model_that_is_missing_cut_or_damaged_stops_the_start_within_5_seconds(tmp_path):
    whole = model_copy(tmp_path)
    cases = [tmp_path / "nothing"]
    for name in ("cut", "flipped", "no weights", "no config"):
        cases.append(shutil.copytree(whole, tmp_path / name))
    weights = (whole / "model.safetensors").read_bytes()
    (tmp_path / "cut/model.safetensors").write_bytes(weights[: len(weights) // 2])
    flipped = bytearray(weights)
    for i in range(len(weights) // 2, len(weights) // 2 + 200000):
        flipped[i] ^= 0x7F
    (tmp_path / "flipped/model.safetensors").write_bytes(flipped)
    (tmp_path / "no weights/model.safetensors").unlink()
    (tmp_path / "no config/config.json").unlink()
    for model in cases:
        start = time.monotonic()
        done = run("--model", model, "--data-dir", tmp_path / "data", "--listen", "127.0.0.1:0", timeout=60)
        assert done.returncode == 1, (model, done.stderr)
        assert "model" in done.stderr and "can't start" in done.stderr, done.stderr
        assert time.monotonic() - start < 20  # 5 s on an idle machine; the tests share theirs


def test_two_servers_can_have_neither_one_port_nor_one_folder(daemon, tmp_path):
    server = daemon().start()
    port = run("--listen", f"127.0.0.1:{server.port}", "--data-dir", tmp_path / "other", timeout=60)
    assert port.returncode == 1 and "can't listen" in port.stderr
    folder = run("--listen", "127.0.0.1:0", "--data-dir", tmp_path / "data", timeout=60)
    assert folder.returncode == 1 and "data folder" in folder.stderr
    assert server.ready()


def test_the_default_collection_is_there_and_carries_the_model(shared):
    reply = shared.admin.GetCollection(admin_pb2.GetCollectionRequest(collection="default"), timeout=20)
    info = shared.admin.GetServerInfo(admin_pb2.GetServerInfoRequest(), timeout=20)
    assert reply.collection.model_id == info.model.id
    assert reply.collection.model_fingerprint == info.model.fingerprint
    assert info.version >= 1 and info.ready and info.model.image_size > 0


def test_health_names(shared):
    assert [shared.health(name) for name in ("live", "ready", "")] == [1, 1, 1]
    try:
        shared.health("nonsense")
        assert False
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND


def test_reflection_can_be_turned_off(daemon, shared):
    def reflects(server):
        call = server.channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        try:
            reply = b"".join(call(iter([b"\x3a\x00"]), timeout=20))  # list_services
            return b"imagesearch.v1.ImageSearch" in reply
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNIMPLEMENTED
            return False

    assert reflects(shared)
    assert not reflects(daemon("--no-reflection").start())


def test_sigterm_with_open_streams_drains_and_exits_0(daemon):
    server = daemon().start()
    ends, acked = [], []
    stop = threading.Event()

    def stream(worker):
        def messages():
            n = 0
            while not stop.is_set():
                n += 1
                yield pb.UpsertStreamRequest(sequence=n, image=pb.Image(
                    id=f"{worker}-{n}", content=pictures.encode(pictures.picture(n), "JPEG")))
        try:
            for ack in server.images.UpsertStream(messages()):
                if ack.status.code == 0:
                    acked.append(ack.id)
            ends.append(grpc.StatusCode.OK)
        except grpc.RpcError as error:
            ends.append(error.code())

    from grpc.health.v1 import health_pb2, health_pb2_grpc
    watch = health_pb2_grpc.HealthStub(server.channel).Watch(health_pb2.HealthCheckRequest(service="ready"))
    assert next(watch).status == 1
    workers = [threading.Thread(target=stream, args=(w,)) for w in range(3)]
    for worker in workers:
        worker.start()
    deadline = time.monotonic() + 60
    while len(acked) < 10 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(acked) >= 10
    start = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert next(watch).status == 2  # NOT_SERVING is pushed
    assert server.wait(30) == 0, server.log.read_text()
    assert time.monotonic() - start < 30
    stop.set()
    for worker in workers:
        worker.join(20)
    assert ends == [grpc.StatusCode.UNAVAILABLE] * 3
    server.channel.close()

    server.start()
    count = 0
    for i in range(0, len(acked), 500):
        count += server.images.Count(pb.CountRequest(ids=acked[i:i + 500]), timeout=20).count
    assert count == len(acked)


def test_sigterm_while_starting_exits_0(daemon):
    server = daemon()
    server.start(ready=False)  # the port is open, the model is not there yet
    assert server.stop(within=40) == 0


def test_a_second_signal_stops_at_once(daemon):
    server = daemon("--drain-notice-ms=60000").start()
    server.process.send_signal(signal.SIGTERM)
    server.process.send_signal(signal.SIGTERM)  # an echo, as timeout(1) sends one: not a second wish
    time.sleep(1.5)
    assert server.process.poll() is None
    assert server.health("ready") == 2 and server.health("live") == 1
    server.process.send_signal(signal.SIGTERM)
    assert server.wait(10) == 130


def test_settings_come_from_a_file_and_the_environment(tmp_path, daemon, monkeypatch):
    (tmp_path / "settings").write_text("max_limit: 5\nmax_id_bytes: 100\n")
    monkeypatch.setenv("IMAGESEARCH_MAX_LIMIT", "6")
    server = daemon("--config", str(tmp_path / "settings")).start()
    limits = server.admin.GetServerInfo(admin_pb2.GetServerInfoRequest(), timeout=20).limits
    assert (limits.max_limit, limits.max_id_bytes) == (6, 100)
