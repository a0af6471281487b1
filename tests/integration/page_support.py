"""What the tests of the HTTP port and the page need: a running imagesearchd, drawn pictures, and a browser driven over
the W3C WebDriver protocol (Debian's chromium and chromium-driver; nothing from PyPI)."""
import base64
import io
import json
import math
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

from PIL import Image, ImageDraw

ROOT = pathlib.Path(__file__).resolve().parents[2]
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element in WebDriver's JSON
KEYS = {"enter": "\ue007", "escape": "\ue00c", "down": "\ue015", "right": "\ue014", "tab": "\ue004"}


class Server:
    """imagesearchd on free ports with its data in `folder`."""

    def __init__(self, folder, *flags):
        binary = os.environ.get("IMAGESEARCHD", str(ROOT / "build/release/server/imagesearchd"))
        ports = folder / "ports"
        self.log = open(folder / "log", "wb")
        self.process = subprocess.Popen(
            [binary, "--data-dir", folder / "data", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0",
             "--port-file", ports, "--encoder-threads", "1", *flags], stderr=self.log, stdout=self.log)
        deadline = time.monotonic() + 60
        while not ports.exists():
            assert self.process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, "imagesearchd did not write its port file"
            time.sleep(0.05)
        self.grpc_port, self.port = (int(line) for line in ports.read_text().split())
        self.url = f"http://127.0.0.1:{self.port}"
        while self.get("/readyz")[0] != 200:
            assert time.monotonic() < deadline, "imagesearchd did not get ready"
            time.sleep(0.1)

    def get(self, path):
        return self._send(urllib.request.Request(self.url + path))

    def call(self, method, request, headers=None):
        """(status, reply) of one call as JSON."""
        status, body = self._send(urllib.request.Request(
            f"{self.url}/v1/{method}", json.dumps(request).encode(),
            {"Content-Type": "application/json", **(headers or {})}))
        return status, json.loads(body)

    def form(self, method, parts):
        """The same as multipart/form-data; parts: [(name, bytes or str)]."""
        boundary = "page-test-boundary"
        body = b"".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{i}"\r\n\r\n'.encode()
            + (content if isinstance(content, bytes) else content.encode()) + b"\r\n"
            for i, (name, content) in enumerate(parts)) + f"--{boundary}--\r\n".encode()
        status, reply = self._send(urllib.request.Request(
            f"{self.url}/v1/{method}", body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}))
        return status, json.loads(reply)

    @staticmethod
    def _send(request):
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.log.close()
        return code


def draw(name, size=320):
    """PNG bytes of a simple picture: sun, heart, star, tree, house, fish."""
    image = Image.new("RGB", (size, size), "white")
    pen = ImageDraw.Draw(image)

    def at(*points):
        return [(x * size, y * size) for x, y in points]

    if name == "sun":
        for i in range(12):
            a = i * math.pi / 6
            pen.line(at((0.5 + 0.28 * math.cos(a), 0.5 + 0.28 * math.sin(a)),
                        (0.5 + 0.44 * math.cos(a), 0.5 + 0.44 * math.sin(a))), "orange", size // 25)
        pen.ellipse(at((0.26, 0.26), (0.74, 0.74)), "gold", "orange", size // 50)
    elif name == "heart":
        pen.ellipse(at((0.12, 0.15), (0.52, 0.55)), "#d22")
        pen.ellipse(at((0.48, 0.15), (0.88, 0.55)), "#d22")
        pen.polygon(at((0.15, 0.44), (0.85, 0.44), (0.5, 0.9)), "#d22")
    elif name == "star":
        pen.polygon(at(*[(0.5 + r * math.sin(i * math.pi / 5), 0.5 - r * math.cos(i * math.pi / 5))
                         for i in range(10) for r in [0.45 if i % 2 == 0 else 0.19]]), "gold", "orange")
    elif name == "tree":
        pen.rectangle(at((0.44, 0.6), (0.56, 0.95)), "saddlebrown")
        for x, y in ((0.35, 0.42), (0.65, 0.42), (0.5, 0.27), (0.5, 0.5)):
            pen.ellipse(at((x - 0.2, y - 0.2), (x + 0.2, y + 0.2)), "forestgreen")
    elif name == "house":
        pen.rectangle(at((0.2, 0.45), (0.8, 0.9)), "beige", "black", size // 60)
        pen.polygon(at((0.1, 0.47), (0.5, 0.1), (0.9, 0.47)), "firebrick", "black")
        pen.rectangle(at((0.44, 0.62), (0.58, 0.9)), "saddlebrown")
        pen.rectangle(at((0.26, 0.55), (0.38, 0.67)), "skyblue", "black")
    else:
        assert name == "fish", name
        pen.ellipse(at((0.1, 0.3), (0.75, 0.7)), "royalblue")
        pen.polygon(at((0.68, 0.5), (0.92, 0.28), (0.92, 0.72)), "royalblue")
        pen.ellipse(at((0.22, 0.42), (0.29, 0.49)), "white", "black")
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


class Browser:
    """A headless chromium."""

    def __init__(self, width=1280, height=900):
        if None in (shutil.which("chromium"), shutil.which("chromedriver")):
            raise RuntimeError("chromium or chromium-driver is missing: run deploy/install-deps.sh --tests")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.driver = subprocess.Popen([shutil.which("chromedriver"), f"--port={port}"],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.base = f"http://127.0.0.1:{port}"
        self.until(self._is_up, "chromedriver did not start")
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                     f"--window-size={width},{height}"]
        reply = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"binary": shutil.which("chromium"), "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"}}}})
        self.base += f"/session/{reply['sessionId']}"

    def _is_up(self):
        try:
            return self._ask("GET", "/status")["ready"]
        except (OSError, AssertionError):
            return False

    def _ask(self, method, path, body=None):
        request = urllib.request.Request(self.base + path, None if body is None else json.dumps(body).encode(),
                                         {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return json.loads(reply.read())["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from None

    def close(self):
        self._ask("DELETE", "")
        self.driver.terminate()
        self.driver.wait(20)

    def open(self, url):
        self._ask("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def run_async(self, script, *arguments):
        """The script ends by calling its last argument."""
        return self._ask("POST", "/execute/async", {"script": script, "args": list(arguments)})

    def find(self, selector):
        return self._ask("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def type(self, selector, text):
        """Where text may hold {enter}, {escape}, {down}, {right}, {tab}."""
        for name, key in KEYS.items():
            text = text.replace("{" + name + "}", key)
        self._ask("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def clear(self, selector):
        self._ask("POST", f"/element/{self.find(selector)}/clear", {})

    def click(self, selector):
        self._ask("POST", f"/element/{self.find(selector)}/click", {})

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector)

    def texts(self, selector):
        return self.run("return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)", selector)

    def visible(self, selector):
        return self.run("const e = document.querySelector(arguments[0]); return !!e && e.checkVisibility()", selector)

    def drop(self, selector, files):
        """Drops files [(name, type, bytes)] on an element, as a drag from the desktop does."""
        encoded = [(name, kind, base64.b64encode(data).decode()) for name, kind, data in files]
        self.run("""
            const transfer = new DataTransfer();
            for (const [name, type, data] of arguments[1]) {
              const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
              transfer.items.add(new File([bytes], name, {type}));
            }
            const target = document.querySelector(arguments[0]);
            for (const kind of ["dragenter", "dragover", "drop"]) {
              target.dispatchEvent(new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}));
            }""", selector, encoded)

    def dark(self, on):
        self._ask("POST", "/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": {"features": [
            {"name": "prefers-color-scheme", "value": "dark" if on else "light"}]}})

    def resize(self, width, height):
        self._ask("POST", "/window/rect", {"width": width, "height": height})

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self._ask("GET", "/screenshot")))

    def console(self):
        """Messages since the last call, without those of refused requests."""
        return [entry["message"] for entry in self._ask("POST", "/se/log", {"type": "browser"})
                if entry["source"] != "network"]

    @staticmethod
    def until(condition, what, seconds=15):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, what
            time.sleep(0.05)
