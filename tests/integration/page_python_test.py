"""The Python package, installed by pip from this tree into a folder of its own, against the real server."""
import asyncio
import datetime
import io
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from page_support import ROOT, Server, draw
from PIL import Image

COMMAND = os.environ.get("IMAGESEARCH", ROOT / "build/release/client/imagesearch")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target", str(target)]
    subprocess.run([*pip, "--no-deps", "googleapis-common-protos"], check=True)
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", str(ROOT / "client/python")], check=True)
    sys.path.insert(0, str(target))
    import google
    google.__path__ = [*google.__path__, str(target / "google")]
    import imagesearch
    assert pathlib.Path(imagesearch.__file__).is_relative_to(target)
    return imagesearch


def test_a_source_distribution_builds_without_the_checkout(tmp_path):
    shutil.copytree(ROOT / "proto", tmp_path / "checkout/proto")
    shutil.copytree(ROOT / "client/python", tmp_path / "checkout/client/python")
    make = f"import setuptools.build_meta; print(setuptools.build_meta.build_sdist({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", make], cwd=tmp_path / "checkout/client/python", check=True, capture_output=True)
    shutil.rmtree(tmp_path / "checkout")
    (sdist,) = tmp_path.glob("imagesearch-*.tar.gz")
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-deps", "--no-build-isolation",
                    "-w", str(tmp_path), str(sdist)], check=True)
    (wheel,) = tmp_path.glob("imagesearch-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"imagesearch/client.py", "imagesearch/v1/imagesearch_pb2.py", "imagesearch/v1/admin_pb2_grpc.py"} <= set(names)
    assert not [name for name in names if name.startswith("proto/")]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("server"))
    yield running
    assert running.stop() == 0


@pytest.fixture
def client(package, server):
    with package.Client(f"127.0.0.1:{server.grpc_port}") as one:
        one.delete(filter='NOT id = ""')
        yield one


@pytest.fixture
def files(tmp_path):
    for name in ("fish", "tree", "heart"):
        (tmp_path / f"{name}.png").write_bytes(draw(name))
    return tmp_path


def test_every_kind_of_picture_is_the_same_picture(client, files):
    path = files / "fish.png"
    image = Image.open(path)
    client.upsert(path, id="fish", metadata={"day": datetime.date(2024, 5, 1), "n": np.int64(3), "tags": ("a", "b")})
    client.upsert(files / "tree.png", id="tree")
    for query in (path, path.read_bytes(), image, np.asarray(image)):
        hits = client.search(query)
        assert [hit.id for hit in hits] == ["fish", "tree"] and hits[0].score > 0.999
    assert hits[0].metadata == {"day": "2024-05-01", "n": 3, "tags": ["a", "b"]}
    assert [hit.id for hit in client.search(image, filter='day >= 2024-01-01 AND tags:"b"')] == ["fish"]


def test_rankings_and_parts_of_pictures(client, package, files):
    for name in ("fish", "tree", "heart"):
        client.upsert(files / f"{name}.png", id=name, metadata={"kind": "thing" if name == "heart" else "living"})
    ranking = package.Ranking(relevance=True, group_by="kind", diversity=0.1, facets=["kind"])
    hits = client.search(files / "fish.png", ranking=ranking)
    assert [(hit.id, hit.group) for hit in hits] == [("fish", "living"), ("heart", "thing")]
    assert hits[0].relevance is None  # too few pictures to judge by
    assert hits.facets == {"kind": [("living", 2), ("thing", 1)]}
    found = client.search(files / "fish.png", ranking=package.Ranking(keywords="Thing", keyword_weight=50))
    assert found[0].id == "heart" and found[0].keyword_score > 0 and found[1].keyword_score is None
    whole = client.search(package.Term(image=files / "fish.png", crop=(0, 0, 1, 1)))
    part = client.search(package.Term(image=files / "fish.png", crop=(0.5, 0, 0.5, 0.5)))
    assert whole[0].score > 0.999 > part[0].score
    with pytest.raises(package.ImageSearchError, match="crop"):
        client.search(package.Term(text="fish", crop=(0, 0, 1, 1)))


def test_texts_vectors_ids_and_weights(client, package, files):
    for name in ("fish", "tree", "heart"):
        client.upsert(files / f"{name}.png", id=name)
    assert client.search("a red heart", limit=1)[0].id == "heart"
    (stored,) = client.get("tree")
    assert client.search(np.array(stored.vector, np.float32))[0].id == "tree"
    text, picture = client.encode(["a fish", files / "fish.png"])
    assert len(text) == len(picture) == client.server_info().model.dimension
    pushed = client.search([package.Term(id="tree"), package.Term(id="fish", weight=-1)])
    assert (pushed[0].id, pushed[-1].id) == ("tree", "fish")
    good, bad = client.search_many(["a tree", package.Term(id="nobody")])
    assert len(good) == 3 and bad.code.name == "NOT_FOUND"
    with pytest.raises(ValueError):
        package.Term(text="a", id="b")
    with pytest.raises(TypeError):
        client.search(np.zeros((4, 4)))


def test_errors_are_one_exception(client, package):
    with pytest.raises(package.ImageSearchError) as caught:
        client.search("a", filter="a =")
    assert caught.value.code.name == "INVALID_ARGUMENT" and caught.value.reason == "BAD_FILTER"
    with pytest.raises(package.ImageSearchError) as caught:
        client.upsert(b"no picture")
    assert caught.value.reason == "UNSUPPORTED_FORMAT"
    with pytest.raises(package.ImageSearchError) as caught:
        client.search("a", collection="nosuch")
    assert caught.value.reason == "NO_SUCH_COLLECTION"


def test_index_reports_every_item(client, files):
    items = [*sorted(files.glob("*.png")), files / "missing.png", b"no picture",
             {"image": draw("sun"), "id": "sun", "metadata": {"k": 1}}, {"image": b"", "nosuch": 1}]
    report = client.index(items, progress=False, window=2)
    assert report.stored == 4
    assert [item for item, _ in report.failures if item != b"no picture"] == [items[3], items[6]]
    assert next(error for item, error in report.failures if item == b"no picture").reason == "UNSUPPORTED_FORMAT"
    assert client.count() == 4 and client.count("k = 1") == 1
    assert [image.id for image in client.list_images("k = 1", page_size=1)] == ["sun"]
    assert len({image.id for image in client.list_images(page_size=2)}) == 4
    assert client.delete("sun") == 1
    assert client.index((draw("star", 40 + i) for i in range(60)), progress=True, window=8).stored == 60


def test_a_notebook_shows_pictures_and_nothing_unescaped(client, files):
    client.index([files / "fish.png"], progress=False)
    client.upsert(draw("tree"), id="<b>x</b>", metadata={"title": "<script>"})
    page = client.search("a fish")._repr_html_()
    assert page.count("data:image/jpeg;base64,") == 1
    assert "&lt;script&gt;" in page and "<script>" not in page and "<b>" not in page
    assert "no picture" in client.search("a fish", filter="none = 1")._repr_html_()


def test_asyncio(client, package, server, files):
    async def run():
        async with package.AsyncClient(f"127.0.0.1:{server.grpc_port}") as one:
            await one.upsert(files / "heart.png", id="heart")
            report = await one.index([files / "fish.png", b"junk", files / "tree.png"], progress=False)
            assert (report.stored, len(report.failures)) == (2, 1)
            many = await asyncio.gather(*(one.search("a red heart", limit=1) for _ in range(8)))
            assert {results[0].id for results in many} == {"heart"}
            assert len([image async for image in one.list_images(page_size=1)]) == await one.count() == 3
            with pytest.raises(package.ImageSearchError):
                await one.search([])
            assert await one.delete(filter='NOT id = ""') == 3

    asyncio.run(run())


def test_collections_of_ready_vectors(client):
    client.create_collection("points", dimension=2)
    client.upsert(id="east", vector=[1, 0], collection="points")
    client.upsert(id="north", vector=np.array([0, 2.0]), collection="points")
    assert client.search(np.array([0.1, 1.0]), collection="points")[0].id == "north"
    assert "points" in [one.name for one in client.collections()]
    client.delete_collection("points")


def test_an_array_with_alpha_and_one_of_grey(client):
    grey = np.asarray(Image.open(io.BytesIO(draw("house"))).convert("L"))
    client.upsert(grey, id="grey")
    client.upsert(np.dstack([grey, grey, grey, np.full_like(grey, 255)]), id="alpha")
    scores = [hit.score for hit in client.search(grey)]
    assert min(scores) > 0.999


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    """A server that wants TLS, a client certificate and a key; and what a client of it needs."""
    import certificates
    folder = tmp_path_factory.mktemp("secure")
    authority = certificates.Authority(folder / "authority")
    pair, client = authority.issue("server"), authority.issue("client", common_name="notebook")
    keys = folder / "keys.json"
    keys.write_text('{"keys": []}')
    made = {scope: subprocess.run([COMMAND, "key", "--file", keys, "create", scope, "--scope", scope], check=True,
                                  capture_output=True, text=True).stdout.strip() for scope in ("read", "write")}
    running = Server(folder, "--tls-cert", pair[0], "--tls-key", pair[1], "--tls-client-ca", authority.certificate,
                     "--api-keys", keys, tls=authority.certificate)
    yield running, authority, client, made, certificates
    assert running.stop() == 0


def test_tls_client_certificates_and_tokens(package, secure, files):
    import grpc
    server, authority, pair, keys, certificates = secure
    target = f"localhost:{server.grpc_port}"

    def credentials(root, client):
        certificate, key = (part.read_bytes() for part in client) if client else (None, None)
        return grpc.ssl_channel_credentials(root.read_bytes(), key, certificate)

    def outcome(tls, token, call=lambda client: client.count(), timeout=5):
        try:
            with package.Client(target, tls=tls, token=token, timeout=timeout) as client:
                call(client)
            return "OK"
        except package.ImageSearchError as error:
            return f"{error.code.name} {error.reason}".strip()

    good = credentials(authority.certificate, pair)
    assert outcome(good, keys["read"], timeout=30) == "OK"
    assert outcome(good, None) == "UNAUTHENTICATED NO_KEY"
    assert outcome(good, keys["read"][:-1] + "!") == "UNAUTHENTICATED BAD_KEY"
    upsert = lambda client: client.upsert(files / "fish.png", id="fish")  # noqa: E731
    assert outcome(good, keys["read"], upsert, 30) == "PERMISSION_DENIED SCOPE"
    assert outcome(good, keys["write"], upsert, 30) == "OK"
    with package.Client(target, tls=good, token=keys["write"]) as client:
        assert client.index([files / "tree.png"], progress=False).stored == 1  # the token goes with streams too
        assert client.count() == 2
    # No certificate of the client's, a stranger's, a server that can't be trusted, and no TLS at all.
    stranger = certificates.Authority(files / "stranger")
    for bad in (credentials(authority.certificate, None), credentials(authority.certificate, stranger.issue("client")),
                credentials(stranger.certificate, pair), False):
        assert outcome(bad, keys["read"]).split()[0] in ("UNAVAILABLE", "DEADLINE_EXCEEDED"), bad

    async def awaited():
        async with package.AsyncClient(target, tls=good, token=keys["read"]) as client:
            assert await client.count() == 2
        with pytest.raises(package.ImageSearchError) as caught:
            async with package.AsyncClient(target, tls=good) as client:
                await client.count()
        assert caught.value.reason == "NO_KEY"

    asyncio.run(awaited())
