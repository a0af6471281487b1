"""The blocking client."""
from __future__ import annotations

import datetime
import os
import threading
from typing import Any, Callable, Iterable, Iterator, Mapping, Sequence

import grpc

from . import _channel, _errors, _requests, _results
from ._admin import AdminCalls
from ._bulk import IndexItem, Job
from ._requests import Ranking
from ._results import (Classification, DuplicateGroup, IndexReport, Results, StoredImage, UpdateReport,
                       UpsertOutcome)
from ._terms import ImageLike, TermLike
from .v1 import admin_pb2_grpc, imagesearch_pb2_grpc
from .v1 import imagesearch_pb2 as pb


class Client(AdminCalls):
    """Thread-safe. `target` is HOST:PORT. Every failed call raises ImageSearchError.

    collection: where calls go that name none. timeout: seconds for each call. tls: True, or credentials of grpc.
    token: an API key. priority: "interactive" or "bulk"; None leaves it to the server.
    """

    def __init__(self, target: str = "127.0.0.1:50051", *, collection: str = "", timeout: float = 30.0,
                 tls: bool | grpc.ChannelCredentials = False, token: str | None = None, priority: str | None = None):
        secure = _channel.credentials(tls)
        self._channel = (grpc.secure_channel(target, secure, _channel.OPTIONS) if secure
                         else grpc.insecure_channel(target, _channel.OPTIONS))
        self._search = imagesearch_pb2_grpc.ImageSearchStub(self._channel)
        self._admin = admin_pb2_grpc.AdminStub(self._channel)
        self._collection = collection
        self._timeout = timeout
        self._metadata = _channel.metadata(token, priority)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    def _call(self, method: Any, request: Any) -> Any:
        with _errors.translated():
            return method(request, timeout=self._timeout, metadata=self._metadata)

    # ---- Searching

    def search(self, query: TermLike | Sequence[TermLike], *, limit: int = 10, filter: str = "", offset: int = 0,
               min_score: float | None = None, exact: bool = False, with_metadata: bool = True,
               with_vector: bool = False, min_version: int = 0, ranking: Ranking | None = None,
               collection: str | None = None) -> Results:
        """The nearest images. `query` is a text (str), a picture (path, bytes, PIL image, uint8 array), a vector
        (array of one dimension), a Term, or a list of those. `filter`: docs/filters.md."""
        request = _requests.search(query, self._name(collection), filter, limit, offset, min_score, exact,
                                   with_metadata, with_vector, min_version, ranking)
        return _results.results(self._call(self._search.Search, request))

    def search_many(self, queries: Iterable[TermLike | Sequence[TermLike]], *, limit: int = 10, filter: str = "",
                    with_metadata: bool = True, ranking: Ranking | None = None,
                    collection: str | None = None) -> list[Results | _errors.ImageSearchError]:
        """Several searches in one call (at most 100); one that fails has its error in its place."""
        request = pb.SearchBatchRequest(requests=[
            _requests.search(query, self._name(collection), filter, limit, 0, None, False, with_metadata, False, 0,
                             ranking)
            for query in queries])
        return [_errors.from_item(result.status) or _results.results(result.response)
                for result in self._call(self._search.SearchBatch, request).results]

    def encode(self, inputs: Iterable[str | ImageLike]) -> list[list[float] | _errors.ImageSearchError]:
        """A vector for each text (str) or picture; one that fails has its error in its place."""
        reply = self._call(self._search.Encode, _requests.encode(inputs))
        return [_errors.from_item(result.status) or list(result.vector.values) for result in reply.results]

    # ---- Storing

    def upsert(self, image: ImageLike | str | None = None, *, id: str = "", vector: Iterable[float] | None = None,
               metadata: Mapping[str, Any] | None = None, expire_time: datetime.datetime | None = None,
               source_uri: str = "", create_only: bool = False, on_duplicate: str = "keep",
               duplicate_tier: str = "picture", collection: str | None = None) -> UpsertOutcome:
        """Stores one image, from a picture or a vector; with neither, updates the metadata of an existing one.
        Without an id it is derived from the picture's bytes. Raises when it was refused. on_duplicate: "keep" stores it
        without looking; "skip" leaves it out when it duplicates another image up to `duplicate_tier` ("bytes",
        "picture", "look-alike"); "report" stores it and names them."""
        item = _requests.image(image, id, vector, metadata, expire_time, source_uri)
        request = _requests.upsert(self._name(collection), item, create_only, on_duplicate, duplicate_tier)
        outcome = _results.outcome(self._call(self._search.Upsert, request))
        if outcome.error is not None:
            raise outcome.error
        return outcome

    def index(self, items: Iterable[IndexItem], *, create_only: bool = False, on_duplicate: str = "keep",
              window: int = 64, progress: bool = True, collection: str | None = None) -> IndexReport:
        """Stores many images over one stream; the server sets the pace. An item is a path, bytes, a PIL image, an
        array, or a mapping with `image` or `vector` and any of `id`, `metadata`, `expire_time`, `source_uri`. Paths are
        remembered as metadata `path`. At most `window` items are in flight. progress: a bar (needs tqdm)."""
        job = Job(items, self._name(collection), create_only, on_duplicate, progress)
        free = threading.Semaphore(window)
        ended = threading.Event()

        def requests() -> Iterator[pb.UpsertStreamRequest]:
            while not ended.is_set():
                if not free.acquire(timeout=0.5):
                    continue
                request = job.next_request()
                if request is None:
                    return
                yield request

        try:
            with _errors.translated():
                for ack in self._search.UpsertStream(requests(), metadata=self._metadata):
                    job.take_ack(ack)
                    free.release()
        except _errors.ImageSearchError as error:
            job.fail_waiting(error)
            raise
        finally:
            ended.set()
            job.close()
        return job.report

    # ---- Stored images

    def get(self, ids: str | Sequence[str], *, with_vector: bool = True, with_original: bool = False,
            min_version: int = 0, collection: str | None = None) -> list[StoredImage]:
        """Those of the ids that exist, in order. with_original: their uploads too, where the collection keeps them."""
        request = pb.GetRequest(collection=self._name(collection), ids=_requests.id_list(ids),
                                without_vector=not with_vector, with_original=with_original,
                                min_version=min_version)
        return [_results.stored_image(image) for image in self._call(self._search.Get, request).images]

    def delete(self, ids: str | Sequence[str] = (), *, filter: str = "", collection: str | None = None) -> int:
        """Deletes by ids or by filter; the number of images that are gone."""
        request = pb.DeleteRequest(collection=self._name(collection), ids=_requests.id_list(ids),
                                   filter=filter)
        return self._call(self._search.Delete, request).deleted

    def count(self, filter: str = "", *, ids: str | Sequence[str] = (), min_version: int = 0,
              collection: str | None = None) -> int:
        """Those of the ids that exist, those that match, or (neither given) everything."""
        request = pb.CountRequest(collection=self._name(collection), ids=_requests.id_list(ids), filter=filter,
                                  min_version=min_version)
        return self._call(self._search.Count, request).count

    def list_images(self, filter: str = "", *, page_size: int = 100, with_vector: bool = False,
                    collection: str | None = None) -> Iterator[StoredImage]:
        """All images that match, by id."""
        request = pb.ListRequest(collection=self._name(collection), filter=filter, page_size=page_size,
                                 without_vector=not with_vector)
        while True:
            reply = self._call(self._search.List, request)
            yield from map(_results.stored_image, reply.images)
            if not reply.next_page_token:
                return
            request.page_token = reply.next_page_token

    def update_metadata(self, patch: Mapping[str, Any], ids: str | Sequence[str] = (), *, filter: str = "",
                        collection: str | None = None) -> UpdateReport:
        """Changes metadata by ids or by filter; vectors stay. `patch` is a JSON merge patch (RFC 7396): None takes a
        key away, a dict is merged into the one there, everything else replaces."""
        request = _requests.update_metadata(self._name(collection), patch, ids, filter)
        return _results.update_report(self._call(self._search.UpdateMetadata, request), request.ids)

    def classify(self, labels: Sequence[str], picture: ImageLike | None = None, *, ids: str | Sequence[str] = (),
                 templates: Sequence[str] = (), top: int = 5, write_field: str = "",
                 collection: str | None = None) -> list[Classification]:
        """The most probable labels of a picture, or of stored images. Each of `templates` holds "{}" for the label.
        write_field: the best label is written to this key of the stored images' metadata."""
        request = _requests.classify(self._name(collection), labels, picture, ids, templates, top, write_field)
        return _results.classifications(self._call(self._search.Classify, request))

    def classify_all(self, labels: Sequence[str], filter: str = "", *, templates: Sequence[str] = (), top: int = 5,
                     write_field: str = "", page_size: int = 100,
                     collection: str | None = None) -> Iterator[Classification]:
        """The same of all images that match, page by page."""
        request = _requests.classify_all(self._name(collection), labels, filter, templates, top, write_field,
                                         page_size)
        while True:
            reply = self._call(self._search.Classify, request)
            for one in _results.classifications(reply):
                yield one
            if not reply.next_page_token:
                return
            request.page_token = reply.next_page_token

    def find_duplicates(self, tier: str = "picture", *, filter: str = "", min_score: float | None = None,
                        progress: Callable[[int, int], None] | None = None,
                        collection: str | None = None) -> Iterator[DuplicateGroup]:
        """Groups of duplicates as the server finds them; no time limit. `tier`: "bytes", "picture" or "look-alike",
        whose cosine is `min_score`. progress: called now and then with the images looked at, and all."""
        request = _requests.find_duplicates(self._name(collection), tier, filter, min_score)
        reader = _results.GroupReader()
        with _errors.translated():
            for event in self._search.FindDuplicates(request, metadata=self._metadata):
                if event.HasField("progress") and progress is not None:
                    progress(event.progress.examined, event.progress.total)
                group = reader.take(event)
                if group is not None:
                    yield group

    def export(self, path: str | os.PathLike[str], filter: str = "", *, collection: str | None = None) -> int:
        """Writes ids, metadata and vectors of all that matches to a file of JSON Lines, as `imagesearch export` does
        (and `imagesearch import` reads); the number of images."""
        count = 0
        with open(path, "w", encoding="utf-8") as out:
            for image in self.list_images(filter, page_size=200, with_vector=True, collection=collection):
                out.write(_results.export_line(image))
                count += 1
        return count

    # ---- Collections, models and operations: _admin.py

    def _name(self, collection: str | None) -> str:
        return self._collection if collection is None else collection
