"""TLS, client certificates, API keys and the audit log of the real program, over gRPC, HTTP and by the command."""
import json
import os
import pathlib
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request

import grpc
import pytest
from imagesearch.v1 import imagesearch_pb2 as pb, imagesearch_pb2_grpc

import certificates
import pictures

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("IMAGESEARCHD", ROOT / "build/release/server/imagesearchd")
COMMAND = os.environ.get("IMAGESEARCH", ROOT / "build/release/client/imagesearch")


class Secure:
    """A daemon with files of its own for certificate and keys."""

    def __init__(self, tmp_path, daemon, mtls=False, keys=False, flags=()):
        self.folder = tmp_path
        self.authority = certificates.Authority(tmp_path / "authority")
        self.certificate, self.key = tmp_path / "server.pem", tmp_path / "server.key"
        self.use(*self.authority.issue("first"))
        settings = ["--tls-cert", self.certificate, "--tls-key", self.key, "--security-reload-s", "1",
                    "--http", "127.0.0.1:0", "--probe-interval-ms", "200", *flags]
        if mtls:
            settings += ["--tls-client-ca", self.authority.certificate]
        if keys:
            self.key_file = tmp_path / "keys.json"
            self.key_file.write_text('{"keys": []}')
            settings += ["--api-keys", self.key_file]
        self.daemon = daemon(*map(str, settings)).start(ready=False)
        self.http_port = int((tmp_path / "port").read_text().split()[1])
        deadline = time.monotonic() + 120
        while self.http("/readyz")[0] != 200:
            assert self.daemon.process.poll() is None and time.monotonic() < deadline, self.daemon.log.read_text()
            time.sleep(0.1)

    def use(self, certificate, key):
        certificates.put(key, self.key)
        certificates.put(certificate, self.certificate)

    def channel(self, client=None, authority=None):
        def read(path):
            return pathlib.Path(path).read_bytes() if path else None
        certificate, key = client or (None, None)
        secure = grpc.ssl_channel_credentials(read(authority or self.authority.certificate), read(key), read(certificate))
        return grpc.secure_channel(f"localhost:{self.daemon.port}", secure, [("grpc.use_local_subchannel_pool", 1)])

    def count(self, key=None, **options):
        """The outcome of a Count over a new connection."""
        with self.channel(**options) as channel:
            metadata = (("authorization", f"Bearer {key}"),) if key else ()
            try:
                imagesearch_pb2_grpc.ImageSearchStub(channel).Count(pb.CountRequest(), timeout=10, metadata=metadata)
                return "OK"
            except grpc.RpcError as error:
                return error.code().name

    def http(self, path, body=None, key=None, client=None):
        context = ssl.create_default_context(cafile=self.authority.certificate)
        if client:
            context.load_cert_chain(*client)
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
        request = urllib.request.Request(f"https://localhost:{self.http_port}{path}", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=20, context=context) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name, **options):
        text = self.http("/metrics", **options)[1]
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(name + " "))

    def served_certificate(self, port):
        return ssl.get_server_certificate(("127.0.0.1", port))

    def command(self, *arguments):
        return subprocess.run([COMMAND, "--server", f"localhost:{self.daemon.port}", *map(str, arguments)],
                              capture_output=True, text=True, timeout=60)

    def make_key(self, name, *options):
        made = subprocess.run([COMMAND, "key", "--file", self.key_file, "create", name, *options],
                              capture_output=True, text=True, check=True)
        return made.stdout.strip()


def eventually(condition, within=20):
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False


def same(pem, path):
    return "".join(pem.split()) == "".join(pathlib.Path(path).read_text().split())


def test_tls_on_both_ports_and_rotation_without_a_failed_call(tmp_path, daemon):
    server = Secure(tmp_path, daemon)
    assert server.count() == "OK"
    assert server.http("/v1/count", b"{}")[0] == 200
    # Strangers' authority, and plaintext.
    assert server.count(authority=certificates.Authority(tmp_path / "stranger").certificate) == "UNAVAILABLE"
    with grpc.insecure_channel(f"127.0.0.1:{server.daemon.port}") as plain:
        with pytest.raises(grpc.RpcError):
            imagesearch_pb2_grpc.ImageSearchStub(plain).Count(pb.CountRequest(), timeout=10)

    outcomes, stop = [], threading.Event()

    def load():
        while not stop.is_set():
            outcomes.append(server.count())

    worker = threading.Thread(target=load)
    worker.start()
    expiry = server.metric("imagesearch_tls_not_after_seconds")
    assert abs(expiry - time.time() - 10 * 86400) < 86400
    for turn in range(3):
        pair = server.authority.issue(f"turn{turn}", days=20 + turn)
        server.use(*pair)
        for port in (server.daemon.port, server.http_port):
            assert eventually(lambda: same(server.served_certificate(port), pair[0])), port
    assert server.metric("imagesearch_tls_not_after_seconds") > expiry + 9 * 86400
    assert server.metric("imagesearch_tls_swaps_total") >= 3
    stop.set()
    worker.join()
    assert len(outcomes) > 10 and set(outcomes) == {"OK"}

    # A bad pair, in each way: refused, told by the metric, and the old one goes on.
    good = server.certificate.read_bytes(), server.key.read_bytes()
    other = server.authority.issue("other")
    expired = server.authority.issue("expired", days=-1)
    bad = {
        "key of another": (other[0].read_bytes(), good[1]),
        "no PEM": (b"nonsense", good[1]),
        "cut": (good[0][:len(good[0]) // 2], good[1]),
        "no key": (good[0], b""),
        "expired": (expired[0].read_bytes(), expired[1].read_bytes()),
    }
    for what, (certificate, key) in bad.items():
        server.certificate.write_bytes(certificate)
        server.key.write_bytes(key)
        assert eventually(lambda: server.metric("imagesearch_tls_refused") == 1), what
        assert server.count() == "OK", what
        assert server.http("/healthz")[0] == 200
    server.certificate.unlink()
    assert server.count() == "OK"
    server.certificate.write_bytes(good[0])
    server.key.write_bytes(good[1])
    assert eventually(lambda: server.metric("imagesearch_tls_refused") == 0)
    log = server.daemon.log.read_text()
    assert "certificate refused" in log and "PRIVATE KEY" not in log
    assert "not live" not in log  # the self-probe speaks TLS
    assert log.count("grpc message") < 20, log


def test_a_bad_pair_stops_the_start(tmp_path):
    authority = certificates.Authority(tmp_path)
    pair, other = authority.issue("a"), authority.issue("b")
    for flags, word in [((pair[0], other[1]), "does not belong"), ((tmp_path / "none", pair[1]), "can't read"),
                        ((pair[1], pair[1]), "not a list of PEM certificates")]:
        done = subprocess.run([BINARY, "--data-dir", tmp_path / "data", "--listen", "127.0.0.1:0",
                               "--tls-cert", flags[0], "--tls-key", flags[1]], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and word in done.stderr, done.stderr


def test_mtls_lets_only_its_clients_in_but_answers_health(tmp_path, daemon):
    server = Secure(tmp_path, daemon, mtls=True, flags=["--audit-log", str(tmp_path / "audit")])
    client = server.authority.issue("client", common_name="importer")
    stranger = certificates.Authority(tmp_path / "stranger").issue("client")
    assert server.count(client=client) == "OK"
    assert server.count() == "UNAVAILABLE"
    assert server.count(client=stranger) == "UNAVAILABLE"
    assert server.http("/healthz")[0] == server.http("/readyz")[0] == 200
    for path, body in (("/v1/count", b"{}"), ("/metrics", None), ("/", None)):
        assert server.http(path, body)[0] == 401, path
        assert server.http(path, body, client=client)[0] == 200, path
    with pytest.raises((urllib.error.URLError, ssl.SSLError, ConnectionError)):
        server.http("/v1/count", b"{}", client=stranger)
    with server.channel(client=client) as channel:
        imagesearch_pb2_grpc.ImageSearchStub(channel).Upsert(pb.UpsertRequest(images=[
            pb.Image(id="x", content=pictures.encode(pictures.picture(1)))]), timeout=20)
    assert json.loads((tmp_path / "audit").read_text().splitlines()[0])["certificate"] == "importer"
    tls = ["--tls", "--tls-ca", server.authority.certificate]
    done = server.command(*tls, "--tls-cert", client[0], "--tls-key", client[1], "count")
    assert done.returncode == 0 and "1" in done.stdout, done.stderr
    assert server.command(*tls, "--timeout", "5", "count").returncode == 3


def test_keys_on_both_ports_without_a_secret_in_any_log(tmp_path, daemon):
    audit = tmp_path / "audit"
    server = Secure(tmp_path, daemon, keys=True, flags=["--audit-log", str(audit), "--access-log",
                                                        "--log-level", "debug", "--slow-call-ms", "1"])
    reader = server.make_key("reader")
    writer = server.make_key("writer", "--scope", "write")
    artist = server.make_key("artist", "--scope", "admin", "--collections", "art")
    assert eventually(lambda: server.count(artist) == "PERMISSION_DENIED")  # the file was read again
    assert server.count() == "UNAUTHENTICATED" and server.count(reader) == "OK"
    assert server.http("/healthz")[0] == 200
    assert server.http("/v1/count", b"{}")[0] == 401
    assert server.http("/v1/count", b"{}", key=reader)[0] == 200
    assert server.http("/v1/count", b"{}", key=artist)[0] == 403
    assert server.http("/metrics")[0] == 401 and server.http("/metrics", key=reader)[0] == 200
    assert server.http("/metrics", key=artist)[0] == 403
    assert server.http("/picture?id=x")[0] == 401
    assert server.http("/")[0] == 200  # the page itself asks for a key

    tls = ["--tls", "--tls-ca", server.authority.certificate]
    done = server.command(*tls, "count")
    assert done.returncode == 4 and "NO_KEY" in done.stderr, done.stderr
    assert server.command(*tls, "--token", reader, "count").returncode == 0
    picture = tmp_path / "one.png"
    picture.write_bytes(pictures.encode(pictures.picture(3)))
    assert "SCOPE" in server.command(*tls, "--token", reader, "index", picture).stderr
    assert server.command(*tls, "--token", writer, "index", picture).returncode == 0
    assert server.command(*tls, "--token", reader, "count").stdout.strip() == "1"

    listed = subprocess.run([COMMAND, "key", "--file", server.key_file, "list"], capture_output=True, text=True)
    assert "artist" in listed.stdout and "art" in listed.stdout
    subprocess.run([COMMAND, "key", "--file", server.key_file, "revoke", reader.split("_")[1]], check=True)
    assert eventually(lambda: server.count(reader) == "UNAUTHENTICATED")

    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert any(line["method"] == "UpsertStream" and line["key_name"] == "writer" and line["items"] == 1 for line in lines)
    assert any(line["code"] == "UNAUTHENTICATED" for line in lines)
    assert server.daemon.stop() == 0
    everything = server.daemon.log.read_text() + audit.read_text() + server.key_file.read_text()
    for secret in (reader, writer, artist):
        assert secret not in everything and secret.split("_", 2)[2] not in everything
    assert "PRIVATE KEY" not in everything
    assert "KEYS OVER PLAINTEXT" not in everything


def test_open_ports_without_keys_are_warned_of(tmp_path, daemon):
    server = daemon("--listen", "0.0.0.0:0").start()
    assert "PLAINTEXT WITHOUT KEYS" in server.log.read_text()
    assert server.ready()


def test_metrics_can_be_left_open(tmp_path, daemon):
    server = Secure(tmp_path, daemon, keys=True, flags=["--open-metrics"])
    assert server.http("/metrics")[0] == 200
    assert server.http("/v1/count", b"{}")[0] == 401
