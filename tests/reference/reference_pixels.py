"""The reference for pixels: Pillow, then transformers' CLIPImageProcessor on its PIL path."""
import struct
import subprocess

import numpy as np
from PIL import Image, ImageOps
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

INVALID_ARGUMENT = 3


def load_rgb(file):
    """The upright image over white, as the project defines it; raises where Pillow does."""
    image = Image.open(file)
    image = ImageOps.exif_transpose(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return image.convert("RGB")


def processor(resize=224, crop=None, resample=3, exact=False):
    crop = crop or resize
    size = {"height": resize, "width": resize} if exact else {"shortest_edge": resize}
    return CLIPImageProcessorPil(size=size, crop_size={"height": crop, "width": crop}, resample=resample,
                                 do_rescale=False, do_normalize=False)


def pixels(image, **options):
    """(crop, crop, 3) uint8 of an RGB image."""
    return np.asarray(processor(**options)(image)["pixel_values"][0]).transpose(1, 2, 0).astype(np.uint8)


def ours(tools, paths, tmp_path, resize=224, crop=None, resample=3, exact=False, scaled=False, box=None):
    """For each path (code, pixels or reason)."""
    crop = crop or resize
    (tmp_path / "list").write_text("".join(f"{p}\n" for p in paths))
    subprocess.run([tools / "pixels_tool", str(resize), str(crop), str(resample), "exact" if exact else "shortest",
                    "scaled" if scaled else "full", tmp_path / "list", tmp_path / "out", *map(str, box or [])], check=True)
    data, at, results = (tmp_path / "out").read_bytes(), 0, []
    while at < len(data):
        code, size = struct.unpack_from("<ii", data, at)
        body = data[at + 8 : at + 8 + size]
        at += 8 + size
        results.append((code, np.frombuffer(body, np.uint8).reshape(crop, crop, 3) if code == 0 else body.decode()))
    assert len(results) == len(paths)
    return results
