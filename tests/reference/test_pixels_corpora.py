"""Every image of the corpora: what Pillow loads gives its pixels, the rest is INVALID_ARGUMENT."""
import collections
import warnings

import numpy as np
import pytest
from reference_pixels import INVALID_ARGUMENT, load_rgb, ours, pixels

MAGIC = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF87a": "GIF", b"GIF89a": "GIF", b"BM": "BMP"}
# The project's limits (base/limits.h) are stricter than Pillow's.
MAX_PIXELS, MAX_SIDE = 40_000_000, 16_384


def format_of(data):
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return next((name for magic, name in MAGIC.items() if data.startswith(magic)), None)


def reference(path):
    """(format, pixels), or (format, None) where the image is to be refused."""
    kind = format_of(path.read_bytes())
    if kind is None:
        return kind, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = load_rgb(path)
    except Exception:  # whatever Pillow raises on a hostile file
        return kind, None
    if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE:
        return kind, None
    return kind, pixels(image)


def test_corpora_pixels_are_pillows_and_hostile_files_are_refused(tools, corpora, tmp_path):
    if corpora is None:
        pytest.skip("no corpora (IMAGESEARCH_CORPORA)")
    paths = sorted(p for p in corpora.rglob("*") if p.is_file() and p.suffix not in (".json", ".md"))
    results = ours(tools, paths, tmp_path)
    valid, refused, wrong, worst = collections.Counter(), collections.Counter(), [], 0
    for path, (code, got) in zip(paths, results):
        name = str(path.relative_to(corpora))
        kind, want = reference(path)
        if want is None:
            if code == INVALID_ARGUMENT:
                refused[got] += 1
            else:
                wrong.append((name, "should be refused", code))
        elif code != 0:
            wrong.append((name, "refused", got))
        else:
            difference = int(np.abs(got.astype(int) - want).max())
            if difference > (1 if kind == "JPEG" else 0):
                wrong.append((name, "pixels differ by", difference))
            if kind == "JPEG":
                worst = max(worst, difference)
            valid[kind] += 1
    print(f"valid: {dict(valid)}, refused: {dict(refused)}, largest JPEG difference {worst}")
    assert not wrong, wrong
