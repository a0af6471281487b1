"""Pixels of made images, whole, cut and damaged, against Pillow and transformers."""
import io
import warnings

import numpy as np
import pytest
from made_images import encoded, made_images, smooth
from PIL import Image
from reference_pixels import INVALID_ARGUMENT, load_rgb, ours, pixels


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """name -> path of every made image."""
    folder = tmp_path_factory.mktemp("made")
    paths = {}
    for name, data in made_images(np.random.default_rng(7)).items():
        paths[name] = folder / name
        paths[name].write_bytes(data)
    return paths


def is_jpeg(path):
    return path.read_bytes().startswith(b"\xff\xd8")


def assert_same(paths, results, **options):
    wrong, worst = [], 0
    for path, (code, got) in zip(paths, results):
        if code != 0:
            wrong.append((path.name, got))
            continue
        difference = int(np.abs(got.astype(int) - pixels(load_rgb(path), **options)).max())
        worst = max(worst, difference)
        if difference > (1 if is_jpeg(path) else 0):
            wrong.append((path.name, difference))
    print(f"{len(paths)} images, largest difference {worst}")
    assert not wrong, wrong


def test_every_kind_of_image_gives_the_references_pixels(tools, files, tmp_path):
    paths = list(files.values())
    assert_same(paths, ours(tools, paths, tmp_path))


@pytest.mark.parametrize("resample", range(6))
def test_every_filter_gives_the_references_pixels(tools, files, tmp_path, resample):
    paths = [p for n, p in files.items() if n.startswith("rgb-") and n.endswith(".png")]
    for resize in (224, 32, 97):
        assert_same(paths, ours(tools, paths, tmp_path, resize=resize, resample=resample), resize=resize, resample=resample)


@pytest.mark.parametrize("resize,crop,exact", [(336, 336, False), (224, 224, True), (256, 224, False), (100, 131, False),
                                               (64, 49, True), (30, 41, True)])
def test_every_geometry_gives_the_references_pixels(tools, files, tmp_path, resize, crop, exact):
    paths = [p for n, p in files.items() if n.startswith("rgb-") and n.endswith(".png")]
    options = {"resize": resize, "crop": crop, "exact": exact}
    assert_same(paths, ours(tools, paths, tmp_path, **options), **options)


def test_a_crop_box_takes_the_whole_pixels_it_touches(tools, files, tmp_path):
    paths = [files[n] for n in ("rgb-640x480.png", "turned-6.PNG", "rgb-1x1.png", "rgb-37x501.png")]
    left, top, right, bottom = 0.25, 0.125, 0.625, 0.75
    for path, (code, got) in zip(paths, ours(tools, paths, tmp_path, box=(left, top, right, bottom))):
        image = load_rgb(path)
        w, h = image.size
        begin_x, begin_y = min(int(left * w), w - 1), min(int(top * h), h - 1)
        box = (begin_x, begin_y, max(-int(-right * w // 1), begin_x + 1), max(-int(-bottom * h // 1), begin_y + 1))
        assert code == 0 and np.array_equal(got, pixels(image.crop(box))), path.name


def test_cut_files_are_refused_where_pillow_refuses_them(tools, files, tmp_path):
    paths, wanted = [], []
    for name, path in files.items():
        data = path.read_bytes()
        for share in (0.1, 0.5, 0.9, 1.0):
            if share == 1 and is_jpeg(path):
                continue  # without its last byte: Pillow accepts some and refuses others
            cut = data[: int(len(data) * share) if share < 1 else len(data) - 1]
            paths.append(tmp_path / f"{share}-{name}")
            paths[-1].write_bytes(cut)
            try:
                load_rgb(io.BytesIO(cut))
                wanted.append(0)
            except Exception:  # whatever Pillow raises on a cut file
                wanted.append(INVALID_ARGUMENT)
    got = [code for code, _ in ours(tools, paths, tmp_path)]
    wrong = [(p.name, g, w) for p, g, w in zip(paths, got, wanted) if g != w]
    print(f"{len(paths)} cut files, {sum(w != 0 for w in wanted)} to be refused")
    assert not wrong, wrong


def test_damaged_files_never_crash_or_blame_the_server(tools, files, tmp_path):
    rng = np.random.default_rng(11)
    paths = []
    for name, path in files.items():
        data = path.read_bytes()
        for i in range(8):
            damaged = bytearray(data)
            for at in rng.integers(0, min(len(data), 400) if i % 2 else len(data), 1 + i // 2):
                damaged[at] = rng.integers(0, 256)
            paths.append(tmp_path / f"{i}-{name}")
            paths[-1].write_bytes(bytes(damaged))
    codes = [code for code, _ in ours(tools, paths, tmp_path)]
    print(f"{len(codes)} damaged files, {sum(c != 0 for c in codes)} refused")
    assert set(codes) <= {0, INVALID_ARGUMENT}


def test_scaled_jpeg_decoding_stays_close_to_the_full_one(tools, tmp_path):
    rng = np.random.default_rng(3)
    for width, height in ((900, 905), (1800, 2400), (4000, 3000)):
        path = tmp_path / f"{width}.jpg"
        path.write_bytes(encoded(Image.fromarray(smooth(rng, width, height)), "JPEG", quality=90))
        (_, full), = ours(tools, [path], tmp_path)
        (_, scaled), = ours(tools, [path], tmp_path, scaled=True)
        difference = np.abs(full.astype(int) - scaled)
        a, b = full.astype(float).ravel() - full.mean(), scaled.astype(float).ravel() - scaled.mean()
        cosine = float(a @ b / np.sqrt((a @ a) * (b @ b)))
        print(f"{width}x{height}: mean difference {difference.mean():.3f}, largest {difference.max()}, centred cosine {cosine:.5f}")
        assert cosine >= 0.995 and difference.mean() < 3


warnings.simplefilter("ignore")
