"""Fixtures of the reference tests: the tools built from this tree, the corpora, CLIP's own vocabulary."""
import gzip
import importlib.util
import json
import os
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def tools():
    """The folder of the C++ tools that these tests run (ctest sets REFERENCE_TOOLS)."""
    folder = pathlib.Path(os.environ.get("REFERENCE_TOOLS", ROOT / "build/release/tests/reference"))
    assert folder.is_dir(), f"{folder} is missing: build the project, or set REFERENCE_TOOLS"
    return folder


@pytest.fixture(scope="session")
def corpora():
    """The folder of collected images and strings, or None: the tests then make do with their own."""
    folder = pathlib.Path(os.environ.get("IMAGESEARCH_CORPORA", ROOT.parent / "shared/corpora"))
    return folder if folder.is_dir() else None


def byte_symbols():
    """The 256 characters that stand for bytes in a CLIP vocabulary, in the vocabulary's order."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in own] + [chr(256 + i) for i in range(256 - len(own))]


@pytest.fixture(scope="session")
def clip_vocabulary():
    """(vocab, merges) of OpenAI's CLIP, from the merge list that open_clip ships."""
    package = pathlib.Path(importlib.util.find_spec("open_clip").origin).parent
    lines = gzip.open(package / "bpe_simple_vocab_16e6.txt.gz", "rt", encoding="utf-8").read().split("\n")
    merges = lines[1 : 49152 - 256 - 2 + 1]
    symbols = byte_symbols()
    tokens = symbols + [s + "</w>" for s in symbols] + ["".join(m.split()) for m in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    assert len(tokens) == 49408
    return {t: i for i, t in enumerate(tokens)}, merges


@pytest.fixture(scope="session")
def clip_tokenizer_dir(clip_vocabulary, tmp_path_factory):
    """A folder with vocab.json and merges.txt of OpenAI's CLIP."""
    vocab, merges = clip_vocabulary
    folder = tmp_path_factory.mktemp("clip-tokenizer")
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    return folder
