"""Readers in front of a writer that asks for keys and TLS: calls that are sent on carry their caller's own key over
TLS, and both servers check it."""
import json
import pathlib
import socket
import subprocess
import time

import grpc
import pytest
from imagesearch.v1 import imagesearch_pb2 as pb, imagesearch_pb2_grpc, types_pb2

import certificates
from conftest import Daemon
from test_security import BINARY, COMMAND, eventually

DIMENSION = 4


class Pair:
    """A writer that asks for keys, TLS and client certificates, and readers of its folder."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.authority = certificates.Authority(self.folder / "authority")
        self.pem = self.authority.issue("server")
        self.reader_pem = self.authority.issue("reader", common_name="reader")
        self.keys = self.folder / "keys.json"
        self.keys.write_text('{"keys": []}')
        self.key = {scope: self.make_key(scope) for scope in ("read", "write", "admin")}
        self.audit = self.folder / "audit.log"
        self.daemons = []
        self.writer = self.start("writer", *self.guarded(), "--tls-client-ca", self.authority.certificate,
                                 "--audit-log", self.audit)

    def guarded(self):
        return ["--api-keys", self.keys, "--tls-cert", self.pem[0], "--tls-key", self.pem[1]]

    def to_writer(self, authority=None, certificate=True):
        flags = ["--role", "reader", "--writer", f"localhost:{self.writer.port}",
                 "--writer-ca", (authority or self.authority).certificate]
        if certificate:
            flags += ["--writer-cert", self.reader_pem[0], "--writer-key", self.reader_pem[1]]
        return flags

    def start(self, name, *flags):
        home = self.folder / name
        home.mkdir()
        if name != "writer":
            (home / "data").symlink_to(self.folder / "writer/data")
        made = Daemon(home, "--encoder-threads", "1", "--http", "127.0.0.1:0", "--probe-interval-ms", "200",
                      *map(str, flags)).start(ready=False)
        self.daemons.append(made)
        made.http_port = int((home / "port").read_text().split()[1])
        assert eventually(lambda: "ready after_ms" in made.log.read_text(), 120), made.log.read_text()
        return made

    def make_key(self, scope):
        made = subprocess.run([COMMAND, "key", "--file", self.keys, "create", scope, "--scope", scope],
                              capture_output=True, text=True, check=True)
        return made.stdout.strip()

    def images(self, server, certificate=False):
        read = lambda path: pathlib.Path(path).read_bytes()
        secure = grpc.ssl_channel_credentials(read(self.authority.certificate),
                                              read(self.reader_pem[1]) if certificate else None,
                                              read(self.reader_pem[0]) if certificate else None)
        channel = grpc.secure_channel(f"localhost:{server.port}", secure, [("grpc.use_local_subchannel_pool", 1)])
        return imagesearch_pb2_grpc.ImageSearchStub(channel)

    def close(self):
        for daemon in self.daemons:
            daemon.close()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    made = Pair(tmp_path_factory.mktemp("access"))
    command = [COMMAND, "--server", f"localhost:{made.writer.port}", "--tls", "--tls-ca", made.authority.certificate,
               "--tls-cert", made.reader_pem[0], "--tls-key", made.reader_pem[1], "--token", made.key["admin"]]
    subprocess.run([*map(str, command), "collections", "create", "vectors", "--dimension", str(DIMENSION)], check=True)
    yield made
    made.close()


@pytest.fixture(scope="module")
def reader(pair):
    return pair.start("reader", *pair.guarded(), *pair.to_writer())


def image(name):
    return pb.Image(id=name, vector=types_pb2.Vector(values=[1, 2, 3, 4]))


def upsert(name):
    return pb.UpsertRequest(collection="vectors", images=[image(name)])


def key_of(secret):
    return (("authorization", f"Bearer {secret}"),) if secret else ()


def stream(images, name, secret):
    message = pb.UpsertStreamRequest(sequence=1, collection="vectors", image=image(name))
    return [ack.status.code for ack in images.UpsertStream(iter([message]), timeout=30, metadata=key_of(secret))]


def outcome(call):
    """OK, or code and reason."""
    try:
        call()
        return "OK"
    except grpc.RpcError as error:
        details = dict(error.trailing_metadata()).get("grpc-status-details-bin", b"")
        known = (b"NO_KEY", b"BAD_KEY", b"SCOPE", b"WRITER_AWAY")
        return " ".join([error.code().name, *(reason.decode() for reason in known if reason in details)])


def test_a_write_through_a_reader_is_its_callers_own(pair, reader):
    images = pair.images(reader)
    version = images.Upsert(upsert("mine"), timeout=30, metadata=key_of(pair.key["write"])).version
    count = pb.CountRequest(collection="vectors", ids=["mine"], min_version=version)
    assert images.Count(count, timeout=30, metadata=key_of(pair.key["read"])).count == 1
    assert stream(images, "streamed", pair.key["write"]) == [0]
    # The writer has seen the caller's key, not the reader's word for it.
    entries = [json.loads(line) for line in pair.audit.read_text().splitlines()]
    keys = json.loads(pair.keys.read_text())["keys"]
    writes = next(key["id"] for key in keys if key["name"] == "write")
    upserts = [entry for entry in entries if entry["method"] == "Upsert"]
    assert upserts and upserts[-1]["key"] == writes, entries


@pytest.mark.parametrize("who,answer", [(None, "UNAUTHENTICATED NO_KEY"), ("not.a-key", "UNAUTHENTICATED BAD_KEY"),
                                        ("read", "PERMISSION_DENIED SCOPE")])
def test_a_reader_refuses_who_may_not_write(pair, reader, who, answer):
    images, secret = pair.images(reader), pair.key.get(who, who)
    assert outcome(lambda: images.Upsert(upsert("no"), timeout=30, metadata=key_of(secret))) == answer
    assert outcome(lambda: stream(images, "no", secret)) == answer


def test_the_writer_checks_again(pair):
    """Behind a reader that asks for nothing."""
    open_reader = pair.start("open", *pair.to_writer())
    images = imagesearch_pb2_grpc.ImageSearchStub(open_reader.channel)
    for who, answer in [(None, "UNAUTHENTICATED NO_KEY"), ("read", "PERMISSION_DENIED SCOPE"), ("write", "OK")]:
        secret = pair.key.get(who)
        assert outcome(lambda: images.Upsert(upsert("open"), timeout=30, metadata=key_of(secret))) == answer
        assert outcome(lambda: stream(images, "open", secret)) == answer


@pytest.mark.parametrize("name", ["stranger", "nobody"])
def test_a_writer_that_proves_nothing_gets_no_write(pair, name):
    """A certificate of another authority; and a reader without the certificate that the writer asks for."""
    other = certificates.Authority(pair.folder / "other", "other") if name == "stranger" else None
    reader = pair.start(name, *pair.to_writer(other, certificate=name != "nobody"))
    images = imagesearch_pb2_grpc.ImageSearchStub(reader.channel)
    begin = time.monotonic()
    late = outcome(lambda: images.Upsert(upsert(name), timeout=2, metadata=key_of(pair.key["write"])))
    assert late.split()[0] in ("DEADLINE_EXCEEDED", "UNAVAILABLE") and time.monotonic() - begin < 20
    known = pair.images(pair.writer, certificate=True)
    count = pb.CountRequest(collection="vectors", ids=[name])
    assert known.Count(count, timeout=30, metadata=key_of(pair.key["read"])).count == 0


def test_headers_that_grpc_can_not_carry_do_not_end_the_reader(pair):
    """gRPC aborts the process for metadata that is not printable; over HTTP such headers do arrive."""
    reader = pair.start("headers", *pair.to_writer())
    trace = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    body = json.dumps({"collection": "vectors", "images": [{"id": "h", "vector": {"values": [1, 2, 3, 4]}}]}).encode()
    for header in (b"traceparent: " + trace + b"\xff", b"Authorization: Bearer \xff\x01", b"X-Request-Id: a\xffb"):
        with socket.create_connection(("127.0.0.1", reader.http_port), timeout=30) as client:
            client.sendall(b"POST /v1/upsert HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                           b"Content-Type: application/json\r\n" + header + b"\r\nContent-Length: " +
                           str(len(body)).encode() + b"\r\n\r\n" + body)
            reply = b"".join(iter(lambda: client.recv(4096), b""))
        assert reply.startswith(b"HTTP/1.1 401"), reply
        assert reader.process.poll() is None, reader.log.read_text()


@pytest.mark.parametrize("flags,word", [(["--writer-name", "x"], "--writer-tls"),
                                        (["--writer-cert", "x"], "--writer-key"), (["--writer-ca", "/none"], "/none")])
def test_settings_that_can_not_work_are_refused(tmp_path, flags, word):
    done = subprocess.run([BINARY, "--data-dir", tmp_path, "--listen", "127.0.0.1:0", "--role", "reader",
                           "--writer", "localhost:1", *flags], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and word in done.stderr
