"""kill -9 of the server and of an index job, with the real programs: whatever dies, the set is exactly right afterwards.

Environment: IMAGESEARCHD and IMAGESEARCH name the programs.
"""
import hashlib
import json
import os
import pathlib
import random
import signal
import struct
import subprocess
import tempfile
import time
import unittest
import zlib

PICTURES = 240


def png(seed):
    """A small picture of random colours."""
    rng = random.Random(seed)
    side = 32
    rows = b"".join(b"\0" + bytes(rng.randrange(256) for _ in range(3 * side)) for _ in range(side))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


class Server:
    def __init__(self, folder):
        self.folder, self.port, self.process = pathlib.Path(folder), 0, None

    def start(self):
        port_file = self.folder / "port"
        port_file.unlink(missing_ok=True)
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                [os.environ["IMAGESEARCHD"], "--data-dir", str(self.folder / "data"), "--listen", f"127.0.0.1:{self.port}",
                 "--port-file", str(port_file), "--encoder-threads", "1"], stdout=log, stderr=log)
        deadline = time.monotonic() + 90
        while not (port_file.exists() and port_file.read_text().strip()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("imagesearchd did not start:\n" + (self.folder / "server.log").read_text()[-3000:])
            time.sleep(0.05)
        self.port = int(port_file.read_text().split()[0])

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class KillTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        root = pathlib.Path(self.folder.name)
        self.pictures = root / "pictures"
        self.pictures.mkdir()
        self.ids = set()
        for i in range(PICTURES):
            content = png(i)
            (self.pictures / f"{i:04}.png").write_bytes(content)
            self.ids.add(hashlib.sha256(content).hexdigest())
        self.server = Server(root)
        self.server.start()
        self.addCleanup(self.server.kill)
        self.wait_until_ready()

    def command(self, *arguments):
        environment = dict(os.environ, IMAGESEARCH_SERVER=f"127.0.0.1:{self.server.port}", XDG_STATE_HOME=self.folder.name)
        return subprocess.Popen([os.environ["IMAGESEARCH"], *arguments, "--output", "json"], env=environment,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def json(self, *arguments):
        process = self.command(*arguments)
        out, _ = process.communicate(timeout=240)
        return process.returncode, json.loads(out) if out else None

    def wait_until_ready(self):
        deadline = time.monotonic() + 90
        while self.json("health")[0] != 0:
            self.assertLess(time.monotonic(), deadline, "the server does not become ready")
            time.sleep(0.1)

    def stored(self):
        _, listing = self.json("list")
        return {image["id"] for image in listing["images"]}

    def wait_for_some(self, count):
        deadline = time.monotonic() + 90
        while self.json("count")[1]["count"] < count:
            self.assertLess(time.monotonic(), deadline, "nothing gets stored")

    def check_exactly_right(self):
        self.assertEqual(self.stored(), self.ids)
        picture = self.pictures / "0007.png"
        _, answer = self.json("search", "--image", str(picture), "--limit", "1")
        self.assertEqual(answer["hits"][0]["id"], hashlib.sha256(picture.read_bytes()).hexdigest())

    def test_a_job_goes_on_when_the_server_is_killed_and_restarted(self):
        job = self.command("index", "--window", "8", str(self.pictures))
        self.wait_for_some(20)
        self.server.kill()
        self.assertIsNone(job.poll(), "the job was over before the kill: nothing has been tested")
        self.server.start()
        out, _ = job.communicate(timeout=240)
        summary = json.loads(out)
        self.assertEqual(job.returncode, 0, summary)
        self.assertEqual((summary["seen"], summary["sent"], summary["failed"]), (PICTURES, PICTURES, 0))
        self.check_exactly_right()

    def test_a_killed_job_run_again_finishes_what_is_left(self):
        job = self.command("index", "--window", "8", str(self.pictures))
        self.wait_for_some(20)
        job.send_signal(signal.SIGKILL)
        job.communicate()
        self.assertEqual(job.returncode, -signal.SIGKILL, "the job was over before the kill: nothing has been tested")
        code, summary = self.json("index", str(self.pictures))
        self.assertEqual(code, 0, summary)
        self.assertEqual(summary["sent"] + summary["skipped"]["unchanged"], PICTURES)
        self.assertGreater(summary["skipped"]["unchanged"], 0)
        self.check_exactly_right()


if __name__ == "__main__":
    unittest.main()
