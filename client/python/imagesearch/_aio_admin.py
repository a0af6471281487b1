"""Collections, aliases, models and operations of AsyncClient: the methods of _admin.py, awaited."""
from __future__ import annotations

import asyncio
from typing import Any, Sequence

from . import _requests
from .v1 import admin_pb2, admin_pb2_grpc, types_pb2


class AsyncAdminCalls:
    """Base of AsyncClient."""

    _admin: admin_pb2_grpc.AdminStub

    async def _call(self, method: Any, request: Any) -> Any:
        raise NotImplementedError

    def _name(self, collection: str | None) -> str:
        raise NotImplementedError

    # ---- Collections

    async def create_collection(self, name: str, *, dimension: int = 0, index: types_pb2.Index | None = None,
                                model: str = "", keep_originals: bool = False, max_images: int = 0,
                                max_bytes: int = 0) -> None:
        request = _requests.create_collection(name, dimension, index, model, keep_originals, max_images, max_bytes)
        await self._call(self._admin.CreateCollection, request)

    async def update_collection(self, name: str, *, quota: tuple[int, int] | None = None,
                                keep_originals: bool | None = None,
                                target_recall: float | None = None) -> types_pb2.Collection:
        request = _requests.update_collection(name, quota, keep_originals, target_recall)
        return (await self._call(self._admin.UpdateCollection, request)).collection

    async def get_collection(self, name: str) -> types_pb2.Collection:
        request = admin_pb2.GetCollectionRequest(collection=name)
        return (await self._call(self._admin.GetCollection, request)).collection

    async def collections(self) -> Sequence[types_pb2.Collection]:
        return (await self._call(self._admin.ListCollections, admin_pb2.ListCollectionsRequest())).collections

    async def delete_collection(self, name: str) -> None:
        await self._call(self._admin.DeleteCollection, admin_pb2.DeleteCollectionRequest(collection=name))

    # ---- Aliases

    async def set_alias(self, alias: str, collection: str) -> None:
        await self._call(self._admin.SetAlias, admin_pb2.SetAliasRequest(alias=alias, collection=collection))

    async def delete_alias(self, alias: str) -> None:
        await self._call(self._admin.DeleteAlias, admin_pb2.DeleteAliasRequest(alias=alias))

    async def aliases(self) -> dict[str, str]:
        reply = await self._call(self._admin.ListAliases, admin_pb2.ListAliasesRequest())
        return {one.alias: one.collection for one in reply.aliases}

    # ---- The server and its models

    async def server_info(self) -> admin_pb2.GetServerInfoResponse:
        return await self._call(self._admin.GetServerInfo, admin_pb2.GetServerInfoRequest())

    async def models(self) -> admin_pb2.ListModelsResponse:
        return await self._call(self._admin.ListModels, admin_pb2.ListModelsRequest())

    async def load_model(self, name: str, *, precision: str = "",
                         check_only: bool = False) -> admin_pb2.LoadModelResponse:
        request = admin_pb2.LoadModelRequest(name=name, precision=precision, check_only=check_only)
        return await self._call(self._admin.LoadModel, request)

    async def unload_model(self, model: str) -> int:
        request = admin_pb2.UnloadModelRequest(model=model)
        return (await self._call(self._admin.UnloadModel, request)).freed_bytes

    # ---- Operations in the background

    async def reembed(self, collection: str | None = None, *, model: str = "",
                      leave_out_missing: bool = False) -> admin_pb2.Operation:
        request = admin_pb2.ReembedRequest(collection=self._name(collection), model=model,
                                           leave_out_missing=leave_out_missing)
        return await self._call(self._admin.Reembed, request)

    async def rollback_reembed(self, collection: str | None = None, *, discard_writes: bool = False) -> None:
        request = admin_pb2.RollbackReembedRequest(collection=self._name(collection), discard_writes=discard_writes)
        await self._call(self._admin.RollbackReembed, request)

    async def finish_reembed(self, collection: str | None = None) -> None:
        request = admin_pb2.FinishReembedRequest(collection=self._name(collection))
        await self._call(self._admin.FinishReembed, request)

    async def backup(self, name: str = "") -> admin_pb2.Operation:
        return await self._call(self._admin.CreateBackup, admin_pb2.CreateBackupRequest(name=name))

    async def compact(self, collection: str = "") -> admin_pb2.Operation:
        return await self._call(self._admin.Compact, admin_pb2.CompactRequest(collection=collection))

    async def operations(self, collection: str = "") -> Sequence[admin_pb2.Operation]:
        request = admin_pb2.ListOperationsRequest(collection=collection)
        return (await self._call(self._admin.ListOperations, request)).operations

    async def operation(self, id: str) -> admin_pb2.Operation:
        return await self._call(self._admin.GetOperation, admin_pb2.GetOperationRequest(id=id))

    async def cancel_operation(self, id: str) -> admin_pb2.Operation:
        return await self._call(self._admin.CancelOperation, admin_pb2.CancelOperationRequest(id=id))

    async def pause_operation(self, id: str) -> admin_pb2.Operation:
        return await self._call(self._admin.PauseOperation, admin_pb2.PauseOperationRequest(id=id))

    async def resume_operation(self, id: str) -> admin_pb2.Operation:
        return await self._call(self._admin.ResumeOperation, admin_pb2.ResumeOperationRequest(id=id))

    async def wait_operation(self, id: str, *, poll: float = 0.5) -> admin_pb2.Operation:
        while True:
            operation = await self.operation(id)
            if operation.HasField("end_time"):
                return operation
            await asyncio.sleep(poll)
