"""Errors of the service as one exception."""
from __future__ import annotations

import contextlib
from typing import Iterator

import grpc
from google.rpc import error_details_pb2, status_pb2

from .v1 import types_pb2


class ImageSearchError(Exception):
    """A call, or one item of a batch, failed.

    code: the canonical code, such as grpc.StatusCode.NOT_FOUND.
    reason: a stable word such as "CORRUPT_IMAGE"; docs/operations.md lists them.
    retry_after: seconds after which the server advises to try again, or None.
    """

    def __init__(self, code: grpc.StatusCode, reason: str, message: str, retry_after: float | None = None):
        super().__init__(f"{code.name} {reason}: {message}" if reason else f"{code.name}: {message}")
        self.code = code
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


def from_rpc(error: grpc.RpcError) -> ImageSearchError:
    reason, retry_after = "", None
    for key, value in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin":
            continue
        for detail in status_pb2.Status.FromString(value).details:
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                info = error_details_pb2.ErrorInfo()
                detail.Unpack(info)
                reason = info.reason
            elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
                retry = error_details_pb2.RetryInfo()
                detail.Unpack(retry)
                retry_after = retry.retry_delay.ToTimedelta().total_seconds()
    return ImageSearchError(error.code(), reason, error.details() or "", retry_after)


def from_item(status: types_pb2.Status) -> ImageSearchError | None:
    """The error of one item of a batch; None when it ended well."""
    if status.code == 0:
        return None
    return ImageSearchError(_BY_NUMBER.get(status.code, grpc.StatusCode.UNKNOWN), status.reason, status.message)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turns grpc.RpcError into ImageSearchError."""
    try:
        yield
    except grpc.RpcError as error:
        raise from_rpc(error) from error
