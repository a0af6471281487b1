"""Image files made by the tests: good ones of every kind, and one of each way to be bad."""
import io
import random
import struct
import zlib

from PIL import Image


def picture(seed, size=(64, 48), mode="RGB"):
    """A picture of a few coloured boxes that depends on `seed`."""
    rng = random.Random(seed)
    image = Image.new("RGB", size, tuple(rng.randrange(256) for _ in range(3)))
    for _ in range(6):
        x, y = rng.randrange(size[0]), rng.randrange(size[1])
        image.paste(tuple(rng.randrange(256) for _ in range(3)), (x, y, x + size[0] // 3, y + size[1] // 3))
    return image.convert(mode)


def encode(image, kind="PNG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png_chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_header(width, height):
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def png_bomb(width, height):
    """A few kilobytes that unpack to width x height x 3."""
    packer = zlib.compressobj(9)
    row = b"\0" * (1 + 3 * width)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return png_header(width, height) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def good():
    base = picture(1)
    return {
        "jpeg": encode(base, "JPEG"), "png": encode(base), "webp": encode(base, "WEBP"), "gif": encode(base, "GIF"),
        "bmp": encode(base, "BMP"), "progressive": encode(base, "JPEG", progressive=True),
        "cmyk": encode(base.convert("CMYK"), "JPEG"), "grey": encode(base.convert("L")),
        "alpha": encode(base.convert("RGBA")), "one bit": encode(base.convert("1")),
        "palette": encode(base.convert("P")), "1x1": encode(picture(2, (1, 1))),
        "1x16384": encode(picture(3, (1, 16384))), "trailing bytes": encode(base, "JPEG") + b"<script>",
        "animation": encode(base, "GIF", save_all=True, append_images=[picture(4)]),
    }


def bad():
    """name -> (bytes, reason)."""
    jpeg, png, webp = (encode(picture(5), kind) for kind in ("JPEG", "PNG", "WEBP"))
    flipped = bytearray(png)
    flipped[len(png) // 2] ^= 0x55
    return {
        "no bytes": (b"", "EMPTY_IMAGE"),
        "text": (b"hello world, not an image", "UNSUPPORTED_FORMAT"),
        "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "UNSUPPORTED_FORMAT"),
        "tiff": (encode(picture(6), "TIFF"), "UNSUPPORTED_FORMAT"),
        "heic": (b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + bytes(64), "UNSUPPORTED_FORMAT"),
        "avif": (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1" + bytes(64), "UNSUPPORTED_FORMAT"),
        "pdf": (b"%PDF-1.7\n" + bytes(64), "UNSUPPORTED_FORMAT"),
        "ico": (encode(picture(7), "ICO"), "UNSUPPORTED_FORMAT"),
        "cut jpeg": (jpeg[: len(jpeg) // 2], "CORRUPT_IMAGE"),
        "cut png": (png[: len(png) // 2], "CORRUPT_IMAGE"),
        "cut webp": (webp[: len(webp) // 2], "CORRUPT_IMAGE"),
        "flipped png": (bytes(flipped), "CORRUPT_IMAGE"),
        "only a jpeg magic": (b"\xff\xd8\xff", "CORRUPT_IMAGE"),
        "only a png magic": (b"\x89PNG\r\n\x1a\n", "CORRUPT_IMAGE"),
        "gif without a frame": (b"GIF89a\x10\0\x10\0\0\0\0;", "CORRUPT_IMAGE"),
        "100,000 x 100,000 png header": (png_header(100000, 100000) + bytes(64), "IMAGE_TOO_LARGE"),
        "41 megapixels": (png_bomb(8200, 5000), "IMAGE_TOO_LARGE"),
        "a side of 16385": (png_bomb(16385, 1), "IMAGE_TOO_LARGE"),
    }
