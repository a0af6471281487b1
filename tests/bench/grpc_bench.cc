// What gRPC adds to a search with a ready vector: p50 of the search through a server and a client
// in this process over loopback, less p50 of the same search by a call, less p50 of an empty unary
// call. The three take turns, so that all see the same machine.
// Usage: grpc_bench [ROWS] [CALLS]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grpcpp/generic/async_generic_service.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"
#include "index/database.h"
#include "tests/server/running_server.h"

namespace imagesearch::server {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kDimension = 512;

// Answers every call with an empty message.
class EmptyService : public grpc::CallbackGenericService {
 public:
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext*) override {
    class Reactor : public grpc::ServerGenericBidiReactor {
     public:
      Reactor() { StartRead(&buffer_); }
      void OnReadDone(bool) override { StartWriteAndFinish(&reply_, {}, grpc::Status::OK); }
      void OnDone() override { delete this; }

     private:
      grpc::ByteBuffer buffer_;
      const grpc::Slice none_;
      grpc::ByteBuffer reply_{&none_, 1};
    };
    return new Reactor;
  }
};

struct EmptyServer {
  EmptyServer() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterCallbackGenericService(&service);
    server = builder.BuildAndStart();
    stub = std::make_unique<grpc::GenericStub>(
        grpc::CreateChannel(absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials()));
  }
  ~EmptyServer() { server->Shutdown(); }

  bool Call() {
    grpc::CompletionQueue queue;
    grpc::ClientContext context;
    const grpc::Slice none;
    const grpc::ByteBuffer request(&none, 1);
    grpc::ByteBuffer reply;
    grpc::Status status;
    auto call = stub->PrepareUnaryCall(&context, "/empty/Call", request, &queue);
    call->StartCall();
    call->Finish(&reply, &status, nullptr);
    void* tag;
    bool ok = false;
    queue.Next(&tag, &ok);
    return ok && status.ok();
  }

  EmptyService service;
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<grpc::GenericStub> stub;
};

std::vector<float> RandomVector(std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> vector(kDimension);
  for (float& x : vector) x = normal(random);
  return vector;
}

double Median(std::vector<double>& times) {
  std::nth_element(times.begin(), times.begin() + static_cast<ptrdiff_t>(times.size() / 2),
                   times.end());
  return times[times.size() / 2];
}

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "grpc_bench: %s\n", what.c_str());
  std::exit(1);
}

int Run(int rows, int calls) {
  RunningServer running;
  const auto backend = running.server().state().backend();
  if (!backend.ok()) Die("no backend");
  index::Database& database = *(*backend)->database;
  index::CollectionOptions options;
  options.name = "vectors";
  options.dimension = kDimension;
  if (!database.CreateCollection(options).ok()) Die("no collection");
  auto collection = *database.GetCollection("vectors");
  std::mt19937 random(1);
  for (int i = 0; i < rows;) {
    std::vector<index::UpsertItem> items;
    for (; items.size() < 500 && i < rows; ++i) {
      items.emplace_back();
      items.back().id = absl::StrCat("image-", i);
      items.back().vector = RandomVector(random);
    }
    if (!collection->Upsert(std::move(items), {}).ok()) Die("upsert failed");
  }
  if (!collection->Optimize().ok()) Die("optimize failed");

  EmptyServer empty;
  std::vector<double> direct, remote, nothing;
  const auto timed = [](std::vector<double>& times, const auto& work) {
    const auto start = Clock::now();
    work();
    times.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
  };
  constexpr int kWarmUp = 200;
  for (int i = 0; i < calls + kWarmUp; ++i) {
    index::Query query;
    query.vector = RandomVector(random);
    v1::SearchRequest request;
    request.set_collection("vectors");
    request.set_limit(10);
    request.mutable_query()->add_terms()->mutable_vector()->mutable_values()->Assign(
        query.vector.begin(), query.vector.end());
    if (i == kWarmUp) {
      direct.clear();
      remote.clear();
      nothing.clear();
    }
    size_t hits = 0;
    timed(direct, [&] {
      auto result = collection->Search(query);
      if (!result.ok()) Die("search failed");
      hits = result->hits.size();
    });
    timed(remote, [&] {
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
      v1::SearchResponse response;
      const grpc::Status status = running.images().Search(&context, request, &response);
      if (!status.ok()) Die(status.error_message());
      if (static_cast<size_t>(response.hits_size()) != hits) Die("other hits through gRPC");
    });
    timed(nothing, [&] {
      if (!empty.Call()) Die("the empty call failed");
    });
  }
  const double a = Median(direct), b = Median(remote), c = Median(nothing);
  std::printf(
      "%d rows of %d values, %d calls of each kind, p50 in microseconds: in-process search %.1f, "
      "empty unary call %.1f, search through gRPC %.1f; gRPC adds %.1f beyond the two\n",
      rows, kDimension, calls, a, c, b, b - a - c);
  return 0;
}

}  // namespace
}  // namespace imagesearch::server

int main(int argc, char** argv) {
  return imagesearch::server::Run(argc > 1 ? std::atoi(argv[1]) : 20'000,
                                  argc > 2 ? std::atoi(argv[2]) : 5'000);
}
