"""What the bulk helpers of both clients share: items, their requests, and the report."""
from __future__ import annotations

import os
import pathlib
import threading
from typing import Any, Callable, Iterable, Mapping, Sized, Union

from . import _errors, _requests
from ._results import IndexReport
from ._terms import ImageLike
from .v1 import imagesearch_pb2 as pb

# A picture, or a mapping with `image` or `vector`, and any of `id`, `metadata`, `expire_time`, `source_uri`.
IndexItem = Union[ImageLike, str, Mapping[str, Any]]


def to_request(item: IndexItem, sequence: int, collection: str, create_only: bool,
               on_duplicate: str) -> pb.UpsertStreamRequest:
    given: dict[str, Any] = {**item} if isinstance(item, Mapping) else {"image": item}
    unknown = set(given) - {"image", "vector", "id", "metadata", "expire_time", "source_uri"}
    if unknown:
        raise ValueError(f"an item has no {sorted(unknown)}")
    metadata = dict(given.get("metadata") or {})
    source = given.get("image")
    if isinstance(source, (str, os.PathLike)):
        metadata.setdefault("path", str(pathlib.Path(source).resolve()))
    return pb.UpsertStreamRequest(
        sequence=sequence, collection=collection, create_only=create_only,
        on_duplicate=_requests.on_duplicate(on_duplicate),
        image=_requests.image(source, given.get("id", ""), given.get("vector"), metadata, given.get("expire_time"),
                              given.get("source_uri", "")))


class Job:
    """Matches acks with items and keeps the report. One thread may ask for requests while another takes acks."""

    def __init__(self, items: Iterable[IndexItem], collection: str, create_only: bool, on_duplicate: str,
                 progress: bool):
        _requests.on_duplicate(on_duplicate)  # an unknown word fails the job, not each item
        self.report = IndexReport()
        self._items = enumerate(items)
        self._lock = threading.Lock()  # of all below, and of the report
        self._collection = collection
        self._create_only = create_only
        self._on_duplicate = on_duplicate
        self._waiting: dict[int, IndexItem] = {}
        self._advance: Callable[[], Any] = lambda: None
        self._close: Callable[[], Any] = lambda: None
        if progress:
            from tqdm.auto import tqdm
            bar = tqdm(total=len(items) if isinstance(items, Sized) else None, unit=" images")
            self._advance, self._close = bar.update, bar.close

    def next_request(self) -> pb.UpsertStreamRequest | None:
        """Skips, and reports, items that can't be read. None at the end."""
        for sequence, item in self._items:
            try:
                request = to_request(item, sequence, self._collection, self._create_only,
                                     self._on_duplicate)
            except Exception as error:  # whatever a file or an image library raises belongs to this item
                with self._lock:
                    self.report.failures.append((item, error))
                    self._advance()
                continue
            with self._lock:
                self._waiting[sequence] = item
            return request
        return None

    def take_ack(self, ack: pb.UpsertStreamResponse) -> None:
        error = _errors.from_item(ack.status)
        with self._lock:
            item = self._waiting.pop(ack.sequence)
            if error is None:
                self.report.skipped += ack.skipped
                self.report.stored += not ack.skipped
            else:
                self.report.failures.append((item, error))
            self._advance()

    def fail_waiting(self, error: Exception) -> None:
        """The stream broke: what has no ack may or may not be stored; sending it again does no harm."""
        with self._lock:
            self.report.failures.extend((item, error) for item in self._waiting.values())
            self._waiting.clear()

    def close(self) -> IndexReport:
        self._close()
        return self.report
