"""Every row of the table of bad inputs, through every rpc that takes it, over gRPC and over the HTTP port: the right code
and reason, never INTERNAL."""
import math
import time

import grpc
import pytest
from google.protobuf import struct_pb2, timestamp_pb2
from google.rpc import error_details_pb2, status_pb2
from imagesearch.v1 import admin_pb2, imagesearch_pb2 as pb, types_pb2

import http_port
import pictures

INVALID = 3
BAD_IMAGES = pictures.bad()
GOOD_IMAGES = pictures.good()


@pytest.fixture
def over_grpc(shared):
    return shared


@pytest.fixture(params=["grpc", "http"])
def server(shared, request):
    """The same server through either port. UpsertStream is gRPC's alone."""
    return shared if request.param == "grpc" else http_port.HttpServer(shared)


def reason_of(error):
    """(code, reason) of a failed rpc."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    assert info.domain == "imagesearch"
                    return error.code().value[0], info.reason
    return error.code().value[0], None


def outcome(call, request):
    try:
        call(request, timeout=20)
    except grpc.RpcError as error:
        return reason_of(error)
    return 0, ""


def item(status):
    return status.code, status.reason


def through_search(server, term):
    return outcome(server.images.Search, pb.SearchRequest(query=pb.Query(terms=[term])))


def through_search_batch(server, term):
    fine = pb.Term(text="fine")
    reply = server.images.SearchBatch(pb.SearchBatchRequest(requests=[
        pb.SearchRequest(query=pb.Query(terms=[t])) for t in (fine, term, fine)]), timeout=20)
    assert [r.status.code for r in reply.results[::2]] == [0, 0]
    return item(reply.results[1].status)


def through_encode(server, term):
    entry = pb.EncodeInput(text=term.text) if term.HasField("text") else pb.EncodeInput(image=term.image)
    reply = server.images.Encode(pb.EncodeRequest(inputs=[pb.EncodeInput(text="fine"), entry]), timeout=20)
    assert reply.results[0].status.code == 0
    return item(reply.results[1].status)


def through_upsert(server, image, collection=""):
    fine = pb.Image(id="fine", content=GOOD_IMAGES["png"])
    images = [fine, image] if not collection else [image]
    reply = server.images.Upsert(pb.UpsertRequest(collection=collection, images=images), timeout=20)
    if not collection:
        assert reply.results[0].status.code == 0
    return item(reply.results[-1].status)


def through_stream(server, image, collection=""):
    reply = list(server.images.UpsertStream(
        iter([pb.UpsertStreamRequest(sequence=7, collection=collection, image=image)]), timeout=20))
    assert [ack.sequence for ack in reply] == [7]
    return item(reply[0].status)


def through_classify(server, term):
    """As its picture, or as one of its labels."""
    if term.HasField("image"):
        return outcome(server.images.Classify, pb.ClassifyRequest(image=term.image, labels=["a", "b"]))
    return outcome(server.images.Classify, pb.ClassifyRequest(image=GOOD_IMAGES["png"], labels=["other", term.text],
                                                              templates=["{}"]))


TERM_RPCS = [through_search, through_search_batch, through_encode, through_classify]
IMAGE_RPCS = [through_upsert, through_stream]


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_bad_images_are_named_within_a_second(server, name):
    content, reason = BAD_IMAGES[name]
    for rpc in TERM_RPCS:
        start = time.monotonic()
        # A classification without bytes is one without an image.
        expected = "BAD_REQUEST" if rpc is through_classify and not content else reason
        assert rpc(server, pb.Term(image=content)) == (INVALID, expected), rpc.__name__
        assert time.monotonic() - start < 5  # 1 s on an idle machine; the tests share theirs
    for rpc in IMAGE_RPCS:
        assert rpc(server, pb.Image(id="bad", content=content)) == (INVALID, reason), rpc.__name__
    with pytest.raises(grpc.RpcError) as missing:
        server.images.Get(pb.GetRequest(ids=["bad"]), timeout=20)
    assert missing.value.code() == grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("name", GOOD_IMAGES)
def test_good_images_of_every_kind_are_taken(server, name):
    content = GOOD_IMAGES[name]
    for rpc in TERM_RPCS:
        assert rpc(server, pb.Term(image=content)) == (0, ""), rpc.__name__
    for rpc in IMAGE_RPCS:
        assert rpc(server, pb.Image(id="good " + name, content=content)) == (0, ""), rpc.__name__
    hits = server.images.Search(pb.SearchRequest(query=pb.Query(terms=[pb.Term(image=content)]), limit=1), timeout=20).hits
    assert hits[0].score > 0.999


@pytest.mark.parametrize("text, reason", [("", "EMPTY_TEXT"), ("x" * 4097, "TEXT_TOO_LONG"), ("a\0b", "NUL_IN_TEXT")])
def test_bad_texts_are_named(server, text, reason):
    for rpc in TERM_RPCS:
        expected = "BAD_LABELS" if rpc is through_classify and not text else reason
        assert rpc(server, pb.Term(text=text)) == (INVALID, expected), rpc.__name__


@pytest.mark.parametrize("text", ["x" * 4096, "a " * 500, "\U0001F600" * 200, "\u202eabc", "a\u200db", "\u0301", "\ufffd",
                                  "<|endoftext|>", "\t\n", "日本語", "نص عربي"])
def test_odd_texts_are_fine(server, text):
    for rpc in TERM_RPCS:
        assert rpc(server, pb.Term(text=text)) == (0, ""), rpc.__name__


def test_long_texts_are_cut_and_flagged(server):
    long, short = "one two three " * 100, "one two three"
    for text, cut in ((long, True), (short, False)):
        assert server.images.Search(pb.SearchRequest(query=pb.Query(terms=[pb.Term(text=text)])),
                                    timeout=20).truncated_text is cut
        assert server.images.Encode(pb.EncodeRequest(inputs=[pb.EncodeInput(text=text)]),
                                    timeout=20).results[0].truncated_text is cut


def raw(server, method, request):
    """Calls with bytes in place of a message."""
    service, name = method.split("/")
    call = server.channel.unary_unary(f"/imagesearch.v1.{service}/{name}")
    return outcome(call, request)


METHODS = [f"{service.name}/{method.name}"
           for service in (pb.DESCRIPTOR.services_by_name["ImageSearch"], admin_pb2.DESCRIPTOR.services_by_name["Admin"])
           for method in service.methods if not method.server_streaming]


@pytest.mark.parametrize("method", METHODS)
def test_malformed_bytes_are_the_callers_error(over_grpc, method):
    for junk in (b"\xff" * 20, b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x05ab", b"\x0b" * 200):
        assert raw(over_grpc, method, junk) == (INVALID, "BAD_REQUEST")


def test_invalid_utf8_is_the_callers_error(over_grpc):
    def with_bad_text(message):
        data = message.SerializeToString()
        assert data.count(b"MARK") == 1
        return data.replace(b"MARK", b"\xc0\xaf\xff\xfe")

    term = pb.Query(terms=[pb.Term(text="MARK")])
    for method, message in [
        ("ImageSearch/Search", pb.SearchRequest(query=term)),
        ("ImageSearch/SearchBatch", pb.SearchBatchRequest(requests=[pb.SearchRequest(query=term)])),
        ("ImageSearch/Encode", pb.EncodeRequest(inputs=[pb.EncodeInput(text="MARK")])),
        ("ImageSearch/Upsert", pb.UpsertRequest(images=[pb.Image(id="MARK")])),
        ("ImageSearch/Get", pb.GetRequest(ids=["MARK"])),
        ("ImageSearch/Delete", pb.DeleteRequest(ids=["MARK"])),
        ("ImageSearch/Count", pb.CountRequest(filter="MARK")),
        ("ImageSearch/List", pb.ListRequest(filter="MARK")),
        ("Admin/GetCollection", admin_pb2.GetCollectionRequest(collection="MARK")),
    ]:
        assert raw(over_grpc, method, with_bad_text(message)) == (INVALID, "INVALID_UTF8"), method
    call = over_grpc.channel.stream_stream("/imagesearch.v1.ImageSearch/UpsertStream",
                                        response_deserializer=pb.UpsertStreamResponse.FromString)
    bad = with_bad_text(pb.UpsertStreamRequest(sequence=9, image=pb.Image(id="MARK", content=b"x")))
    acks = list(call(iter([bad]), timeout=20))
    assert [(a.sequence, *item(a.status)) for a in acks] == [(9, INVALID, "INVALID_UTF8")]
    with pytest.raises(grpc.RpcError) as error:
        list(call(iter([b"\xff\xff"]), timeout=20))
    assert reason_of(error.value) == (INVALID, "BAD_REQUEST")


def test_messages_nested_too_deep_are_refused(over_grpc):
    value = b""
    for _ in range(150):  # a Struct in a Struct ...: fields{key, value{struct_value}}
        inner = b"\x2a" + varint(len(value)) + value
        entry = b"\x0a\x01k\x12" + varint(len(inner)) + inner
        value = b"\x0a" + varint(len(entry)) + entry
    image = b"\x0a\x01a" + b"\x22" + varint(len(value)) + value
    assert raw(over_grpc, "ImageSearch/Upsert", b"\x12" + varint(len(image)) + image) == (INVALID, "BAD_REQUEST")


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def test_bad_vectors_are_named(server):
    dimension = server.admin.GetServerInfo(admin_pb2.GetServerInfoRequest(), timeout=20).model.dimension
    nan, inf = math.nan, math.inf
    cases = [([], "DIM_MISMATCH"), ([1.0] * (dimension - 1), "DIM_MISMATCH"), ([1.0] * (dimension + 1), "DIM_MISMATCH"),
             ([nan] + [1.0] * (dimension - 1), "NOT_FINITE"), ([1.0] * (dimension - 1) + [-inf], "NOT_FINITE"),
             ([0.0] * dimension, "ZERO_NORM")]
    for values, reason in cases:
        vector = types_pb2.Vector(values=values)
        for rpc in (through_search, through_search_batch):
            assert rpc(server, pb.Term(vector=vector)) == (INVALID, reason)
        for rpc in IMAGE_RPCS:
            assert rpc(server, pb.Image(id="v", vector=vector)) == (INVALID, reason)


def test_vectors_of_any_length_are_normalised(server):
    dimension = server.admin.GetServerInfo(admin_pb2.GetServerInfoRequest(), timeout=20).model.dimension
    for scale in (1e-30, 1e30, 3.4e38):
        values = [scale] + [0.0] * (dimension - 1)
        assert through_upsert(server, pb.Image(id="axis", vector=types_pb2.Vector(values=values))) == (0, "")
        reply = server.images.Search(pb.SearchRequest(
            query=pb.Query(terms=[pb.Term(vector=types_pb2.Vector(values=values))]), limit=1), timeout=20)
        assert reply.hits[0].id == "axis" and abs(reply.hits[0].score - 1) < 1e-5


@pytest.mark.parametrize("change, reason", [
    (dict(limit=0), "BAD_LIMIT"), (dict(limit=-5), "BAD_LIMIT"), (dict(limit=1001), "BAD_LIMIT"),
    (dict(limit=2**31 - 1), "BAD_LIMIT"), (dict(offset=-1), "BAD_OFFSET"), (dict(offset=2**31 - 1), "BAD_OFFSET"),
    (dict(min_score=math.nan), "BAD_MIN_SCORE"), (dict(filter="year >"), "BAD_FILTER"),
    (dict(filter="(" * 20 + "a = 1" + ")" * 20), "BAD_FILTER"),
    (dict(filter=" OR ".join(f"a = {i}" for i in range(300))), "BAD_FILTER"),
    (dict(filter="a = '" + "x" * 9000 + "'"), "FILTER_TOO_LONG"),
    (dict(query=pb.Query()), "EMPTY_QUERY"), (dict(query=pb.Query(terms=[pb.Term()])), "BAD_TERM"),
    (dict(query=pb.Query(terms=[pb.Term(text="x")] * 17)), "TOO_MANY_TERMS"),
    (dict(query=pb.Query(terms=[pb.Term(text="x", weight=0)])), "BAD_WEIGHT"),
    (dict(query=pb.Query(terms=[pb.Term(text="x", weight=math.inf)])), "BAD_WEIGHT"),
    (dict(query=pb.Query(terms=[pb.Term(text="x"), pb.Term(text="x", weight=-1)])), "ZERO_NORM"),
    (dict(query=pb.Query(terms=[pb.Term(id="x" * 257)])), "BAD_ID"),
])
def test_bad_searches_are_named(server, change, reason):
    request = pb.SearchRequest(**{"query": pb.Query(terms=[pb.Term(text="x")]), **change})
    assert outcome(server.images.Search, request) == (INVALID, reason)
    reply = server.images.SearchBatch(pb.SearchBatchRequest(requests=[request]), timeout=20)
    assert item(reply.results[0].status) == (INVALID, reason)


def struct(**fields):
    out = struct_pb2.Struct()
    out.update(fields)
    return out


@pytest.mark.parametrize("image, reason", [
    (pb.Image(id="x" * 257, content=GOOD_IMAGES["png"]), "BAD_ID"),
    (pb.Image(id="é" * 129, content=GOOD_IMAGES["png"]), "BAD_ID"),
    (pb.Image(), "BAD_ID"),
    (pb.Image(id="a", content=GOOD_IMAGES["png"], metadata=struct(k="x" * 16384)), "METADATA_TOO_LARGE"),
    (pb.Image(id="a", content=GOOD_IMAGES["png"], metadata=struct(**{f"k{i}": i for i in range(65)})), "METADATA_TOO_LARGE"),
    (pb.Image(id="a", content=GOOD_IMAGES["png"], metadata=struct(k=math.nan)), "BAD_METADATA"),
    (pb.Image(id="a", content=GOOD_IMAGES["png"], metadata=struct_pb2.Struct(fields={"k": struct_pb2.Value()})), "BAD_METADATA"),
    (pb.Image(id="a", content=GOOD_IMAGES["png"], expire_time=timestamp_pb2.Timestamp(seconds=2**62)), "BAD_TIME"),
    (pb.Image(id="a", content=GOOD_IMAGES["png"], expire_time=timestamp_pb2.Timestamp(nanos=-1)), "BAD_TIME"),
])
def test_bad_ids_metadata_and_times_are_named(server, image, reason):
    for rpc in IMAGE_RPCS:
        assert rpc(server, image) == (INVALID, reason), rpc.__name__


def test_values_at_the_limit_are_fine(server):
    keys = struct(**{f"k{i}": i for i in range(64)})
    for rpc in IMAGE_RPCS:
        assert rpc(server, pb.Image(id="x" * 256, content=GOOD_IMAGES["png"], metadata=keys)) == (0, "")
    assert server.images.Delete(pb.DeleteRequest(ids=["x" * 256]), timeout=20).deleted == 1


def test_unknown_collections_are_not_found(server):
    missing = (5, "NO_SUCH_COLLECTION")
    term = pb.Query(terms=[pb.Term(text="x")])
    for call, request in [
        (server.images.Search, pb.SearchRequest(collection="nowhere", query=term)),
        (server.images.Upsert, pb.UpsertRequest(collection="nowhere", images=[pb.Image(id="a", content=b"x")])),
        (server.images.Get, pb.GetRequest(collection="nowhere", ids=["a"])),
        (server.images.Delete, pb.DeleteRequest(collection="nowhere", ids=["a"])),
        (server.images.Count, pb.CountRequest(collection="nowhere")),
        (server.images.List, pb.ListRequest(collection="nowhere")),
        (server.admin.GetCollection, admin_pb2.GetCollectionRequest(collection="nowhere")),
        (server.admin.DeleteCollection, admin_pb2.DeleteCollectionRequest(collection="nowhere")),
    ]:
        assert outcome(call, request) == missing
    assert through_stream(server, pb.Image(id="a", content=b"x"), "nowhere") == missing


def test_requests_with_nothing_or_too_much_are_named(server):
    empty, many = (INVALID, "EMPTY_REQUEST"), (INVALID, "TOO_MANY")
    image = pb.Image(id="a", content=b"x")
    assert outcome(server.images.SearchBatch, pb.SearchBatchRequest()) == empty
    assert outcome(server.images.SearchBatch, pb.SearchBatchRequest(requests=[pb.SearchRequest()] * 101)) == many
    assert outcome(server.images.Encode, pb.EncodeRequest()) == empty
    assert outcome(server.images.Encode, pb.EncodeRequest(inputs=[pb.EncodeInput(text="x")] * 257)) == many
    assert outcome(server.images.Upsert, pb.UpsertRequest()) == empty
    assert outcome(server.images.Upsert, pb.UpsertRequest(images=[image] * 257)) == many
    assert outcome(server.images.Get, pb.GetRequest()) == empty
    assert outcome(server.images.Get, pb.GetRequest(ids=[str(i) for i in range(1001)])) == many
    assert outcome(server.images.Delete, pb.DeleteRequest()) == (INVALID, "BAD_REQUEST")
    assert outcome(server.images.Delete, pb.DeleteRequest(ids=["a"], filter="a = 1")) == (INVALID, "BAD_REQUEST")
    assert outcome(server.images.Count, pb.CountRequest(filter="a =")) == (INVALID, "BAD_FILTER")
    assert outcome(server.images.List, pb.ListRequest(page_size=1001)) == (INVALID, "BAD_PAGE_SIZE")
    assert outcome(server.images.List, pb.ListRequest(page_token="nonsense")) == (INVALID, "BAD_PAGE_TOKEN")


def test_create_only_and_duplicates(server):
    server.images.Delete(pb.DeleteRequest(ids=["once", "twice"]), timeout=20)
    image = pb.Image(id="once", content=GOOD_IMAGES["png"])
    def create():
        reply = server.images.Upsert(pb.UpsertRequest(images=[image], create_only=True), timeout=20)
        return item(reply.results[0].status)
    assert create() == (0, "")
    assert create() == (6, "ALREADY_EXISTS")
    twice = [pb.Image(id="twice", content=GOOD_IMAGES["png"], metadata=struct(n=n)) for n in (1, 2)]
    reply = server.images.Upsert(pb.UpsertRequest(images=twice), timeout=20)
    assert [item(r.status) for r in reply.results] == [(0, "")] * 2
    assert server.images.Get(pb.GetRequest(ids=["twice"]), timeout=20).images[0].metadata["n"] == 2


def test_bad_collections_are_named(server):
    def create(**fields):
        return outcome(server.admin.CreateCollection,
                       admin_pb2.CreateCollectionRequest(collection=types_pb2.Collection(**fields)))
    for name in ("", "Upper", "-dash", "a" * 65, "sl/ash", "é"):
        assert create(name=name, dimension=4) == (INVALID, "BAD_NAME"), name
    for dimension in (-1, 4097):
        assert create(name="dimension", dimension=dimension) == (INVALID, "BAD_DIMENSION")
    for index in (dict(kind=9), dict(hnsw_m=3), dict(hnsw_m=-1), dict(ivf_nlist=2**30), dict(target_recall=math.nan),
                  dict(target_recall=2.0), dict(kind=3, pq_bytes=3), dict(kind=3, pq_bytes=-4), dict(pq_bytes=2),
                  dict(kind=3, memory_bytes=1 << 30)):
        code, reason = create(name="index", dimension=4, index=types_pb2.Index(**index))
        assert code == INVALID and reason.startswith("BAD_INDEX"), index
    assert create(name="model", model_id="nobody@00000000") == (9, "MODEL_MISMATCH")
    assert create(name="default") == (6, "ALREADY_EXISTS")


def test_collections_of_ready_vectors_refuse_texts_and_images(server):
    collection = types_pb2.Collection(name="ready", dimension=4)
    server.admin.CreateCollection(admin_pb2.CreateCollectionRequest(collection=collection), timeout=20)
    no_model = (9, "NO_MODEL")
    for term in (pb.Term(text="x"), pb.Term(image=GOOD_IMAGES["png"])):
        assert outcome(server.images.Search,
                       pb.SearchRequest(collection="ready", query=pb.Query(terms=[term]))) == no_model
    for rpc in IMAGE_RPCS:
        assert rpc(server, pb.Image(id="a", content=GOOD_IMAGES["png"]), "ready") == no_model
        assert rpc(server, pb.Image(id="a", vector=types_pb2.Vector(values=[1, 2, 3, 4])), "ready") == (0, "")
    server.admin.DeleteCollection(admin_pb2.DeleteCollectionRequest(collection="ready"), timeout=20)


def reason_in(reply):
    return reply["code"], next(detail["reason"] for detail in reply["details"] if "reason" in detail)


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_bad_images_in_forms_are_named(over_grpc, name):
    server = http_port.HttpServer(over_grpc)
    content, reason = BAD_IMAGES[name]
    status, reply = server.form("search", [("image", content)])
    assert (status, *reason_in(reply)) == (400, INVALID, reason)
    status, reply = server.form("classify", [("image", content), ("labels[0]", b"a"), ("labels[1]", b"b")])
    assert (status, *reason_in(reply)) == (400, INVALID, reason if content else "BAD_REQUEST")
    for path, more in (("encode", []), ("upsert", [("images[0].id", b"form")])):
        status, reply = server.form(path, [("image", content), *more])
        assert status == 200
        assert (reply["results"][0]["status"]["code"], reply["results"][0]["status"]["reason"]) == (INVALID, reason), path


@pytest.mark.parametrize("body, reason", [
    (b"{", "BAD_JSON"), (b"[]", "BAD_JSON"), (b'{"nosuch": 1}', "BAD_JSON"),
    (b'{"query": ' + b"[" * 5000, "BAD_JSON"), (b'{"filter": "\xff\xfe"}', "BAD_JSON"), (b'{"limit": 1e99}', "BAD_JSON"),
])
def test_bad_json_is_the_callers_error(over_grpc, body, reason):
    server = http_port.HttpServer(over_grpc)
    import urllib.error
    import urllib.request
    request = urllib.request.Request(f"{server.base}/v1/search", body, {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request, timeout=30)
    error = http_port.HttpError(error.value.code, error.value.read())
    assert reason_of(error) == (INVALID, reason)


def test_bad_merge_patches_are_named(server):
    server.images.Upsert(pb.UpsertRequest(images=[pb.Image(id="patched", content=GOOD_IMAGES["png"])]), timeout=20)
    for patch in (struct(k="x" * 16384), struct(**{f"k{i}": i for i in range(65)})):
        request = pb.UpdateMetadataRequest(ids=["patched"], merge_patch=patch)
        # The patch itself may be refused, or the one image that it makes too large.
        try:
            found = item(server.images.UpdateMetadata(request, timeout=20).results[0])
        except grpc.RpcError as error:
            found = reason_of(error)
        assert found == (INVALID, "METADATA_TOO_LARGE")
