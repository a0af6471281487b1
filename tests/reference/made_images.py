"""Image files of every kind that the service takes, made from random numbers; what Pillow can't write is written here."""
import io
import struct
import zlib

import numpy as np
from PIL import Image


def smooth(rng, width, height, channels=3, noise=40):
    """Random pixels with large and small structure, so that resizing has something to get wrong."""
    coarse = rng.integers(0, 256, (max(height // 16, 1), max(width // 16, 1), channels), dtype=np.uint8)
    layers = [np.asarray(Image.fromarray(coarse[:, :, c]).resize((width, height), Image.BICUBIC)) for c in range(channels)]
    grain = rng.integers(-noise, noise + 1, (height, width, channels))
    return np.clip(np.stack(layers, axis=2).astype(int) + grain, 0, 255).astype(np.uint8)


def encoded(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png(rng, width, height, depth, color, interlaced=False, chunks=(), equal_rows=False):
    """A PNG of random samples; `chunks` go before the pixels."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    samples = rng.integers(0, 1 << depth, (height, width, channels))
    if equal_rows:
        samples[1:] = samples[0]

    def rows(part):
        bits = part.reshape(part.shape[0], -1)
        data = b""
        for row in bits:
            if depth == 16:
                data += b"\0" + row.astype(">u2").tobytes()
            else:
                shifts = np.arange(depth - 1, -1, -1)
                data += b"\0" + np.packbits(((row[:, None] >> shifts) & 1).astype(np.uint8).ravel()).tobytes()
        return data

    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
        raw = b"".join(rows(p) for p in (samples[y::dy, x::dx] for y, x, dy, dx in passes) if p.size)
    else:
        raw = rows(samples)

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlaced))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunk(n, d) for n, d in chunks)
            + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))


def bmp(width, height, bits, pixels, compression=0, palette=b"", masks=b"", top_down=False, core=False):
    """A BMP around ready pixel bytes."""
    if core:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", 40, width, -height if top_down else height, 1, bits, compression,
                           len(pixels), 0, 0, len(palette) // 4, 0)
    offset = 14 + len(info) + len(masks) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + info + masks + palette + pixels


def rle8(indices):
    """Run-length coded rows, bottom-up, with runs, literals and jumps."""
    out = b""
    for row in indices[::-1]:
        x = 0
        while x < len(row):
            run = 1
            while x + run < len(row) and row[x + run] == row[x] and run < 255:
                run += 1
            literal = row[x : x + 5]
            if run == 1 and len(literal) == 5:
                out += bytes([0, 5, *literal, 0])
                x += 5
            else:
                out += bytes([run, row[x]])
                x += run
        out += b"\0\0"
    return out + b"\0\1"


def made_images(rng):
    """name -> bytes; every one is valid for Pillow."""
    files = {}
    sizes = [(1, 1), (1, 200), (300, 1), (2, 3), (224, 224), (223, 225), (640, 480), (37, 501), (1000, 61), (449, 448)]
    for width, height in sizes:
        rgb = Image.fromarray(smooth(rng, width, height))
        files[f"rgb-{width}x{height}.png"] = encoded(rgb, "PNG", compress_level=1)
        files[f"rgb-{width}x{height}.jpg"] = encoded(rgb, "JPEG", quality=90)
        files[f"rgb-{width}x{height}.bmp"] = encoded(rgb, "BMP")
    rgb = Image.fromarray(smooth(rng, 301, 259))
    rgba = Image.fromarray(smooth(rng, 251, 263, 4), "RGBA")
    for subsampling in ("4:4:4", "4:2:2", "4:2:0", "4:1:1"):
        for progressive in (False, True):
            files[f"{subsampling.replace(':', '')}-{progressive}.jpg"] = encoded(
                rgb, "JPEG", quality=80, subsampling=subsampling, progressive=progressive)
    files["grey.jpg"] = encoded(rgb.convert("L"), "JPEG")
    files["cmyk.jpg"] = encoded(rgb.convert("CMYK"), "JPEG", quality=95)
    for orientation in range(0, 10):
        exif = Image.Exif()
        exif[0x112] = orientation
        for kind in ("JPEG", "PNG", "WEBP"):
            files[f"turned-{orientation}.{kind}"] = encoded(rgb, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    files["xmp.jpg"] = encoded(rgb, "JPEG", xmp=xmp)
    files["xmp.webp"] = encoded(rgb, "WEBP", xmp=xmp)
    for depth, color in [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2), (1, 3), (2, 3), (4, 3), (8, 3), (8, 4),
                         (16, 4), (8, 6), (16, 6)]:
        palette = [(b"PLTE", rng.bytes(3 * min(1 << depth, 200)))] if color == 3 else []
        clear = {0: b"\0\1", 2: b"\0\x20\0\x30\0\x40", 3: rng.bytes(min(1 << depth, 100))}.get(color)
        for interlaced in (False, True):
            files[f"png-{depth}-{color}-{interlaced}.png"] = png(rng, 61, 47, depth, color, interlaced, palette)
            if clear:
                files[f"png-{depth}-{color}-{interlaced}-trns.png"] = png(
                    rng, 61, 47, depth, color, interlaced, palette + [(b"tRNS", clear)])
    files["one-clear.png"] = png(rng, 33, 31, 8, 3, False, [(b"PLTE", rng.bytes(30)), (b"tRNS", b"\xff\xff\0\xff")])
    files["rgba.png"] = encoded(rgba, "PNG")
    window = bytearray(png(rng, 300, 9, 8, 2, equal_rows=True))
    at = window.index(b"IDAT") + 4
    window[at : at + 2] = b"\x18\x19"  # claims a window of 512 bytes; the chunk's checksum is now wrong too
    files["small-window.png"] = bytes(window)
    files["lossy.webp"] = encoded(rgb, "WEBP", quality=70)
    files["lossless.webp"] = encoded(rgb, "WEBP", lossless=True)
    files["alpha.webp"] = encoded(rgba, "WEBP", quality=80)
    files["alpha-lossless.webp"] = encoded(rgba, "WEBP", lossless=True)
    frames = [Image.fromarray(smooth(rng, 120, 90)) for _ in range(3)]
    clear_frames = [Image.fromarray(smooth(rng, 120, 90, 4), "RGBA") for _ in range(3)]
    for kind in ("GIF", "WEBP", "PNG"):
        files[f"animated.{kind}"] = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        files[f"animated-clear.{kind}"] = encoded(clear_frames[0], kind, save_all=True, append_images=clear_frames[1:])
    files["palette.gif"] = encoded(rgb.quantize(64), "GIF")
    files["grey.gif"] = encoded(rgb.convert("L"), "GIF")
    files["clear.gif"] = encoded(rgb.quantize(17), "GIF", transparency=3)
    files["interlaced.gif"] = encoded(rgb.quantize(200), "GIF", interlace=1)
    offset = bytearray(encoded(rgb.quantize(30), "GIF", interlace=0))
    offset[6:10] = struct.pack("<HH", 400, 300)  # a canvas larger than its frame
    files["canvas.gif"] = bytes(offset)
    offset[6:10] = struct.pack("<HH", 0, 0)  # no canvas of its own
    files["no-canvas.gif"] = bytes(offset)
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        image = rgba if mode == "RGBA" else rgb.convert(mode) if mode != "P" else rgb.quantize(99)
        files[f"mode-{mode}.bmp"] = encoded(image, "BMP")
    palette = rng.bytes(256 * 4)
    indices = rng.integers(0, 256, (19, 23), dtype=np.uint8)
    indices[:, 5:15] = indices[:, 5:6]
    for top_down in (False, True):
        files[f"rle8-{top_down}.bmp"] = bmp(23, 19, 8, rle8(indices), 1, palette, top_down=top_down)
    files["rle4.bmp"] = bmp(8, 2, 4, b"\x04\x12\x04\x34\0\0\0\x05\x12\x34\x50\0\x03\x77\0\1", 2, palette[:64])
    files["rle-jump.bmp"] = bmp(8, 3, 8, b"\x02\x05\0\x02\x03\x01\x03\x07\0\0\x08\x09\0\1", 1, palette)
    files["4.bmp"] = bmp(7, 3, 4, rng.bytes(12), 0, palette[:64])
    files["1.bmp"] = bmp(37, 3, 1, rng.bytes(24), 0, palette[:8])
    files["short-palette.bmp"] = bmp(4, 4, 8, rng.bytes(16), 0, palette[:80])
    files["core.bmp"] = bmp(5, 3, 24, rng.bytes(48), core=True)
    files["555.bmp"] = bmp(5, 4, 16, rng.bytes(48))
    files["565.bmp"] = bmp(5, 4, 16, rng.bytes(48), 3, masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F))
    files["32.bmp"] = bmp(5, 4, 32, rng.bytes(80), top_down=True)
    files["32-masks.bmp"] = bmp(5, 4, 32, rng.bytes(80), 3, masks=struct.pack("<III", 0xFF000000, 0xFF0000, 0xFF00))
    files["trailing.jpg"] = files["rgb-640x480.jpg"] + b"<?php tail ?>"
    files["trailing.png"] = files["rgb-640x480.png"] + b"tail"
    return files
