"""Requests from Python values; shared by both clients."""
from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any, Iterable, Mapping, Sequence

from google.protobuf import struct_pb2

from ._terms import ImageLike, TermLike, encoded, to_query
from .v1 import admin_pb2, types_pb2
from .v1 import imagesearch_pb2 as pb

# How alike duplicates are: the same upload; the same picture, resized, recompressed or cropped a little; a look-alike.
_TIERS = {"bytes": types_pb2.SAME_BYTES, "picture": types_pb2.SAME_PICTURE, "look-alike": types_pb2.LOOK_ALIKE}
_ON_DUPLICATE = {"keep": pb.ON_DUPLICATE_KEEP, "skip": pb.ON_DUPLICATE_SKIP, "report": pb.ON_DUPLICATE_REPORT}


def _of(names: Mapping[str, Any], name: str) -> Any:
    if name not in names:
        raise ValueError(f"{name!r} is none of {', '.join(names)}")
    return names[name]


def tier(name: str) -> Any:
    return _of(_TIERS, name)


def on_duplicate(name: str) -> Any:
    return _of(_ON_DUPLICATE, name)


def id_list(ids: str | Sequence[str]) -> Sequence[str]:
    return [ids] if isinstance(ids, str) else ids


def _plain(value: Any) -> Any:
    """Dates become RFC 3339 text, which filters compare as times; tuples and sets become lists."""
    if isinstance(value, datetime.datetime):
        return (value if value.tzinfo else value.astimezone()).isoformat()
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a numpy scalar
        return value.item()
    return value


def to_struct(metadata: Mapping[str, Any]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(_plain(metadata))
    return struct


def image(source: ImageLike | str | None, id: str, vector: Iterable[float] | None, metadata: Mapping[str, Any] | None,
          expire_time: datetime.datetime | None, source_uri: str = "") -> pb.Image:
    if source is not None and vector is not None:
        raise ValueError("an image is stored from a picture or from a vector, not from both")
    message = pb.Image(id=id, source_uri=source_uri)
    if source is not None:
        message.content = encoded(source)
    elif vector is not None:
        message.vector.values.extend(float(value) for value in vector)
    if metadata is not None:
        message.metadata.CopyFrom(to_struct(metadata))
    if expire_time is not None:
        message.expire_time.FromDatetime(expire_time)
    return message


@dataclass(frozen=True)
class Ranking:
    """What a search does beyond the nearest images; docs/ranking.md tells each. `per_group` hits of each value of
    `group_by`; `keywords` are looked for in `keyword_fields` of the metadata (none: in all)."""

    relevance: bool = False
    min_relevance: float | None = None
    auto_cut: bool = False
    group_by: str = ""
    per_group: int = 1
    diversity: float | None = None
    keywords: str = ""
    keyword_fields: Sequence[str] = ()
    keyword_weight: float = 1.0
    facets: Sequence[str] = ()
    collapse: str = ""  # fold duplicates under the best of them: "bytes", "picture" or "look-alike"

    def apply(self, request: pb.SearchRequest) -> None:
        request.with_relevance = self.relevance
        request.auto_cut = self.auto_cut
        if self.min_relevance is not None:
            request.min_relevance = self.min_relevance
        if self.group_by:
            request.group_by.field = self.group_by
            request.group_by.limit = self.per_group
        if self.diversity is not None:
            request.diversity = self.diversity
        if self.keywords:
            request.keywords.text = self.keywords
            request.keywords.fields.extend(self.keyword_fields)
            request.keywords.weight = self.keyword_weight
        for field in self.facets:
            request.facets.add(field=field)
        if self.collapse:
            request.collapse_duplicates = tier(self.collapse)


def search(query: TermLike | Sequence[TermLike], collection: str, filter: str, limit: int, offset: int,
           min_score: float | None, exact: bool, with_metadata: bool, with_vector: bool,
           min_version: int, ranking: Ranking | None = None) -> pb.SearchRequest:
    request = pb.SearchRequest(collection=collection, query=to_query(query), filter=filter, limit=limit, offset=offset,
                               min_score=min_score, exact=exact, with_metadata=with_metadata,
                               with_vector=with_vector, min_version=min_version)
    if ranking is not None:
        ranking.apply(request)
    return request


def encode(inputs: Iterable[str | ImageLike]) -> pb.EncodeRequest:
    request = pb.EncodeRequest()
    for value in inputs:
        if isinstance(value, str):
            request.inputs.add(text=value)
        else:
            request.inputs.add(image=encoded(value))
    return request


def upsert(collection: str, item: pb.Image, create_only: bool, duplicates: str,
           duplicate_tier: str) -> pb.UpsertRequest:
    return pb.UpsertRequest(collection=collection, images=[item], create_only=create_only,
                            on_duplicate=on_duplicate(duplicates), duplicate_tier=tier(duplicate_tier))


def update_metadata(collection: str, patch: Mapping[str, Any], ids: str | Sequence[str],
                    filter: str) -> pb.UpdateMetadataRequest:
    return pb.UpdateMetadataRequest(collection=collection, ids=id_list(ids), filter=filter,
                                    merge_patch=to_struct(patch))


def classify(collection: str, labels: Sequence[str], picture: ImageLike | None, ids: str | Sequence[str],
             templates: Sequence[str], top: int, write_field: str) -> pb.ClassifyRequest:
    if (picture is None) == (len(ids) == 0):
        raise ValueError("classify takes a picture or ids, one of the two")
    return pb.ClassifyRequest(collection=collection, image=encoded(picture) if picture is not None else b"",
                              ids=id_list(ids), labels=labels, templates=templates, top=top, write_field=write_field)


def classify_all(collection: str, labels: Sequence[str], filter: str, templates: Sequence[str], top: int,
                 write_field: str, page_size: int) -> pb.ClassifyRequest:
    return pb.ClassifyRequest(collection=collection, by_filter=True, filter=filter, labels=labels, templates=templates,
                              top=top, write_field=write_field, page_size=page_size)


def find_duplicates(collection: str, duplicate_tier: str, filter: str,
                    min_score: float | None) -> pb.FindDuplicatesRequest:
    return pb.FindDuplicatesRequest(collection=collection, filter=filter, tier=tier(duplicate_tier),
                                    min_score=min_score)


def create_collection(name: str, dimension: int, index: types_pb2.Index | None, model: str, keep_originals: bool,
                      max_images: int, max_bytes: int) -> admin_pb2.CreateCollectionRequest:
    collection = types_pb2.Collection(name=name, dimension=dimension, index=index, model_id=model,
                                      keep_originals=keep_originals)
    if max_images or max_bytes:
        collection.quota.max_images = max_images
        collection.quota.max_bytes = max_bytes
    return admin_pb2.CreateCollectionRequest(collection=collection)


def update_collection(name: str, quota: tuple[int, int] | None, keep_originals: bool | None,
                      target_recall: float | None) -> admin_pb2.UpdateCollectionRequest:
    request = admin_pb2.UpdateCollectionRequest(collection=name, keep_originals=keep_originals,
                                                target_recall=target_recall)
    if quota is not None:
        request.quota.max_images, request.quota.max_bytes = quota
        request.quota.SetInParent()  # two zeros lift the limits
    return request
