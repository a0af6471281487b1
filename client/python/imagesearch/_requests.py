"""Requests from Python values; shared by both clients."""
from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any, Iterable, Mapping, Sequence

from google.protobuf import struct_pb2

from ._terms import ImageLike, TermLike, encoded, to_query
from .v1 import imagesearch_pb2 as pb


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
          expire_time: datetime.datetime | None) -> pb.Image:
    if source is not None and vector is not None:
        raise ValueError("an image is stored from a picture or from a vector, not from both")
    message = pb.Image(id=id)
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
