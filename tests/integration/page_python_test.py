"""The Python package, installed by pip from this tree into a folder of its own, against the real server."""
import asyncio
import datetime
import io
import json
import pathlib
import shutil
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from page_support import ROOT, Server, draw
from PIL import Image


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
def second(package, tmp_path_factory):
    """A server with what the calls of operations need."""
    folder = tmp_path_factory.mktemp("second")
    for name in ("models", "backups"):
        (folder / name).mkdir()
    shutil.copytree(ROOT / "encoder/models/imagesearch-lite-v1", folder / "models/lite")
    running = Server(folder, "--models-dir", str(folder / "models"), "--backup-dir", str(folder / "backups"))
    with package.Client(f"127.0.0.1:{running.grpc_port}") as one:
        yield one, folder
    assert running.stop() == 0


def test_duplicates_at_upload_in_results_and_as_a_report(client, package, server, files):
    fish = (files / "fish.png").read_bytes()
    small = Image.open(io.BytesIO(fish)).resize((200, 200))
    client.upsert(fish, id="fish", source_uri="file:///fish.png")
    client.upsert(files / "tree.png", id="tree")
    outcome = client.upsert(fish, id="again", on_duplicate="skip", duplicate_tier="bytes")
    assert outcome.skipped and [(one.id, one.tier) for one in outcome.duplicates] == [("fish", "bytes")]
    outcome = client.upsert(small, id="small", on_duplicate="report")
    assert not outcome.skipped and [(one.id, one.tier) for one in outcome.duplicates] == [("fish", "picture")]
    report = client.index([{"image": fish, "id": "third"}, files / "heart.png"], on_duplicate="skip", progress=False)
    assert (report.stored, report.skipped, report.failures) == (1, 1, [])
    (group,) = client.find_duplicates()
    assert [one.id for one in group.images] == ["fish", "small"] and group.images[1].tier == "picture"
    assert list(client.find_duplicates("bytes")) == []
    (group,) = client.find_duplicates("look-alike", min_score=0.9, filter='NOT id = "heart"')
    assert {one.id for one in group.images} == {"fish", "small"}
    hits = client.search(fish, ranking=package.Ranking(collapse="picture"))
    assert len(hits) == 3
    assert {hits[0].id, hits[0].duplicates[0].id} == {"fish", "small"}
    assert client.get("fish")[0].source_uri == "file:///fish.png"
    assert client.count(min_version=outcome.version) == client.count() and outcome.version > 0
    with pytest.raises(package.ImageSearchError, match="VERSION_NOT_REACHED|DEADLINE"):
        package.Client(f"127.0.0.1:{server.grpc_port}", timeout=1).get("fish", min_version=1 << 40)
    with pytest.raises(ValueError, match="none of bytes"):
        client.find_duplicates("exact").__next__()
    with pytest.raises(ValueError):
        client.index([fish], on_duplicate="drop", progress=False)


def test_metadata_labels_and_exports(client, package, files, tmp_path):
    for name in ("fish", "tree", "heart"):
        client.upsert(files / f"{name}.png", id=name, metadata={"draft": True, "camera": {"lens": "x", "body": "y"}})
    report = client.update_metadata({"draft": None, "camera": {"lens": None}}, ["fish", "nobody"])
    assert (report.matched, report.updated, report.missing) == (1, 1, ["nobody"])
    assert client.get("fish")[0].metadata == {"camera": {"body": "y"}}
    assert client.update_metadata({"seen": 1}, filter="draft = true").updated == 2
    assert client.count("seen = 1") == 2 and client.count(ids=["fish", "nobody"]) == 1
    labels = ["a fish", "a tree", "a heart"]
    (one,) = client.classify(labels, files / "tree.png", templates=["{}"])
    assert one.labels[0].label == "a tree" and sum(label.probability for label in one.labels) == pytest.approx(1, abs=1e-3)
    found, missing = client.classify(labels, ids=["fish", "nobody"], top=1)
    assert [label.label for label in found.labels] == ["a fish"] and missing.error.code.name == "NOT_FOUND"
    kinds = {each.id: each.labels[0].label for each in client.classify_all(labels, write_field="kind", page_size=2)}
    assert kinds["fish"] == "a fish" and len(kinds) == 3 and client.count('kind = "a fish"') == 1
    with pytest.raises(ValueError, match="one of the two"):
        client.classify(labels)
    # What is exported can be stored again by the command's import, or here.
    assert client.export(tmp_path / "all.jsonl") == 3
    rows = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["fish", "heart", "tree"] and rows[0]["metadata"]["kind"] == "a fish"
    assert client.search(np.array(rows[0]["vector"]))[0].id == "fish"


def test_collections_aliases_and_originals(client, files):
    client.create_collection("album", keep_originals=True, max_images=1)
    fish = (files / "fish.png").read_bytes()
    client.upsert(fish, id="fish", collection="album")
    with pytest.raises(Exception, match="QUOTA"):
        client.upsert(files / "tree.png", id="tree", collection="album")
    client.update_collection("album", quota=(0, 0))
    client.upsert(files / "tree.png", id="tree", collection="album")
    assert client.get_collection("album").image_count == 2
    (stored,) = client.get("fish", with_original=True, collection="album")
    assert stored.original == fish
    client.set_alias("photos", "album")
    assert client.aliases() == {"photos": "album"} and client.count(collection="photos") == 2
    client.delete_alias("photos")
    assert client.aliases() == {}
    client.delete_collection("album")


def test_models_and_operations(second, files):
    client, folder = second
    listed = client.models()
    assert list(listed.available) == ["lite"] and len(listed.models) == 1
    asked = client.load_model("lite", precision="int8", check_only=True)
    assert asked.estimated_bytes > 10 << 20 and not asked.HasField("model")
    loaded = client.load_model("lite", precision="int8")
    # Its collections' indexes get a sample of texts, as those of the models of the start do.
    end = time.monotonic() + 60
    while len(list((folder / "data/texts").glob("*.f32"))) < 2:
        assert time.monotonic() < end, "no sample of texts for the model"
        time.sleep(0.1)
    client.create_collection("photos", keep_originals=True)
    for name in ("fish", "tree", "heart"):
        client.upsert(files / f"{name}.png", id=name, collection="photos")
    operation = client.wait_operation(client.reembed("photos", model=loaded.model.id).id)
    assert operation.State.Name(operation.state) == "SUCCEEDED", operation
    assert client.get_collection("photos").model_id == loaded.model.id
    client.rollback_reembed("photos")
    assert client.get_collection("photos").model_id != loaded.model.id
    client.finish_reembed("photos")
    done = client.wait_operation(client.backup("monday").id)
    assert done.State.Name(done.state) == "SUCCEEDED" and done.total > 0
    done = client.wait_operation(client.compact("photos").id)
    assert done.State.Name(done.state) == "SUCCEEDED"
    assert [one.Kind.Name(one.kind) for one in client.operations()] == ["COMPACT", "BACKUP", "REEMBED"]
    with pytest.raises(Exception, match="OPERATION_ENDED"):
        client.cancel_operation(operation.id)
    assert client.unload_model(loaded.model.id) > 0


def test_asyncio_has_the_same_methods(package, server, second, files):
    public = lambda cls: {name for name in dir(cls) if not name.startswith("_")}
    assert public(package.AsyncClient) == public(package.Client)

    async def run():
        async with package.AsyncClient(f"127.0.0.1:{server.grpc_port}") as one:
            await one.create_collection("async", keep_originals=True)
            await one.upsert(files / "fish.png", id="fish", collection="async")
            assert (await one.upsert(files / "fish.png", id="b", on_duplicate="report", collection="async")).duplicates
            groups = [group async for group in one.find_duplicates("bytes", collection="async")]
            assert [[image.id for image in group.images] for group in groups] == [["fish", "b"]]
            assert (await one.update_metadata({"k": 1}, "fish", collection="async")).updated == 1
            kinds = [each async for each in one.classify_all(["a fish", "a tree"], page_size=1, collection="async")]
            assert [each.labels[0].label for each in kinds] == ["a fish", "a fish"]
            await one.set_alias("soon", "async")
            assert await one.aliases() == {"soon": "async"}
            assert await one.export(files / "out.jsonl", collection="soon") == 2
            await one.delete_alias("soon")
            done = await one.wait_operation((await one.compact("async")).id)
            assert done.State.Name(done.state) == "SUCCEEDED"
            await one.delete_collection("async")

    asyncio.run(run())
