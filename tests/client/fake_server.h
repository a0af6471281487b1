// A small imagesearchd in this process: the contract of imagesearch.v1 over maps in memory, with
// faults to order. Vectors follow from the bytes, so that an image finds itself and a text "T"
// finds the image whose bytes are "T" first.
#ifndef IMAGESEARCH_TESTS_CLIENT_FAKE_SERVER_H_
#define IMAGESEARCH_TESTS_CLIENT_FAKE_SERVER_H_

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "grpcpp/grpcpp.h"
#include "imagesearch/v1/admin.grpc.pb.h"
#include "imagesearch/v1/imagesearch.grpc.pb.h"

namespace imagesearch::client {

inline constexpr int kFakeDimension = 16;

// The unit vector that the fake makes of a text or of an image's bytes. The first word of the
// bytes decides most of it: "cat 1" and "cat 2" are near each other.
std::vector<float> FakeVector(absl::string_view bytes);

// Lower-case hex SHA-256.
std::string FakeContentHash(absl::string_view bytes);

// What to do wrong. Set before or during calls.
struct FakeFaults {
  // The next calls of this many unary rpcs end UNAVAILABLE.
  std::atomic<int> unavailable_calls{0};
  // Each upload stream ends UNAVAILABLE after this many acks (0: never).
  std::atomic<int> cut_stream_after{0};
  // This many upload streams are refused at once with RESOURCE_EXHAUSTED and RetryInfo of 50 ms.
  std::atomic<int> refuse_streams{0};
  // This many images of upload streams are answered RESOURCE_EXHAUSTED DISK_FULL, one by one.
  std::atomic<int> disk_full_items{0};
  // Upload streams end PERMISSION_DENIED.
  std::atomic<bool> deny_streams{false};
  // Upload streams read, and never answer.
  std::atomic<bool> swallow_uploads{false};
};

// Images whose bytes start with "corrupt" fail with CORRUPT_IMAGE. Thread-safe.
class FakeServer {
 public:
  FakeServer();
  ~FakeServer();

  std::string address() const { return address_; }
  // Stops and starts again on the same port with the same data.
  void Restart();
  void Stop();

  FakeFaults& faults() { return faults_; }
  size_t ImageCount(const std::string& collection) const;
  std::vector<std::string> Collections() const;
  // Images accepted by uploads so far, repetitions included.
  int uploads() const { return uploads_; }
  // The metadata of the last unary call.
  std::multimap<std::string, std::string> last_metadata() const;

 private:
  struct Entry {
    std::vector<float> vector;
    google::protobuf::Struct metadata;
    std::string content_hash;
    std::string source_uri;
    uint64_t version = 0;
  };
  struct Data {
    v1::Collection collection;
    std::map<std::string, Entry> images;
  };
  class SearchService;
  class AdminService;

  void Start(const std::string& address);
  grpc::Status Enter(const grpc::ServerContext& context);

  FakeFaults faults_;
  std::atomic<int> uploads_{0};
  std::string address_;
  std::unique_ptr<SearchService> search_service_;
  std::unique_ptr<AdminService> admin_service_;
  std::unique_ptr<grpc::Server> server_;

  mutable Mutex mutex_;
  std::map<std::string, Data> collections_ ABSL_GUARDED_BY(mutex_);
  std::multimap<std::string, std::string> last_metadata_ ABSL_GUARDED_BY(mutex_);
  uint64_t version_ ABSL_GUARDED_BY(mutex_) = 1;
};

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_TESTS_CLIENT_FAKE_SERVER_H_
