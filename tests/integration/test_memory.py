"""Messages made to eat memory: refused, and the process stays small."""
import gzip
import threading

import grpc
import pytest
from imagesearch.v1 import imagesearch_pb2 as pb

import pictures


def fails_with(call, *codes):
    with pytest.raises(grpc.RpcError) as error:
        call()
    assert error.value.code() in codes, error.value


def test_compressed_requests_are_refused_before_they_are_inflated(daemon):
    server = daemon().start()
    before = server.rss_mib()
    request = pb.SearchRequest(query=pb.Query(terms=[pb.Term(image=bytes(60 << 20))]))
    assert len(gzip.compress(request.SerializeToString())) < 100_000
    for _ in range(4):
        fails_with(lambda: server.images.Search(request, timeout=60, compression=grpc.Compression.Gzip),
                   grpc.StatusCode.UNIMPLEMENTED)
    assert server.rss_mib("VmHWM") - before < 40
    assert server.ready()


def test_oversize_messages_stay_within_the_quota(daemon):
    server = daemon("--grpc-memory-mb=64").start()
    before = server.rss_mib()
    request = pb.SearchRequest(query=pb.Query(terms=[pb.Term(image=bytes(40 << 20))]))

    def send():
        with server.connect() as channel:
            try:
                channel.unary_unary("/imagesearch.v1.ImageSearch/Search")(request.SerializeToString(), timeout=60)
            except grpc.RpcError as error:
                codes.append(error.code())

    codes = []
    senders = [threading.Thread(target=send) for _ in range(6)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    # Refused for its size, or cut because the quota is used up.
    assert len(codes) == 6 and set(codes) <= {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE,
                                              grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN}, codes
    assert server.rss_mib("VmHWM") - before < 64 + 100
    assert server.ready()


def test_image_bombs_in_parallel_stay_small(daemon):
    server = daemon().start()
    server.images.Encode(pb.EncodeRequest(inputs=[pb.EncodeInput(image=pictures.good()["jpeg"])]), timeout=60)
    before = server.rss_mib()
    bombs = [content for content, reason in pictures.bad().values() if reason == "IMAGE_TOO_LARGE"]
    for _ in range(20):
        reply = server.images.Encode(pb.EncodeRequest(inputs=[pb.EncodeInput(image=b) for b in bombs]), timeout=60)
        assert {r.status.reason for r in reply.results} == {"IMAGE_TOO_LARGE"}
    assert server.rss_mib("VmHWM") - before < 64
