"""The HTTP interface on the real server: JSON and forms give the same answers, errors have their shape, and what is
written is found."""
import base64
import json

import pytest
from page_support import Server, draw


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
