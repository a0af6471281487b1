"""Collections, aliases, models and operations: the part of Client that manages a server."""
from __future__ import annotations

import time
from typing import Any, Sequence

from . import _requests
from .v1 import admin_pb2, admin_pb2_grpc, types_pb2


class AdminCalls:
    """Base of Client."""

    _admin: admin_pb2_grpc.AdminStub

    def _call(self, method: Any, request: Any) -> Any:
        raise NotImplementedError

    def _name(self, collection: str | None) -> str:
        raise NotImplementedError

    # ---- Collections

    def create_collection(self, name: str, *, dimension: int = 0, index: types_pb2.Index | None = None,
                          model: str = "", keep_originals: bool = False, max_images: int = 0,
                          max_bytes: int = 0) -> None:
        """For the server's model or `model`, or with `dimension` for ready vectors. A limit of 0 is none."""
        request = _requests.create_collection(name, dimension, index, model, keep_originals, max_images, max_bytes)
        self._call(self._admin.CreateCollection, request)

    def update_collection(self, name: str, *, quota: tuple[int, int] | None = None,
                          keep_originals: bool | None = None,
                          target_recall: float | None = None) -> types_pb2.Collection:
        """Changes settings; None leaves one as it is. quota: the most images and bytes, 0 for no limit."""
        request = _requests.update_collection(name, quota, keep_originals, target_recall)
        return self._call(self._admin.UpdateCollection, request).collection

    def get_collection(self, name: str) -> types_pb2.Collection:
        request = admin_pb2.GetCollectionRequest(collection=name)
        return self._call(self._admin.GetCollection, request).collection

    def collections(self) -> Sequence[types_pb2.Collection]:
        return self._call(self._admin.ListCollections, admin_pb2.ListCollectionsRequest()).collections

    def delete_collection(self, name: str) -> None:
        self._call(self._admin.DeleteCollection, admin_pb2.DeleteCollectionRequest(collection=name))

    # ---- Aliases

    def set_alias(self, alias: str, collection: str) -> None:
        """Makes `alias` stand for the collection, or switches it there at once."""
        self._call(self._admin.SetAlias, admin_pb2.SetAliasRequest(alias=alias, collection=collection))

    def delete_alias(self, alias: str) -> None:
        self._call(self._admin.DeleteAlias, admin_pb2.DeleteAliasRequest(alias=alias))

    def aliases(self) -> dict[str, str]:
        """The collection of each alias."""
        reply = self._call(self._admin.ListAliases, admin_pb2.ListAliasesRequest())
        return {one.alias: one.collection for one in reply.aliases}

    # ---- The server and its models

    def server_info(self) -> admin_pb2.GetServerInfoResponse:
        return self._call(self._admin.GetServerInfo, admin_pb2.GetServerInfoRequest())

    def models(self) -> admin_pb2.ListModelsResponse:
        """Models that are loaded, and those that could be."""
        return self._call(self._admin.ListModels, admin_pb2.ListModelsRequest())

    def load_model(self, name: str, *, precision: str = "", check_only: bool = False) -> admin_pb2.LoadModelResponse:
        """Loads a folder of the server's --models-dir. check_only: tells the memory that it would take."""
        request = admin_pb2.LoadModelRequest(name=name, precision=precision, check_only=check_only)
        return self._call(self._admin.LoadModel, request)

    def unload_model(self, model: str) -> int:
        """The bytes that this gave back."""
        request = admin_pb2.UnloadModelRequest(model=model)
        return self._call(self._admin.UnloadModel, request).freed_bytes

    # ---- Operations in the background

    def reembed(self, collection: str | None = None, *, model: str = "",
                leave_out_missing: bool = False) -> admin_pb2.Operation:
        """Starts to encode the collection anew with another model; it serves as before, and switches at the end."""
        request = admin_pb2.ReembedRequest(collection=self._name(collection), model=model,
                                           leave_out_missing=leave_out_missing)
        return self._call(self._admin.Reembed, request)

    def rollback_reembed(self, collection: str | None = None, *, discard_writes: bool = False) -> None:
        """Lets the vectors of before the switch serve again."""
        request = admin_pb2.RollbackReembedRequest(collection=self._name(collection), discard_writes=discard_writes)
        self._call(self._admin.RollbackReembed, request)

    def finish_reembed(self, collection: str | None = None) -> None:
        """Drops the vectors of before the switch."""
        request = admin_pb2.FinishReembedRequest(collection=self._name(collection))
        self._call(self._admin.FinishReembed, request)

    def backup(self, name: str = "") -> admin_pb2.Operation:
        """Starts a backup of everything into a new folder of the server's --backup-dir."""
        return self._call(self._admin.CreateBackup, admin_pb2.CreateBackupRequest(name=name))

    def compact(self, collection: str = "") -> admin_pb2.Operation:
        """Starts to build the best index of a collection (none: of all) and to give space back."""
        return self._call(self._admin.Compact, admin_pb2.CompactRequest(collection=collection))

    def operations(self, collection: str = "") -> Sequence[admin_pb2.Operation]:
        """What runs and what has ended, newest first; of one collection, or of all."""
        request = admin_pb2.ListOperationsRequest(collection=collection)
        return self._call(self._admin.ListOperations, request).operations

    def operation(self, id: str) -> admin_pb2.Operation:
        return self._call(self._admin.GetOperation, admin_pb2.GetOperationRequest(id=id))

    def cancel_operation(self, id: str) -> admin_pb2.Operation:
        return self._call(self._admin.CancelOperation, admin_pb2.CancelOperationRequest(id=id))

    def pause_operation(self, id: str) -> admin_pb2.Operation:
        return self._call(self._admin.PauseOperation, admin_pb2.PauseOperationRequest(id=id))

    def resume_operation(self, id: str) -> admin_pb2.Operation:
        return self._call(self._admin.ResumeOperation, admin_pb2.ResumeOperationRequest(id=id))

    def wait_operation(self, id: str, *, poll: float = 0.5) -> admin_pb2.Operation:
        """Returns when it has ended, however: `state` and `error` tell. Waits through a pause, too."""
        while True:
            operation = self.operation(id)
            if operation.HasField("end_time"):
                return operation
            time.sleep(poll)
