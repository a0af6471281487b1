"""What one port refuses the other refuses too, with the same code and reason: keys, scopes, rates, concurrency, lists of
collections and quotas, over gRPC and over HTTP."""
import base64
import json
import os
import pathlib
import subprocess
import threading
import time
import urllib.error
import urllib.request

import grpc
import pytest
from imagesearch.v1 import admin_pb2, imagesearch_pb2 as pb, types_pb2

import pictures
from test_bad_input import reason_of

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMAND = os.environ.get("IMAGESEARCH", ROOT / "build/release/client/imagesearch")
STATUS = {"UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403, "RESOURCE_EXHAUSTED": 429, "INVALID_ARGUMENT": 400}


class Ports:
    """A server with keys, and a Count or any other call over either port."""

    def __init__(self, folder, daemon):
        self.folder = folder
        self.keys = folder / "keys.json"
        self.keys.write_text('{"keys": []}')
        self.made = {
            name: self.make(name, *options) for name, options in {
                "admin": ["--scope", "admin"],
                "reader": [],
                "old": ["--days", "1"],
                "slow-grpc": ["--per-second", "2"], "slow-http": ["--per-second", "2"],
                "single": ["--scope", "write", "--concurrent", "1"],
                "art": ["--scope", "write", "--collections", "art"],
            }.items()}
        self.daemon = daemon("--http", "127.0.0.1:0", "--api-keys", str(self.keys), "--security-reload-s", "1").start()
        self.http_port = int((folder / "port").read_text().split()[1])

    def make(self, name, *options):
        return subprocess.run([COMMAND, "key", "--file", self.keys, "create", name, *options],
                              capture_output=True, text=True, check=True).stdout.strip()

    def key(self, name):
        return self.made.get(name, name)

    def grpc(self, method, request, key):
        service, name = method.split("/")
        stub = self.daemon.images if service == "ImageSearch" else self.daemon.admin
        metadata = (("authorization", f"Bearer {self.key(key)}"),) if key else ()
        try:
            return "OK", "", getattr(stub, name)(request, timeout=30, metadata=metadata)
        except grpc.RpcError as error:
            return error.code().name, reason_of(error)[1], None

    def http(self, path, body, key):
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {self.key(key)}"} if key else {})}
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}/v1/{path}", json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return "OK", "", json.loads(reply.read())
        except urllib.error.HTTPError as error:
            reply = json.loads(error.read())
            code = next(code.name for code in grpc.StatusCode if code.value[0] == reply["code"])
            assert STATUS[code] == error.code
            if code == "RESOURCE_EXHAUSTED":
                assert int(error.headers["Retry-After"]) >= 1
            return code, reply["details"][0]["reason"], reply

    def both(self, method, path, request, key):
        """The outcome of a call, which must be the same over both ports."""
        over_grpc = self.grpc(method, request, key)[:2]
        from google.protobuf import json_format
        over_http = self.http(path, json_format.MessageToDict(request), key)[:2]
        assert over_grpc == over_http, (method, key)
        return over_grpc


@pytest.fixture
def ports(tmp_path, daemon):
    return Ports(tmp_path, daemon)


def image(id, metadata=None):
    return pb.Image(id=id, content=pictures.encode(pictures.picture(len(id))), metadata=metadata)


def test_keys_scopes_and_lists_of_collections(ports):
    count = ("ImageSearch/Count", "count")
    assert ports.both(*count, pb.CountRequest(), "") == ("UNAUTHENTICATED", "NO_KEY")
    assert ports.both(*count, pb.CountRequest(), "nonsense") == ("UNAUTHENTICATED", "BAD_KEY")
    assert ports.both(*count, pb.CountRequest(), "reader") == ("OK", "")
    assert ports.both("ImageSearch/Upsert", "upsert", pb.UpsertRequest(images=[image("x")]), "reader") == (
        "PERMISSION_DENIED", "SCOPE")
    create = admin_pb2.CreateCollectionRequest(collection=types_pb2.Collection(name="art"))
    assert ports.both("Admin/CreateCollection", "create-collection", create, "single") == ("PERMISSION_DENIED", "SCOPE")
    assert ports.grpc("Admin/CreateCollection", create, "admin")[0] == "OK"
    for call in (("ImageSearch/Upsert", "upsert", pb.UpsertRequest(collection="art", images=[image("y")])),
                 ("ImageSearch/Count", "count", pb.CountRequest(collection="art"))):
        assert ports.both(*call, "art") == ("OK", "")
    for call in (("ImageSearch/Upsert", "upsert", pb.UpsertRequest(images=[image("y")])),
                 ("ImageSearch/Count", "count", pb.CountRequest())):
        assert ports.both(*call, "art")[0] == "PERMISSION_DENIED"
    # A key whose day has come, in the file and so on both ports.
    keys = json.loads(ports.keys.read_text())
    entry = next(entry for entry in keys["keys"] if entry["name"] == "old")
    assert ports.both(*count, pb.CountRequest(), "old") == ("OK", "")
    expiry = next(name for name in entry if "expire" in name)
    entry[expiry] = "2020-01-01T00:00:00Z" if isinstance(entry[expiry], str) else 1_577_836_800
    ports.keys.write_text(json.dumps(keys))
    deadline = time.monotonic() + 20
    while ports.grpc(*count[:1], pb.CountRequest(), "old")[0] == "OK":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert ports.both(*count, pb.CountRequest(), "old")[0] == "UNAUTHENTICATED"


def test_the_rate_of_a_key(ports):
    def outcomes(call):
        return [call() for _ in range(6)]

    for seen in (outcomes(lambda: ports.grpc("ImageSearch/Count", pb.CountRequest(), "slow-grpc")[:2]),
                 outcomes(lambda: ports.http("count", {}, "slow-http")[:2])):
        assert seen[0] == ("OK", "") and ("RESOURCE_EXHAUSTED", "KEY_RATE") in seen, seen
    # One bucket for both: what was taken over gRPC is missing over HTTP.
    time.sleep(1.2)
    seen = outcomes(lambda: ports.grpc("ImageSearch/Count", pb.CountRequest(), "slow-grpc")[:2])
    assert seen[-1] == ("RESOURCE_EXHAUSTED", "KEY_RATE")
    assert ports.http("count", {}, "slow-grpc")[:2] == ("RESOURCE_EXHAUSTED", "KEY_RATE")


def test_the_concurrency_of_a_key(ports):
    begun, done = threading.Event(), threading.Event()

    def messages():
        yield pb.UpsertStreamRequest(sequence=1, image=image("held"))
        done.wait(60)

    def hold():
        metadata = (("authorization", f"Bearer {ports.key('single')}"),)
        for _ in ports.daemon.images.UpsertStream(messages(), metadata=metadata, timeout=90):
            begun.set()

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert begun.wait(60)
        assert ports.both("ImageSearch/Count", "count", pb.CountRequest(), "single") == (
            "RESOURCE_EXHAUSTED", "KEY_CONCURRENCY")
        assert ports.both("ImageSearch/Count", "count", pb.CountRequest(), "reader") == ("OK", "")
    finally:
        done.set()
        holder.join()
    deadline = time.monotonic() + 20
    while ports.grpc("ImageSearch/Count", pb.CountRequest(), "single")[0] != "OK":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert ports.both("ImageSearch/Count", "count", pb.CountRequest(), "single") == ("OK", "")


def test_the_quota_of_a_collection(ports):
    create = admin_pb2.CreateCollectionRequest(
        collection=types_pb2.Collection(name="art", quota=types_pb2.Quota(max_images=1)))
    assert ports.grpc("Admin/CreateCollection", create, "admin")[0] == "OK"
    assert ports.grpc("ImageSearch/Upsert", pb.UpsertRequest(collection="art", images=[image("a")]), "admin")[0] == "OK"
    over_grpc = ports.grpc("ImageSearch/Upsert", pb.UpsertRequest(collection="art", images=[image("bb")]), "admin")[2]
    assert (over_grpc.results[0].status.code, over_grpc.results[0].status.reason) == (8, "QUOTA")
    content = base64.b64encode(pictures.encode(pictures.picture(2))).decode()
    over_http = ports.http("upsert", {"collection": "art", "images": [{"id": "bb", "content": content}]}, "admin")[2]
    assert (over_http["results"][0]["status"]["code"], over_http["results"][0]["status"]["reason"]) == (8, "QUOTA")
    # Replacing makes it no larger.
    for reply in (ports.grpc("ImageSearch/Upsert", pb.UpsertRequest(collection="art", images=[image("a")]), "admin")[2],):
        assert reply.results[0].status.code == 0
    assert ports.http("upsert", {"collection": "art", "images": [{"id": "a", "content": content}]},
                      "admin")[2]["results"][0]["status"]["code"] == 0
