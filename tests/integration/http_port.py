"""The HTTP port with the look of gRPC stubs, so that a test can go through either: JSON bodies, and errors as exceptions
with code() and trailing_metadata()."""
import json
import re
import urllib.error
import urllib.request

import grpc
import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2

CODES = {code.value[0]: code for code in grpc.StatusCode}
HTTP_STATUS = {"INVALID_ARGUMENT": 400, "NOT_FOUND": 404, "ALREADY_EXISTS": 409, "FAILED_PRECONDITION": 400,
               "RESOURCE_EXHAUSTED": 429, "UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403, "OUT_OF_RANGE": 400}


class HttpError(grpc.RpcError):
    def __init__(self, http_status, body):
        super().__init__(body.decode(errors="replace"))
        reply = json.loads(body)
        name = CODES[reply["code"]].name
        assert HTTP_STATUS[name] == http_status, (name, http_status)
        self._code = CODES[reply["code"]]
        status = status_pb2.Status(code=reply["code"], message=reply["message"])
        for detail in reply["details"]:
            if detail["@type"].endswith("google.rpc.ErrorInfo"):
                info = error_details_pb2.ErrorInfo(reason=detail["reason"], domain=detail["domain"])
                status.details.add().Pack(info)
        self._details = status.SerializeToString()

    def code(self):
        return self._code

    def trailing_metadata(self):
        return (("grpc-status-details-bin", self._details),)


class Stub:
    """POST /v1/method-name for Method; what HTTP does not have is gRPC's."""

    def __init__(self, base, stub, service):
        self._base, self._stub, self._service = base, stub, service

    def __getattr__(self, name):
        method = self._service.methods_by_name[name]
        if method.client_streaming or method.server_streaming:
            return getattr(self._stub, name)
        path = re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()
        from google.protobuf import message_factory
        reply_type = message_factory.GetMessageClass(method.output_type)

        def call(request, timeout=None):
            try:
                body = json_format.MessageToJson(request).encode()
                said = json_format.Parse(body, type(request)()).SerializeToString(deterministic=True)
            except (json_format.Error, ValueError, OverflowError) as error:
                pytest.skip(f"JSON can't say it: {error}")
            if said != request.SerializeToString(deterministic=True):
                pytest.skip("JSON can't say it: it comes out as something else")
            http = urllib.request.Request(f"{self._base}/v1/{path}", body, {"Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(http, timeout=timeout) as reply:
                    return json_format.Parse(reply.read(), reply_type())
            except urllib.error.HTTPError as error:
                raise HttpError(error.code, error.read()) from None
        return call


class HttpServer:
    """A running daemon, through its HTTP port."""

    def __init__(self, daemon):
        from imagesearch.v1 import admin_pb2, imagesearch_pb2
        port = (daemon.folder / "port").read_text().split()[1]
        self.base = f"http://127.0.0.1:{port}"
        self.images = Stub(self.base, daemon.images, imagesearch_pb2.DESCRIPTOR.services_by_name["ImageSearch"])
        self.admin = Stub(self.base, daemon.admin, admin_pb2.DESCRIPTOR.services_by_name["Admin"])

    def form(self, path, parts):
        """(HTTP status, reply) of multipart/form-data; parts: [(name, bytes)]."""
        body = b"".join(b'--x--bound\r\nContent-Disposition: form-data; name="%s"; filename="f"\r\n\r\n%s\r\n'
                        % (name.encode(), content) for name, content in parts) + b"--x--bound--\r\n"
        request = urllib.request.Request(f"{self.base}/v1/{path}", body,
                                         {"Content-Type": "multipart/form-data; boundary=x--bound"})
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, json.loads(reply.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())
