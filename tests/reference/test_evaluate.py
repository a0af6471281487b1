"""`imagesearch evaluate` through a running imagesearchd against the same measures taken in NumPy from reference vectors.

Random CLIP weights (transformers' CLIPModel) and the shipped model (the training code's module), in fp32.
"""
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPTokenizer

from test_towers import MEAN, ROOT, SHIPPED, STD, pictures, random_model, save, unit

WORDS = "red green small large old wooden round broken shiny striped cat boat tree house lamp chair bird stone cup road".split()
COUNT = 60
MAX_POINTS = 0.1


@pytest.fixture(scope="module")
def programs():
    names = [os.environ.get(n, ROOT / p) for n, p in (("IMAGESEARCHD", "build/release/server/imagesearchd"),
                                                      ("IMAGESEARCH", "build/release/client/imagesearch"))]
    return [str(n) for n in names]


def make_set(folder, size):
    """Pictures of the model's own size as PNG, two captions each (some shared), groups of three."""
    rng = np.random.default_rng(11)
    images = pictures(size, COUNT)
    rows = []
    for i, pixels in enumerate(images):
        Image.fromarray(pixels).save(folder / f"{i:03}.png")
        captions = [" ".join(rng.choice(WORDS, 3)), " ".join(rng.choice(WORDS[:4], 1))]
        rows.append({"image": f"{i:03}.png", "captions": captions, "group": f"g{i // 3}"})
    (folder / "set.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return images, rows


def recall(scores, right):
    """Percent of rows with a right column among the best 1, 5 and 10."""
    order = np.argsort(-scores, axis=1, kind="stable")
    best = [min(list(o).index(c) for c in r) for o, r in zip(order, right)]
    return [100 * np.mean([b < k for b in best]) for k in (1, 5, 10)]


def reference_results(rows, image_vectors, encode_texts):
    texts = [c for r in rows for c in r["captions"]]
    owners = [i for i, r in enumerate(rows) for _ in r["captions"]]
    text_vectors = encode_texts(texts)
    same_caption = {t: {owners[j] for j, u in enumerate(texts) if u == t} for t in texts}
    distinct = list(dict.fromkeys(texts))
    distinct_vectors = encode_texts(distinct)
    between = image_vectors @ image_vectors.T
    np.fill_diagonal(between, -2)
    return {
        "text -> image": recall(text_vectors @ image_vectors.T, [same_caption[t] for t in texts]),
        "image -> text": recall(image_vectors @ distinct_vectors.T, [{distinct.index(c) for c in r["captions"]} for r in rows]),
        "image -> image": recall(between, [{j for j, s in enumerate(rows) if s["group"] == r["group"] and j != i}
                                           for i, r in enumerate(rows)]),
    }


def served_results(programs, model_folder, folder):
    server, command = programs
    port_file = folder / "port"
    with open(folder / "server.log", "wb") as log:
        process = subprocess.Popen([server, "--data-dir", folder / "data", "--listen", "127.0.0.1:0", "--port-file", port_file,
                                    "--model", model_folder, "--precision", "fp32"], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        health = 1
        while health != 0:
            assert process.poll() is None and time.monotonic() < deadline, (folder / "server.log").read_text()[-3000:]
            if port_file.exists() and port_file.read_text().strip():
                address = "127.0.0.1:" + port_file.read_text().split()[0]
                health = subprocess.run([command, "--server", address, "health"], capture_output=True).returncode
            time.sleep(0.1)
        done = subprocess.run([command, "--server", address, "--output", "json", "evaluate", folder / "set.jsonl"],
                              capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert report["images"] == COUNT and report["failures"] == []
        return {r["task"]: [r["at1"], r["at5"], r["at10"]] for r in report["results"]}
    finally:
        process.terminate()
        process.wait(timeout=60)


def compare(reference, served):
    assert reference.keys() == served.keys()
    for task in reference:
        print(f"{task}: reference {np.round(reference[task], 2)}, served {np.round(served[task], 2)}")
        assert np.abs(np.subtract(reference[task], served[task])).max() <= MAX_POINTS


def test_random_weights(tmp_path, programs, clip_tokenizer_dir):
    model = random_model("h14-like")
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    save(model, checkpoint, clip_tokenizer_dir)
    images, rows = make_set(tmp_path, model.config.vision_config.image_size)
    tokenizer = CLIPTokenizer.from_pretrained(checkpoint)

    @torch.no_grad()
    def encode_texts(texts):
        tokens = tokenizer(texts, padding="max_length", truncation=True, max_length=77, return_tensors="pt")
        features = model.get_text_features(**tokens)
        return unit(getattr(features, "pooler_output", features).numpy())

    with torch.no_grad():
        pixels = torch.from_numpy((images / np.float32(255) - MEAN) / STD).permute(0, 3, 1, 2)
        features = model.get_image_features(pixel_values=pixels)
    vectors = unit(getattr(features, "pooler_output", features).numpy())
    compare(reference_results(rows, vectors, encode_texts), served_results(programs, checkpoint, tmp_path))


def test_the_shipped_model(tmp_path, programs):
    sys.path.insert(0, str(ROOT / "encoder/training"))
    import reference
    tower = reference.load(SHIPPED)
    images, rows = make_set(tmp_path, 224)
    vectors = tower.encode_pictures([Image.fromarray(i) for i in images]).numpy()
    compare(reference_results(rows, vectors, lambda texts: tower.encode_texts(texts).numpy()),
            served_results(programs, SHIPPED, tmp_path))
