"""The HTTP interface on the real server: JSON and forms give the same answers, errors have their shape, and what is
written is found."""
import base64
import json

import io
import urllib.error
import urllib.parse
import urllib.request

import pytest
from page_support import Server, draw
from PIL import Image


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("server"))
    yield running
    assert running.stop() == 0


def encoded(name):
    return base64.b64encode(draw(name)).decode()


def test_json_and_forms_are_two_ways_to_say_the_same(server):
    status, reply = server.call("upsert", {"images": [
        {"id": "fish", "content": encoded("fish"), "metadata": {"legs": 0, "tags": ["sea"]}}]})
    assert status == 200 and reply["results"][0]["created"] is True
    status, reply = server.form("upsert", [("images[0].id", "tree"), ("image", draw("tree")),
                                           ("images[0].metadata", '{"legs": 0}')])
    assert status == 200 and reply["results"][0]["id"] == "tree"
    as_json = server.call("search", {"query": {"terms": [{"image": encoded("fish")}]}, "withMetadata": True})
    as_form = server.form("search", [("image", draw("fish")), ("with_metadata", "true")])
    assert as_json == as_form and as_json[0] == 200
    hits = as_json[1]["hits"]
    assert [hit["id"] for hit in hits] == ["fish", "tree"]
    assert hits[0]["score"] > 0.999 and hits[0]["metadata"] == {"legs": 0, "tags": ["sea"]}
    assert server.form("count", [("filter", 'tags:"sea"')])[1]["count"] == "1"


def test_vectors_and_unary_calls(server):
    server.call("upsert", {"images": [{"id": "fish", "content": encoded("fish")}]})
    _, reply = server.call("encode", {"inputs": [{"text": "a fish"}, {"image": encoded("fish")}]})
    text, picture = (result["vector"]["values"] for result in reply["results"])
    assert len(text) == len(picture) == reply["model"]["dimension"]
    _, reply = server.call("search", {"query": {"terms": [{"vector": {"values": picture}}]}, "limit": 1})
    assert reply["hits"][0]["id"] == "fish"
    _, reply = server.call("search-batch", {"requests": [
        {"query": {"terms": [{"id": "fish"}]}, "limit": 1}, {"query": {"terms": [{"id": "nobody"}]}}]})
    assert reply["results"][0]["response"]["hits"][0]["id"] == "fish"
    assert reply["results"][1]["status"]["code"] == 5
    _, reply = server.call("get", {"ids": ["fish", "nobody"], "withoutVector": True})
    assert [image["id"] for image in reply["images"]] == ["fish"] and reply["results"][1]["code"] == 5
    assert server.call("create-collection", {"collection": {"name": "spare", "dimension": 3}})[0] == 200
    _, reply = server.call("list-collections", {})
    assert [one["name"] for one in reply["collections"]] == ["default", "spare"]
    assert server.call("delete-collection", {"collection": "spare"})[0] == 200
    _, reply = server.call("delete", {"ids": ["fish"]})
    assert reply["deleted"] == "1"


@pytest.mark.parametrize("method, request_, status, reason", [
    ("search", {"query": {"terms": []}}, 400, None),
    ("search", {"query": {"terms": [{"text": "a"}]}, "filter": "a ="}, 400, "BAD_FILTER"),
    ("search", {"query": {"terms": [{"text": "a"}]}, "collection": "nosuch"}, 404, "NO_SUCH_COLLECTION"),
    ("search", {"query": {"terms": [{"image": base64.b64encode(b"GIF89a").decode()}]}}, 400, None),
    ("search", {"query": {"terms": [{"text": "a"}]}, "limit": 100000}, 400, None),
    ("create-collection", {"collection": {"name": "default", "dimension": 3}}, 409, None),
])
def test_errors_have_code_message_and_details(server, method, request_, status, reason):
    got, body = server.call(method, request_)
    assert got == status, body
    assert set(body) == {"code", "message", "details"} and body["message"]
    info = next(d for d in body["details"] if d["@type"].endswith("ErrorInfo"))
    assert info["domain"] == "imagesearch" and info["reason"]
    assert reason is None or info["reason"] == reason


def test_operator_paths(server):
    assert server.get("/healthz") == (200, b"ok\n")
    assert server.get("/readyz") == (200, b"ok\n")
    assert b"imagesearch_" in server.get("/metrics")[1]
    document = json.loads(server.get("/openapi.json")[1])
    assert "/v1/search" in document["paths"] and document["info"]["version"]


def fetch(server, path, headers=None):
    """(status, headers, body)."""
    try:
        with urllib.request.urlopen(urllib.request.Request(server.url + path, headers=headers or {}), timeout=30) as reply:
            return reply.status, reply.headers, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def reason(body):
    return next(d["reason"] for d in json.loads(body)["details"] if "reason" in d)


@pytest.fixture(scope="module")
def kept(server):
    """A collection that keeps originals, with ids that are awkward in a path."""
    assert server.call("create-collection", {"collection": {"name": "kept", "keepOriginals": True}})[0] == 200
    gif = io.BytesIO()
    Image.open(io.BytesIO(draw("heart"))).save(gif, "GIF")
    pictures = {"album/fish 1.png": draw("fish"), "heart?&#%": gif.getvalue(), "x/original": draw("tree", 64)}
    for name, content in pictures.items():
        status, reply = server.call("upsert", {"collection": "kept", "images": [
            {"id": name, "content": base64.b64encode(content).decode(), "sourceUri": "file:///" + name}]})
        assert status == 200 and reply["results"][0]["created"]
    server.call("upsert", {"images": [{"id": "sun", "content": encoded("sun")}]})
    yield pictures
    server.call("delete-collection", {"collection": "kept"})


def path_of(name, what, collection="kept"):
    return f"/v1/collections/{collection}/images/{urllib.parse.quote(name, safe='')}/{what}"


def test_originals_come_back_with_their_type_and_are_cached(server, kept):
    for name, content in kept.items():
        status, headers, body = fetch(server, path_of(name, "original"))
        assert status == 200 and body == content
        assert headers["Content-Type"] == ("image/gif" if content[:3] == b"GIF" else "image/png")
        assert headers["X-Content-Type-Options"] == "nosniff" and "no-cache" in headers["Cache-Control"]
        again = fetch(server, path_of(name, "original"), {"If-None-Match": headers["ETag"]})
        assert again[0] == 304 and again[2] == b""
    _, reply = server.call("get-collection", {"collection": "kept"})
    assert reply["collection"]["originalBytes"] == str(sum(map(len, kept.values())))
    _, reply = server.call("get", {"collection": "kept", "ids": ["x/original"], "withOriginal": True})
    assert base64.b64decode(reply["images"][0]["original"]) == kept["x/original"]
    assert reply["images"][0]["sourceUri"] == "file:///x/original"


def test_thumbnails_are_small_jpegs_of_the_whole_picture(server, kept):
    status, headers, body = fetch(server, path_of("album/fish 1.png", "thumbnail"))
    assert status == 200 and headers["Content-Type"] == "image/jpeg"
    assert Image.open(io.BytesIO(body)).size == (256, 256)
    status, other, body = fetch(server, path_of("album/fish 1.png", "thumbnail") + "?size=100")
    assert Image.open(io.BytesIO(body)).size == (100, 100) and other["ETag"] != headers["ETag"]
    assert fetch(server, path_of("album/fish 1.png", "thumbnail"), {"If-None-Match": headers["ETag"]})[0] == 304
    # Never larger than the picture.
    assert Image.open(io.BytesIO(fetch(server, path_of("x/original", "thumbnail"))[2])).size == (64, 64)
    for size in ("0", "31", "1025", "big", "-5"):
        status, _, body = fetch(server, path_of("x/original", "thumbnail") + "?size=" + size)
        assert (status, reason(body)) == (400, "BAD_SIZE")


def test_a_replaced_or_deleted_image_takes_its_original_along(server, kept):
    image = {"id": "changing", "content": encoded("star")}
    server.call("upsert", {"collection": "kept", "images": [image]})
    old = fetch(server, path_of("changing", "thumbnail"))
    image["content"] = encoded("house")
    server.call("upsert", {"collection": "kept", "images": [image]})
    new = fetch(server, path_of("changing", "thumbnail"), {"If-None-Match": old[1]["ETag"]})
    assert new[0] == 200 and new[2] != old[2]
    assert fetch(server, path_of("changing", "original"))[2] == draw("house")
    server.call("delete", {"collection": "kept", "ids": ["changing"]})
    for what in ("original", "thumbnail"):
        status, _, body = fetch(server, path_of("changing", what))
        assert (status, reason(body)) == (404, "NOT_FOUND")


def test_what_has_no_original_says_so(server, kept):
    for path, expected in ((path_of("sun", "original", "default"), "NO_ORIGINAL"),
                           (path_of("sun", "thumbnail", "default"), "NO_ORIGINAL"),
                           (path_of("nobody", "original"), "NOT_FOUND"),
                           (path_of("x", "thumbnail", "nowhere"), "NO_SUCH_COLLECTION"),
                           ("/v1/collections/kept/images//original", "NO_SUCH_PATH"),
                           ("/v1/collections/kept/images/%ff/original", "INVALID_UTF8")):
        status, _, body = fetch(server, path)
        assert status in (400, 404) and reason(body) == expected, path


def test_find_duplicates_answers_in_json_lines(server):
    server.call("create-collection", {"collection": {"name": "twins"}})

    def store(name, picture, **options):
        out = io.BytesIO()
        picture.save(out, **options)
        server.form("upsert", [("collection", "twins"), ("images[0].id", name), ("images[0].content", out.getvalue())])

    for name in ("fish", "house", "tree"):
        store(name, Image.open(io.BytesIO(draw(name))), format="PNG")
    store("small fish", Image.open(io.BytesIO(draw("fish"))).resize((200, 200)), format="JPEG", quality=60)
    status, headers, body = fetch_post(server, "/v1/find-duplicates", {"collection": "twins"})
    assert status == 200 and headers["Content-Type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in body.splitlines()]
    assert [image["id"] for image in lines[0]["group"]["images"]] == ["fish", "small fish"]
    assert lines[0]["group"]["images"][1]["tier"] == "SAME_PICTURE"
    assert lines[-1]["summary"]["images"] == "4" and lines[-1]["summary"]["duplicates"] == "1"
    status, _, body = fetch_post(server, "/v1/find-duplicates", {"collection": "nowhere"})
    assert (status, reason(body)) == (404, "NO_SUCH_COLLECTION")
    assert fetch_post(server, "/v1/find-duplicates", {"nosuch": 1})[0] == 400
    # The upload that would be a twin.
    _, reply = server.call("upsert", {"collection": "twins", "onDuplicate": "ON_DUPLICATE_SKIP", "images": [
        {"id": "again", "content": base64.b64encode(draw("fish", 240)).decode()}]})
    assert reply["results"][0]["skipped"] and reply["results"][0]["duplicates"][0]["id"] in ("fish", "small fish")


def fetch_post(server, path, request):
    post = urllib.request.Request(server.url + path, json.dumps(request).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(post, timeout=30) as reply:
            return reply.status, reply.headers, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()
