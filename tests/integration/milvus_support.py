"""A real Milvus 2.3.5 as a child process, for tests of servers over it; from .deps/milvus (install-deps.sh --tests)."""
import contextlib
import ctypes
import fcntl
import os
import pathlib
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / ".deps/milvus/bin/milvus-server"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Milvus:
    """One at a time on a machine: the lock is the one of tests/index/milvus_server.cc."""

    def __init__(self, folder, *flags):
        self.folder, self.flags, self.process = pathlib.Path(folder), flags, None
        self.lock = open(os.path.join(os.environ.get("TMPDIR", "/tmp"), "imagesearch-milvus.lock"), "a")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        # What the wrapper leaves behind becomes a child of this process, which can wait for it.
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
        self.port = free_port()
        self.url = f"milvus://127.0.0.1:{self.port}"

    def start(self):
        assert PROGRAM.exists(), f"{PROGRAM} is missing: run deploy/install-deps.sh --tests"
        with open(self.folder / "milvus.log", "ab") as log:
            self.process = subprocess.Popen(
                [PROGRAM, "--data", self.folder / "milvus", "--proxy-port", str(self.port), "--extra-config",
                 "proxy.timeTickInterval=20", *self.flags], stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + 120
        while True:
            assert self.process.poll() is None, (self.folder / "milvus.log").read_text()
            assert time.monotonic() < end, "no port"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return self
            time.sleep(0.1)

    def signal(self, number):
        os.killpg(self.process.pid, number)

    def kill(self):
        """SIGKILL to all of it: nothing is flushed."""
        if self.process is None:
            return
        self.signal(signal.SIGKILL)
        self.process.wait()
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-self.process.pid, 0)
        self.process = None

    def close(self):
        self.kill()
        self.lock.close()


def certificate(folder, name):
    """A self-signed certificate for localhost and 127.0.0.1, and its key."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}-key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    return certificate, key


class Balancer:
    """HAProxy before gRPC ports, each call to the next server."""

    def __init__(self, folder, ports):
        self.port = free_port()
        servers = "\n".join(f"  server s{i} 127.0.0.1:{port} proto h2" for i, port in enumerate(ports))
        config = folder / "haproxy.cfg"
        config.write_text(f"""defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend calls
  bind 127.0.0.1:{self.port} proto h2
  default_backend replicas
backend replicas
  balance roundrobin
{servers}
""")
        self.process = subprocess.Popen(["haproxy", "-f", config], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while True:
            assert self.process.poll() is None and time.monotonic() < end, "HAProxy did not start"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)

    def close(self):
        self.process.kill()
        self.process.wait()
