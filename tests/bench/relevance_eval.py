#!/usr/bin/env python3
"""Measures what the cut by relevance is worth, with the model that a server runs.

    tests/bench/relevance_eval.py SETS/noto-v1_twemoji.jsonl --pictures noto-v1 --queries twemoji

The set is a JSON Lines file of {"image", "captions", "group"}, paths relative to it. The collection holds the pictures of
one folder. Half of the subjects, drawn at random, are absent: their pictures are taken out. Then every subject is asked
for twice: by its label, and by its picture in the folder of --queries (another style). A hit is right when it shows the
subject asked for; of an absent subject none is. Told are, over the ten best hits of every query, precision and recall of
the hits kept, and how many absent subjects were answered with nothing:

  - with auto_cut (no labels used);
  - with the fixed score that has the best F1 on these very answers, chosen with the labels, for labels alone, for
    pictures alone, and for both with one number (what a setting `min_score` of a service can be).
"""
import argparse
import base64
import json
import os
import pathlib
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPTH = 10
AUTO_CUT = 0.7  # of the server (server/handlers/ranking.cc)


class Server:
    def __init__(self, binary, folder, model):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [binary, "--data-dir", folder, "--listen", "127.0.0.1:0", "--http", f"127.0.0.1:{port}"]
        if model:
            command += ["--model", model]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            try:
                urllib.request.urlopen(self.url + "/readyz", timeout=5)
                return
            except OSError:
                if self.process.poll() is not None:
                    sys.exit("the server did not start")
                time.sleep(0.2)
        sys.exit("the server is not ready after 2 minutes")

    def call(self, method, request):
        http = urllib.request.Request(self.url + "/v1/" + method, json.dumps(request).encode(),
                                      {"Content-Type": "application/json", "imagesearch-timeout-ms": "120000"})
        with urllib.request.urlopen(http) as reply:
            return json.load(reply)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def encode(server, paths):
    """Vectors of picture files; None where one can't be read."""
    vectors = []
    for start in range(0, len(paths), 32):
        inputs = [{"image": base64.b64encode(path.read_bytes()).decode()} for path in paths[start:start + 32]]
        for result in server.call("encode", {"inputs": inputs})["results"]:
            vectors.append(result["vector"]["values"] if not result["status"]["code"] else None)
    return vectors


def ask(server, collection, queries):
    """[(hits as (id, score, relevance)), ...]"""
    answers = []
    for start in range(0, len(queries), 100):
        requests = [{"collection": collection, "query": {"terms": [term]}, "limit": DEPTH, "exact": True,
                     "withRelevance": True} for term in queries[start:start + 100]]
        for result in server.call("search-batch", {"requests": requests})["results"]:
            answers.append([(hit["id"], hit["score"], hit["relevance"]) for hit in result["response"]["hits"]])
    return answers


class Judged:
    """The hits of many queries: (value to cut by, right?), with how many right ones there are."""

    def __init__(self, column):
        self.column = column  # 1: score, 2: relevance
        self.hits = []
        self.right = 0
        self.best_of_absent = []

    def add(self, answers, subjects, present):
        for hits, subject in zip(answers, subjects):
            self.hits += [(hit[self.column], hit[0] == subject) for hit in hits]
            if subject in present:
                self.right += 1
            else:
                self.best_of_absent.append(max(hit[self.column] for hit in hits))

    def at(self, cut):
        """precision, recall, share of absent subjects answered with nothing"""
        kept = [right for value, right in self.hits if value >= cut]
        found = sum(kept)
        return (found / len(kept) if kept else 1.0, found / self.right,
                sum(best < cut for best in self.best_of_absent) / len(self.best_of_absent))

    def best_cut(self):
        best, cut, found = 0.0, 0.0, 0
        for kept, (value, right) in enumerate(sorted(self.hits, reverse=True), 1):
            found += right
            f1 = 2 * found / (kept + self.right)
            if f1 > best:
                best, cut = f1, value
        return cut


def f1(precision, recall):
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("set", type=pathlib.Path)
    parser.add_argument("--pictures", required=True, help="folder of the collection's pictures")
    parser.add_argument("--queries", required=True, help="folder of the pictures to ask with")
    parser.add_argument("--server", default=str(ROOT / "build/release/server/imagesearchd"))
    parser.add_argument("--model", default="", help="folder of another model than the shipped one")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    stored, asked = {}, {}
    for line in options.set.read_text().splitlines():
        row = json.loads(line)
        folder = row["image"].split("/")[0]
        (stored if folder == options.pictures else asked if folder == options.queries else {})[row["group"]] = row
    subjects = sorted(set(stored) & set(asked))

    with tempfile.TemporaryDirectory() as folder:
        server = Server(options.server, folder, options.model)
        try:
            run(server, options, stored, asked, subjects)
        finally:
            server.stop()


def run(server, options, stored, asked, subjects):
    place = options.set.parent
    vectors = dict(zip(subjects, encode(server, [place / stored[s]["image"] for s in subjects])))
    pictures = dict(zip(subjects, encode(server, [place / asked[s]["image"] for s in subjects])))
    subjects = [s for s in subjects if vectors[s] and pictures[s]]
    model = server.call("get-server-info", {})["model"]["id"]
    print(f"model {model}, {len(subjects)} subjects, half of them absent, {options.rounds} rounds")

    rows = {}  # name -> [(precision, recall, nothing)], for each kind
    for number in range(options.rounds):
        order = random.Random(number).sample(subjects, len(subjects))
        present = set(order[:len(order) // 2])
        name = f"round{number}"
        server.call("create-collection", {"collection": {"name": name, "modelId": model}})
        chosen = sorted(present)
        for start in range(0, len(chosen), 100):
            server.call("upsert", {"collection": name, "images": [
                {"id": s, "vector": {"values": vectors[s]}} for s in chosen[start:start + 100]]})
        terms = {"labels": [{"text": stored[s]["captions"][0]} for s in subjects],
                 "pictures": [{"vector": {"values": pictures[s]}} for s in subjects]}
        answers = {kind: ask(server, name, queries) for kind, queries in terms.items()}
        judged = {}
        for kind, column in [(k, c) for k in ("labels", "pictures", "both") for c in (1, 2)]:
            judged[kind, column] = Judged(column)
            for part in (("labels", "pictures") if kind == "both" else (kind,)):
                judged[kind, column].add(answers[part], subjects, present)
        common = judged["both", 1].best_cut()
        for kind in ("labels", "pictures", "both"):
            rows.setdefault((kind, "auto_cut"), []).append(judged[kind, 2].at(AUTO_CUT))
            rows.setdefault((kind, "best relevance for this kind"), []).append(
                judged[kind, 2].at(judged[kind, 2].best_cut()))
            rows.setdefault((kind, "best fixed score for this kind"), []).append(
                judged[kind, 1].at(judged[kind, 1].best_cut()))
            rows.setdefault((kind, "one fixed score for both kinds"), []).append(judged[kind, 1].at(common))
        server.call("delete-collection", {"collection": name})
    print("| queries | cut | precision | recall | F1 | absent subjects: nothing |\n|---|---|---|---|---|---|")
    for (kind, cut), values in rows.items():
        precision, recall, nothing = (statistics.mean(v[i] for v in values) for i in range(3))
        print(f"| {kind} | {cut} | {precision:.3f} | {recall:.3f} | {f1(precision, recall):.3f} | {nothing:.3f} |")


if __name__ == "__main__":
    main()
