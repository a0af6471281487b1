"""The `imagesearch` command's verbs on the content of a running imagesearchd with the shipped model."""
import json
import os
import pathlib
import subprocess

import pytest

import pictures

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Command:
    def __init__(self, server, state):
        self.environment = {**os.environ, "IMAGESEARCH_SERVER": f"127.0.0.1:{server.port}", "XDG_STATE_HOME": str(state)}

    def run(self, *arguments, code=0):
        binary = os.environ.get("IMAGESEARCH", ROOT / "build/release/client/imagesearch")
        ended = subprocess.run([binary, *map(str, arguments)], env=self.environment, capture_output=True, text=True,
                               timeout=120)
        assert ended.returncode == code, (arguments, ended.returncode, ended.stdout, ended.stderr)
        return ended

    def json(self, *arguments, code=0):
        return json.loads(self.run(*arguments, "--output", "json", code=code).stdout)


@pytest.fixture
def command(shared, tmp_path):
    made = Command(shared, tmp_path / "state")
    made.run("collections", "create", "content")
    made.environment["IMAGESEARCH_COLLECTION"] = "content"
    yield made
    made.run("collections", "delete", "content")


def store(folder, names):
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pictures.encode(pictures.picture(100 + seed)))


def test_update_sets_and_takes_away_by_filter_and_by_id(command, tmp_path):
    store(tmp_path / "in", ["a.png", "b.png", "c.png"])
    command.run("index", tmp_path / "in")
    ids = [image["id"] for image in command.json("list")["images"]]
    reply = command.json("update", ids[0], ids[1], "--set", "album=sea", "--set", "year=2024", "--set", 'tags=["x"]')
    assert (reply["matched"], reply["updated"]) == (2, 2)
    assert command.json("count", "--filter", 'album = "sea" AND year = 2024')["count"] == 2
    assert "updated 2 of 2" in command.run("update", "--filter", "year = 2024", "--unset", "year", "--patch",
                                           '{"gps": {"lat": 1}}').stdout
    found = command.json("get", ids[0])["images"][0]["metadata"]
    assert found["gps"] == {"lat": 1} and "year" not in found and found["album"] == "sea" and found["path"]
    missing = command.run("update", ids[0], "nobody", "--set", "k=1", code=1)
    assert "nobody" in missing.stderr
    command.run("update", ids[0], code=2)
    command.run("update", "--set", "k=1", code=2)
    command.run("update", ids[0], "--patch", "[1]", code=2)


def test_duplicates_are_found_and_left_out(command, tmp_path):
    store(tmp_path / "in", ["a.png", "b.png", "c.png"])
    command.run("index", tmp_path / "in")
    (tmp_path / "more").mkdir()
    copy = pictures.encode(pictures.picture(100).resize((48, 36)), "JPEG", quality=80)
    (tmp_path / "more/a again.jpg").write_bytes(copy)
    skipped = command.run("index", tmp_path / "more", "--on-duplicate", "skip")
    assert "a again.jpg: skipped, a duplicate of" in skipped.stderr and "0 sent, 1 skipped" in skipped.stdout
    assert command.json("count")["count"] == 3
    reported = command.json("index", tmp_path / "more", "--on-duplicate", "report")
    assert reported["sent"] == 1 and reported["reported_duplicates"] == 1
    found = command.json("duplicates")
    assert found["duplicates"] == 1 and found["images"] == 4
    group = found["groups"][0]
    assert group["size"] == 2 and group["images"][1]["tier"] == "picture"
    assert "1 duplicates in 1 groups, among 4 pictures" in command.run("duplicates").stdout
    assert command.run("duplicates", "--ids").stdout.split() == [group["images"][1]["id"]]
    assert command.json("duplicates", "--tier", "bytes")["groups"] == []
    command.run("duplicates", "--tier", "vaguely", code=2)


def test_classify_files_and_the_collection(command, tmp_path):
    red, blue = tmp_path / "in/red.png", tmp_path / "in/blue.png"
    red.parent.mkdir()
    from PIL import Image
    for path, colour in ((red, "red"), (blue, "blue")):
        picture = Image.new("RGB", (200, 200), "white")
        picture.paste(colour, (40, 40, 160, 160))
        picture.save(path)
    reply = command.json("classify", "a red square", "a blue square", "--template", "{}", "--image", red, "--image", blue)
    assert [one["labels"][0]["label"] for one in reply["results"]] == ["a red square", "a blue square"]
    for one in reply["results"]:
        assert abs(sum(label["probability"] for label in one["labels"]) - 1) < 1e-4
    command.run("index", tmp_path / "in")
    written = command.json("classify", "a red square", "a blue square", "--template", "{}", "--all", "--write", "colour")
    assert written["updated"] == 2
    hits = command.json("list", "--filter", 'colour = "a red square"')["images"]
    assert [pathlib.Path(hit["metadata"]["path"]).name for hit in hits] == ["red.png"]
    assert 0.5 < hits[0]["metadata"]["colour_probability"] <= 1
    assert "%" in command.run("classify", "cat", "dog", "--id", hits[0]["id"]).stdout
    command.run("classify", "cat", code=2)


def test_originals_come_back_as_files(shared, tmp_path):
    command = Command(shared, tmp_path / "state")
    command.run("collections", "create", "kept", "--keep-originals")
    command.environment["IMAGESEARCH_COLLECTION"] = "kept"
    try:
        store(tmp_path / "in", ["a.png"])
        command.run("index", tmp_path / "in")
        id = command.json("list")["images"][0]["id"]
        (tmp_path / "out").mkdir()
        command.run("get", id, "--originals", tmp_path / "out")
        assert (tmp_path / "out" / id).read_bytes() == (tmp_path / "in/a.png").read_bytes()
        shown = command.json("collections", "show", "kept")["collections"][0]
        assert shown["keep_originals"] and shown["original_bytes"] == (tmp_path / "in/a.png").stat().st_size
    finally:
        command.run("collections", "delete", "kept")
