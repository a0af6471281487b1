"""Fixtures of the integration tests: stubs made from proto/, a daemon to start, stop and kill, and its clients."""
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import grpc
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAX_MESSAGE = 64 << 20


def pytest_sessionstart(session):
    """Makes the stubs before any test module is imported, since those import them."""
    from grpc_tools import protoc

    import tempfile
    out = tempfile.mkdtemp(prefix="imagesearch-stubs-")
    session.config.imagesearch_stubs = out
    googleapis = ROOT / ".deps/googleapis"
    files = [str(p.relative_to(ROOT / "proto")) for p in sorted((ROOT / "proto").rglob("*.proto"))]
    include = str(pathlib.Path(protoc.__file__).parent / "_proto")
    base = ["protoc", f"-I{include}", f"--python_out={out}"]
    assert protoc.main(base + [f"-I{ROOT / 'proto'}", f"--grpc_python_out={out}", *files]) == 0
    assert protoc.main(base + [f"-I{googleapis}", "google/rpc/status.proto", "google/rpc/error_details.proto"]) == 0
    health = ROOT / "server/health/proto"
    assert protoc.main(base + [f"-I{health}", f"--grpc_python_out={out}", "grpc/health/v1/health.proto"]) == 0
    # The package name `grpc` and `google` belong to installed packages: the generated modules join them.
    import google
    google.__path__.append(out + "/google")
    grpc.__path__.append(out + "/grpc")
    sys.path.insert(0, out)


def pytest_sessionfinish(session):
    import shutil
    shutil.rmtree(getattr(session.config, "imagesearch_stubs", ""), ignore_errors=True)


class Daemon:
    """imagesearchd as a child process on a free port."""

    def __init__(self, folder, *flags):
        self.folder = pathlib.Path(folder)
        self.flags = flags
        self.process = self.channel = None
        self.log = self.folder / "log"

    def start(self, ready=True, within=120):
        port_file = self.folder / "port"
        port_file.unlink(missing_ok=True)
        binary = os.environ.get("IMAGESEARCHD", ROOT / "build/release/server/imagesearchd")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [binary, "--data-dir", self.folder / "data", "--listen", "127.0.0.1:0", "--port-file", port_file,
                 "--drain-notice-ms", "100", *self.flags], stdout=log, stderr=log, cwd="/")
        end = time.monotonic() + within
        while not port_file.exists():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, "no port: " + self.log.read_text()
            time.sleep(0.02)
        self.port = int(port_file.read_text().split()[0])
        self.channel = self.connect()
        while ready and not self.ready():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, "not ready: " + self.log.read_text()
            time.sleep(0.05)
        return self

    def connect(self):
        """A channel with a connection of its own."""
        return grpc.insecure_channel(f"127.0.0.1:{self.port}", options=[
            ("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", MAX_MESSAGE),
            ("grpc.max_receive_message_length", MAX_MESSAGE)])

    def health(self, service):
        from grpc.health.v1 import health_pb2, health_pb2_grpc
        return health_pb2_grpc.HealthStub(self.channel).Check(
            health_pb2.HealthCheckRequest(service=service), timeout=10).status

    def ready(self):
        try:
            return self.health("ready") == 1
        except grpc.RpcError:
            return False

    @property
    def images(self):
        from imagesearch.v1 import imagesearch_pb2_grpc
        return imagesearch_pb2_grpc.ImageSearchStub(self.channel)

    @property
    def admin(self):
        from imagesearch.v1 import admin_pb2_grpc
        return admin_pb2_grpc.AdminStub(self.channel)

    def stop(self, within=30):
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait(within)

    def kill(self):
        self.process.kill()
        return self.wait(30)

    def wait(self, within):
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def close(self):
        if self.channel:
            self.channel.close()
        if self.process and self.process.poll() is None:
            self.kill()

    def rss_mib(self, what="VmRSS"):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(what + ":"):
                return int(line.split()[1]) / 1024
        raise AssertionError(what)


@pytest.fixture
def daemon(tmp_path):
    """Makes daemons of this test: daemon(*flags) on one data folder."""
    with contextlib.ExitStack() as stack:
        def make(*flags):
            made = Daemon(tmp_path, *flags)
            stack.callback(made.close)
            return made
        yield make


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """One daemon for tests that need no fresh one; it must be alive and well at the end."""
    running = Daemon(tmp_path_factory.mktemp("daemon"), "--access-log", "--http", "127.0.0.1:0").start()
    yield running
    assert running.process.poll() is None, running.log.read_text()
    code = running.stop()
    log = running.log.read_text()
    running.close()
    assert code == 0, log
