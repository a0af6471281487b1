"""What the service answers, as plain Python values."""
from __future__ import annotations

import base64
import datetime
import html
import io
import json
import pathlib
from dataclasses import dataclass, field
from typing import Any, Iterator, Sequence, overload

from google.protobuf import json_format

from . import _errors
from .v1 import imagesearch_pb2 as pb
from .v1 import types_pb2

THUMBNAIL_SIDE = 180


@dataclass(frozen=True)
class Duplicate:
    """An image that duplicates another."""

    id: str
    tier: str  # the first that holds: "bytes", "picture" or "look-alike"
    score: float  # cosine similarity of the two; in a folded hit, its own score for the query


@dataclass(frozen=True)
class Hit:
    id: str
    score: float  # cosine similarity
    metadata: dict[str, Any] = field(default_factory=dict)
    vector: list[float] | None = None
    relevance: float | None = None  # when asked for
    keyword_score: float | None = None  # where keywords match
    group: Any = None  # with group_by: the value it is grouped by
    duplicates: list[Duplicate] = field(default_factory=list)  # with collapse: the hits folded under this one


@dataclass(frozen=True)
class StoredImage:
    id: str
    metadata: dict[str, Any]
    vector: list[float] | None
    content_hash: str
    expire_time: datetime.datetime | None
    version: int
    source_uri: str = ""
    original: bytes | None = None  # the upload, when asked for and kept


@dataclass(frozen=True)
class UpsertOutcome:
    id: str
    created: bool
    error: _errors.ImageSearchError | None
    skipped: bool = False  # with on_duplicate="skip": a duplicate, not stored
    duplicates: list[Duplicate] = field(default_factory=list)  # what it duplicates, the surest first
    version: int = 0  # give it as min_version to read this write on any replica


@dataclass(frozen=True)
class UpdateReport:
    matched: int  # images that were found
    updated: int  # of those, images whose metadata became others
    missing: list[str]  # ids without an image
    version: int


@dataclass(frozen=True)
class Label:
    label: str
    probability: float  # softmax over all labels
    score: float  # cosine similarity


@dataclass(frozen=True)
class Classification:
    """The most probable labels of one image, or why it has none."""

    id: str  # empty for an uploaded picture
    labels: list[Label]
    error: _errors.ImageSearchError | None = None


@dataclass(frozen=True)
class DuplicateGroup:
    """Images that are duplicates of each other; the first is the one whose content was stored first."""

    number: int
    images: list[Duplicate]


@dataclass
class IndexReport:
    """The end of a bulk job: stored + skipped + len(failures) is the number of images seen."""

    stored: int = 0
    skipped: int = 0  # duplicates, with on_duplicate="skip"
    failures: list[tuple[Any, Exception]] = field(default_factory=list)  # (item as it was given, why)


def _thumbnail(hit: Hit) -> str | None:
    """A data: address of the picture when `path` in the metadata is a file here and Pillow is installed."""
    path = hit.metadata.get("path")
    if not isinstance(path, str) or not pathlib.Path(path).is_file():
        return None
    try:
        from PIL import Image
        with Image.open(path) as image:
            image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
            out = io.BytesIO()
            image.convert("RGB").save(out, "JPEG", quality=80)
    except (ImportError, OSError, ValueError):
        return None
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def _card(hit: Hit) -> str:
    title = next((str(hit.metadata[key]) for key in ("title", "name", "path") if hit.metadata.get(key)), hit.id)
    url = _thumbnail(hit)
    picture = (f'<img src="{url}" alt="{html.escape(title)}" style="max-width:100%;max-height:100%">' if url
               else f'<span style="padding:8px;overflow-wrap:anywhere">{html.escape(title)}</span>')
    return (f'<figure style="margin:0;width:{THUMBNAIL_SIDE}px">'
            f'<div style="height:{THUMBNAIL_SIDE}px;display:flex;align-items:center;justify-content:center;'
            f'background:rgba(128,128,128,.15);border-radius:6px;overflow:hidden">{picture}</div>'
            f'<figcaption style="font-size:12px;overflow-wrap:anywhere">{hit.score:.3f} {html.escape(hit.id)}'
            '</figcaption></figure>')


class Results(Sequence[Hit]):
    """The hits, best first. A notebook shows them as a grid of pictures where their files are on this machine."""

    def __init__(self, hits: list[Hit], version: int, truncated_text: bool,
                 facets: dict[str, list[tuple[Any, int]]] | None = None):
        self.hits = hits
        self.version = version  # of the data that was searched
        self.truncated_text = truncated_text  # a text was longer than the model reads
        self.facets = facets or {}  # by field: (value, images), most frequent first

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> list[Hit]: ...
    def __getitem__(self, index: int | slice) -> Hit | list[Hit]:
        return self.hits[index]

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __repr__(self) -> str:
        return f"Results({self.hits!r})"

    def _repr_html_(self) -> str:
        cards = "".join(map(_card, self.hits)) or "no picture matches"
        return f'<div style="display:flex;flex-wrap:wrap;gap:12px">{cards}</div>'


def to_dict(metadata: Any) -> dict[str, Any]:
    return json_format.MessageToDict(metadata)


def _vector(owner: Any) -> list[float] | None:
    return list(owner.vector.values) if owner.HasField("vector") else None


_TIER_NAMES = {types_pb2.SAME_BYTES: "bytes", types_pb2.SAME_PICTURE: "picture", types_pb2.LOOK_ALIKE: "look-alike"}


def duplicate(hit: pb.DuplicateHit) -> Duplicate:
    return Duplicate(hit.id, _TIER_NAMES.get(hit.tier, ""), hit.score)


def results(reply: pb.SearchResponse) -> Results:
    hits = [Hit(hit.id, hit.score, to_dict(hit.metadata), _vector(hit),
                hit.relevance if hit.HasField("relevance") else None,
                hit.keyword_score if hit.HasField("keyword_score") else None,
                json_format.MessageToDict(hit.group) if hit.HasField("group") else None,
                [duplicate(folded) for folded in hit.duplicates]) for hit in reply.hits]
    facets = {facet.field: [(json_format.MessageToDict(value.value), value.count) for value in facet.values]
              for facet in reply.facets}
    return Results(hits, reply.version, reply.truncated_text, facets)


def stored_image(image: types_pb2.StoredImage) -> StoredImage:
    expires = image.expire_time.ToDatetime(datetime.timezone.utc) if image.HasField("expire_time") else None
    return StoredImage(image.id, to_dict(image.metadata), _vector(image), image.content_hash, expires, image.version,
                       image.source_uri, image.original or None)


def outcome(reply: pb.UpsertResponse) -> UpsertOutcome:
    result = reply.results[0]
    return UpsertOutcome(result.id, result.created, _errors.from_item(result.status), result.skipped,
                         [duplicate(other) for other in result.duplicates], reply.version)


def update_report(reply: pb.UpdateMetadataResponse, ids: Sequence[str]) -> UpdateReport:
    missing = [id for id, status in zip(ids, reply.results) if status.code]
    return UpdateReport(reply.matched, reply.updated, missing, reply.version)


def classifications(reply: pb.ClassifyResponse) -> list[Classification]:
    return [Classification(one.id, [Label(label.label, label.probability, label.score) for label in one.labels],
                           _errors.from_item(one.status)) for one in reply.results]


class GroupReader:
    """Puts groups of duplicates together that come in several messages."""

    def __init__(self) -> None:
        self._images: list[Duplicate] = []

    def take(self, event: pb.FindDuplicatesResponse) -> DuplicateGroup | None:
        """The group that this message completes."""
        if not event.HasField("group"):
            return None
        self._images += [duplicate(image) for image in event.group.images]
        if len(self._images) < event.group.size:
            return None
        images, self._images = self._images, []
        return DuplicateGroup(event.group.number, images)


def export_line(image: StoredImage) -> str:
    line: dict[str, Any] = {"id": image.id, "metadata": image.metadata, "vector": image.vector}
    if image.expire_time is not None:
        line["expire_time"] = image.expire_time.isoformat().replace("+00:00", "Z")
    if image.content_hash:
        line["content_hash"] = image.content_hash
    if image.source_uri:
        line["source_uri"] = image.source_uri
    line["version"] = image.version
    return json.dumps(line, ensure_ascii=False) + "\n"
