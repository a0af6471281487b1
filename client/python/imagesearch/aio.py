"""The client for asyncio: the methods of Client, awaited. What Client iterates over (`list_images`,
`classify_all`, `find_duplicates`), this one does asynchronously."""
from __future__ import annotations

import asyncio
import datetime
import os
from typing import Any, AsyncIterator, Callable, Iterable, Mapping, Sequence

import grpc

from . import _channel, _errors, _requests, _results
from ._aio_admin import AsyncAdminCalls
from ._bulk import IndexItem, Job
from ._requests import Ranking
from ._results import (Classification, DuplicateGroup, IndexReport, Results, StoredImage, UpdateReport,
                       UpsertOutcome)
from ._terms import ImageLike, TermLike
from .v1 import admin_pb2_grpc, imagesearch_pb2_grpc
from .v1 import imagesearch_pb2 as pb


class AsyncClient(AsyncAdminCalls):
    """As Client; belongs to the event loop that it is made in."""

    def __init__(self, target: str = "127.0.0.1:50051", *, collection: str = "", timeout: float = 30.0,
                 tls: bool | grpc.ChannelCredentials = False, token: str | None = None, priority: str | None = None):
        secure = _channel.credentials(tls)
        self._channel = (grpc.aio.secure_channel(target, secure, _channel.OPTIONS) if secure
                         else grpc.aio.insecure_channel(target, _channel.OPTIONS))
        self._search = imagesearch_pb2_grpc.ImageSearchStub(self._channel)
        self._admin = admin_pb2_grpc.AdminStub(self._channel)
        self._collection = collection
        self._timeout = timeout
        self._metadata = _channel.metadata(token, priority)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._channel.close()

    async def _call(self, method: Any, request: Any) -> Any:
        with _errors.translated():
            return await method(request, timeout=self._timeout, metadata=self._metadata)

    async def search(self, query: TermLike | Sequence[TermLike], *, limit: int = 10, filter: str = "", offset: int = 0,
                     min_score: float | None = None, exact: bool = False, with_metadata: bool = True,
                     with_vector: bool = False, min_version: int = 0, ranking: Ranking | None = None,
                     collection: str | None = None) -> Results:
        request = _requests.search(query, self._name(collection), filter, limit, offset, min_score, exact,
                                   with_metadata, with_vector, min_version, ranking)
        return _results.results(await self._call(self._search.Search, request))

    async def search_many(self, queries: Iterable[TermLike | Sequence[TermLike]], *, limit: int = 10, filter: str = "",
                          with_metadata: bool = True, ranking: Ranking | None = None,
                          collection: str | None = None) -> list[Results | _errors.ImageSearchError]:
        request = pb.SearchBatchRequest(requests=[
            _requests.search(query, self._name(collection), filter, limit, 0, None, False, with_metadata, False, 0,
                             ranking)
            for query in queries])
        reply = await self._call(self._search.SearchBatch, request)
        return [_errors.from_item(result.status) or _results.results(result.response) for result in reply.results]

    async def encode(self, inputs: Iterable[str | ImageLike]) -> list[list[float] | _errors.ImageSearchError]:
        reply = await self._call(self._search.Encode, _requests.encode(inputs))
        return [_errors.from_item(result.status) or list(result.vector.values) for result in reply.results]

    async def upsert(self, image: ImageLike | str | None = None, *, id: str = "",
                     vector: Iterable[float] | None = None, metadata: Mapping[str, Any] | None = None,
                     expire_time: datetime.datetime | None = None, source_uri: str = "", create_only: bool = False,
                     on_duplicate: str = "keep", duplicate_tier: str = "picture",
                     collection: str | None = None) -> UpsertOutcome:
        item = _requests.image(image, id, vector, metadata, expire_time, source_uri)
        request = _requests.upsert(self._name(collection), item, create_only, on_duplicate, duplicate_tier)
        outcome = _results.outcome(await self._call(self._search.Upsert, request))
        if outcome.error is not None:
            raise outcome.error
        return outcome

    async def index(self, items: Iterable[IndexItem], *, create_only: bool = False, on_duplicate: str = "keep",
                    window: int = 64, progress: bool = True, collection: str | None = None) -> IndexReport:
        job = Job(items, self._name(collection), create_only, on_duplicate, progress)
        free = asyncio.Semaphore(window)

        async def requests() -> AsyncIterator[pb.UpsertStreamRequest]:
            while True:
                await free.acquire()
                # Reading and encoding a picture takes a while: not on the event loop.
                request = await asyncio.to_thread(job.next_request)
                if request is None:
                    return
                yield request

        try:
            with _errors.translated():
                async for ack in self._search.UpsertStream(requests(), metadata=self._metadata):
                    job.take_ack(ack)
                    free.release()
        except _errors.ImageSearchError as error:
            job.fail_waiting(error)
            raise
        finally:
            job.close()
        return job.report

    async def get(self, ids: str | Sequence[str], *, with_vector: bool = True, with_original: bool = False,
                  min_version: int = 0, collection: str | None = None) -> list[StoredImage]:
        request = pb.GetRequest(collection=self._name(collection), ids=_requests.id_list(ids),
                                without_vector=not with_vector, with_original=with_original,
                                min_version=min_version)
        reply = await self._call(self._search.Get, request)
        return [_results.stored_image(image) for image in reply.images]

    async def delete(self, ids: str | Sequence[str] = (), *, filter: str = "", collection: str | None = None) -> int:
        request = pb.DeleteRequest(collection=self._name(collection), ids=_requests.id_list(ids),
                                   filter=filter)
        return (await self._call(self._search.Delete, request)).deleted

    async def count(self, filter: str = "", *, ids: str | Sequence[str] = (), min_version: int = 0,
                    collection: str | None = None) -> int:
        request = pb.CountRequest(collection=self._name(collection), ids=_requests.id_list(ids), filter=filter,
                                  min_version=min_version)
        return (await self._call(self._search.Count, request)).count

    async def list_images(self, filter: str = "", *, page_size: int = 100, with_vector: bool = False,
                          collection: str | None = None) -> AsyncIterator[StoredImage]:
        request = pb.ListRequest(collection=self._name(collection), filter=filter, page_size=page_size,
                                 without_vector=not with_vector)
        while True:
            reply = await self._call(self._search.List, request)
            for image in reply.images:
                yield _results.stored_image(image)
            if not reply.next_page_token:
                return
            request.page_token = reply.next_page_token

    async def update_metadata(self, patch: Mapping[str, Any], ids: str | Sequence[str] = (), *, filter: str = "",
                              collection: str | None = None) -> UpdateReport:
        request = _requests.update_metadata(self._name(collection), patch, ids, filter)
        return _results.update_report(await self._call(self._search.UpdateMetadata, request), request.ids)

    async def classify(self, labels: Sequence[str], picture: ImageLike | None = None, *, ids: str | Sequence[str] = (),
                       templates: Sequence[str] = (), top: int = 5, write_field: str = "",
                       collection: str | None = None) -> list[Classification]:
        request = _requests.classify(self._name(collection), labels, picture, ids, templates, top, write_field)
        return _results.classifications(await self._call(self._search.Classify, request))

    async def classify_all(self, labels: Sequence[str], filter: str = "", *, templates: Sequence[str] = (),
                           top: int = 5, write_field: str = "", page_size: int = 100,
                           collection: str | None = None) -> AsyncIterator[Classification]:
        request = _requests.classify_all(self._name(collection), labels, filter, templates, top, write_field,
                                         page_size)
        while True:
            reply = await self._call(self._search.Classify, request)
            for one in _results.classifications(reply):
                yield one
            if not reply.next_page_token:
                return
            request.page_token = reply.next_page_token

    async def find_duplicates(self, tier: str = "picture", *, filter: str = "", min_score: float | None = None,
                              progress: Callable[[int, int], None] | None = None,
                              collection: str | None = None) -> AsyncIterator[DuplicateGroup]:
        request = _requests.find_duplicates(self._name(collection), tier, filter, min_score)
        reader = _results.GroupReader()
        with _errors.translated():
            async for event in self._search.FindDuplicates(request, metadata=self._metadata):
                if event.HasField("progress") and progress is not None:
                    progress(event.progress.examined, event.progress.total)
                group = reader.take(event)
                if group is not None:
                    yield group

    async def export(self, path: str | os.PathLike[str], filter: str = "", *, collection: str | None = None) -> int:
        count = 0
        with open(path, "w", encoding="utf-8") as out:
            async for image in self.list_images(filter, page_size=200, with_vector=True, collection=collection):
                out.write(_results.export_line(image))
                count += 1
        return count

    def _name(self, collection: str | None) -> str:
        return self._collection if collection is None else collection
