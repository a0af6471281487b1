"""What can be searched with, and how pictures become bytes."""
from __future__ import annotations

import io
import os
import pathlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Iterable, Sequence, Union

from .v1 import imagesearch_pb2 as pb

if TYPE_CHECKING:
    import numpy
    import PIL.Image

# A file, an encoded picture, a PIL image, or an array of uint8: (height, width), (height, width, 3) or (..., 4).
ImageLike = Union["os.PathLike[str]", bytes, "PIL.Image.Image", "numpy.ndarray"]


@dataclass(frozen=True)
class Term:
    """One term of a query: exactly one of text, image, id and vector, and its weight (negative pushes away)."""

    text: str | None = None
    image: ImageLike | None = None
    id: str | None = None
    vector: Iterable[float] | None = None
    weight: float = 1.0
    crop: tuple[float, float, float, float] | None = None  # of an image: x, y, width, height, as fractions of it

    def __post_init__(self) -> None:
        given = [value for value in (self.text, self.image, self.id, self.vector) if value is not None]
        if len(given) != 1:
            raise ValueError("a Term takes exactly one of text, image, id and vector")


# A str is a text, a path or picture is an image, a one-dimensional array of floats is a vector.
TermLike = Union[Term, str, ImageLike]


def _is_array(value: Any) -> bool:
    return hasattr(value, "__array_interface__") and hasattr(value, "ndim")


def encoded(source: ImageLike | str) -> bytes:
    """The bytes of an encoded picture; a str is a file name here. PIL images and arrays become PNG, so that nothing is
    lost."""
    image: Any = source
    if isinstance(image, (bytes, bytearray, memoryview)):
        return bytes(image)
    if isinstance(image, (str, os.PathLike)):
        return pathlib.Path(image).read_bytes()
    if _is_array(image):
        if image.dtype != "uint8":
            raise TypeError(f"a picture array holds uint8, not {image.dtype}; vectors have one dimension")
        from PIL import Image
        image = Image.fromarray(image)
    if hasattr(image, "save") and hasattr(image, "convert"):
        if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
            image = image.convert("RGB")
        out = io.BytesIO()
        image.save(out, "PNG", compress_level=1)
        return out.getvalue()
    raise TypeError(f"can't make a picture of a {type(image).__name__}")


def to_term(value: TermLike) -> Term:
    if isinstance(value, Term):
        return value
    if isinstance(value, str):
        return Term(text=value)
    anything: Any = value
    if _is_array(anything) and anything.ndim == 1:
        return Term(vector=anything)
    return Term(image=anything)


def to_query(query: TermLike | Sequence[TermLike]) -> pb.Query:
    values: Sequence[Any] = query if isinstance(query, (list, tuple)) else [query]
    message = pb.Query()
    for term in map(to_term, values):
        out = message.terms.add(weight=term.weight)
        if term.crop is not None:
            out.crop.x, out.crop.y, out.crop.width, out.crop.height = term.crop
        if term.text is not None:
            out.text = term.text
        elif term.id is not None:
            out.id = term.id
        elif term.vector is not None:
            out.vector.values.extend(float(value) for value in term.vector)
        elif term.image is not None:
            out.image = encoded(term.image)
    return message
