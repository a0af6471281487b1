"""The blocking client."""
from __future__ import annotations

import datetime
import threading
from typing import Any, Iterable, Iterator, Mapping, Sequence

import grpc

from . import _channel, _errors, _requests, _results
from ._bulk import IndexItem, Job
from ._requests import Ranking
from ._results import IndexReport, Results, StoredImage, UpsertOutcome
from ._terms import ImageLike, TermLike
from .v1 import admin_pb2, admin_pb2_grpc, imagesearch_pb2_grpc, types_pb2
from .v1 import imagesearch_pb2 as pb


class Client:
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
                    with_metadata: bool = True,
                    collection: str | None = None) -> list[Results | _errors.ImageSearchError]:
        """Several searches in one call (at most 100); one that fails has its error in its place."""
        request = pb.SearchBatchRequest(requests=[
            _requests.search(query, self._name(collection), filter, limit, 0, None, False, with_metadata, False, 0)
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
               create_only: bool = False, collection: str | None = None) -> UpsertOutcome:
        """Stores one image, from a picture or a vector; with neither, updates the metadata of an existing one.
        Without an id it is derived from the picture's bytes. Raises when it was not stored."""
        item = _requests.image(image, id, vector, metadata, expire_time)
        request = pb.UpsertRequest(collection=self._name(collection), images=[item], create_only=create_only)
        outcome = _results.outcome(self._call(self._search.Upsert, request).results[0])
        if outcome.error is not None:
            raise outcome.error
        return outcome

    def index(self, items: Iterable[IndexItem], *, create_only: bool = False, window: int = 64,
              progress: bool = True, collection: str | None = None) -> IndexReport:
        """Stores many images over one stream; the server sets the pace. An item is a path, bytes, a PIL image, an
        array, or a mapping with `image` or `vector` and any of `id`, `metadata`, `expire_time`. Paths are remembered
        as metadata `path`. At most `window` items are in flight. progress: a bar (needs tqdm)."""
        job = Job(items, self._name(collection), create_only, progress)
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

    def get(self, ids: str | Sequence[str], *, with_vector: bool = True,
            collection: str | None = None) -> list[StoredImage]:
        """Those of the ids that exist, in order."""
        request = pb.GetRequest(collection=self._name(collection), ids=[ids] if isinstance(ids, str) else ids,
                                without_vector=not with_vector)
        return [_results.stored_image(image) for image in self._call(self._search.Get, request).images]

    def delete(self, ids: str | Sequence[str] = (), *, filter: str = "", collection: str | None = None) -> int:
        """Deletes by ids or by filter; the number of images that are gone."""
        request = pb.DeleteRequest(collection=self._name(collection), ids=[ids] if isinstance(ids, str) else ids,
                                   filter=filter)
        return self._call(self._search.Delete, request).deleted

    def count(self, filter: str = "", *, collection: str | None = None) -> int:
        return self._call(self._search.Count, pb.CountRequest(collection=self._name(collection), filter=filter)).count

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

    # ---- Collections and the server

    def create_collection(self, name: str, *, dimension: int = 0, index: types_pb2.Index | None = None) -> None:
        """For the server's model, or with `dimension` for ready vectors."""
        collection = types_pb2.Collection(name=name, dimension=dimension, index=index)
        self._call(self._admin.CreateCollection, admin_pb2.CreateCollectionRequest(collection=collection))

    def collections(self) -> Sequence[types_pb2.Collection]:
        return self._call(self._admin.ListCollections, admin_pb2.ListCollectionsRequest()).collections

    def delete_collection(self, name: str) -> None:
        self._call(self._admin.DeleteCollection, admin_pb2.DeleteCollectionRequest(collection=name))

    def server_info(self) -> admin_pb2.GetServerInfoResponse:
        return self._call(self._admin.GetServerInfo, admin_pb2.GetServerInfoRequest())

    def _name(self, collection: str | None) -> str:
        return self._collection if collection is None else collection
