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
