// Milvus for the conformance suite: a real one, and milvus-lite for the protocol of newer servers.
// A server is started once and each test gets a prefix of its own in it.
#include <atomic>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/mutex.h"
#include "tests/index/conformance.h"
#include "tests/index/milvus_server.h"

namespace imagesearch::index {
namespace {

// Owns the servers; ends them with the program's last test.
class Servers : public ::testing::Environment {
 public:
  MilvusServer& Get(MilvusKind kind) {
    MutexLock lock(&mutex_);
    auto& server = servers_[kind];
    if (server == nullptr) {
      MilvusServerOptions options;
      options.kind = kind;
      server = std::make_unique<MilvusServer>(options);
    }
    return *server;
  }
  void TearDown() override {
    MutexLock lock(&mutex_);
    servers_.clear();
  }

 private:
  Mutex mutex_;
  std::map<MilvusKind, std::unique_ptr<MilvusServer>> servers_ ABSL_GUARDED_BY(mutex_);
};

Servers* const g_servers =
    static_cast<Servers*>(::testing::AddGlobalTestEnvironment(new Servers));  // gtest owns it

class MilvusBackend : public Backend {
 public:
  explicit MilvusBackend(MilvusKind kind) : server_(g_servers->Get(kind)) {
    static std::atomic<int> next{0};
    options_.prefix = absl::StrCat("conformance", next.fetch_add(1));
    options_.sweep_interval = absl::ZeroDuration();
    options_.clock = [this] { return absl::FromUnixSeconds(1'700'000'000) + offset_; };
    database_ = server_.Open(options_);
  }
  ~MilvusBackend() override {
    if (database_ == nullptr) return;
    for (const auto& collection : database_->ListCollections()) {
      EXPECT_TRUE(database_->DeleteCollection(collection->options().name).ok());
    }
    EXPECT_TRUE(database_->Close(absl::InfiniteFuture()).ok());
  }

  Database* database() override { return database_.get(); }
  // Everything is in Milvus: this process forgets all it knows.
  void Restart() override {
    EXPECT_TRUE(database_->Close(absl::InfiniteFuture()).ok());
    database_ = nullptr;
    database_ = server_.Open(options_);
  }
  void AdvanceClock(absl::Duration by) override { offset_ += by; }

 private:
  MilvusServer& server_;
  MilvusOptions options_;
  absl::Duration offset_;
  std::unique_ptr<Database> database_;
};

}  // namespace

std::vector<BackendFactory> Backends() {
  std::vector<BackendFactory> factories;
  for (const auto& [server, server_kind] :
       {std::pair{"Milvus", MilvusKind::kReal}, std::pair{"MilvusLite", MilvusKind::kLite}}) {
    for (const auto& [name, kind] :
         {std::pair{"Flat", IndexKind::kFlat}, std::pair{"Hnsw", IndexKind::kHnsw},
          std::pair{"Ivf", IndexKind::kIvf}}) {
      BackendFactory factory;
      factory.name = absl::StrCat(server, name);
      factory.index.kind = kind;
      factory.index.ivf_nlist = kind == IndexKind::kIvf ? 16 : 0;
      factory.index.ivf_nprobe = kind == IndexKind::kIvf ? 16 : 0;
      factory.differences.refuses_exact = kind != IndexKind::kFlat;
      factory.differences.shows_halves_of_batches = true;
      factory.differences.versions_are_times = true;
      factory.make = [kind = server_kind] { return std::make_unique<MilvusBackend>(kind); };
      factories.push_back(std::move(factory));
    }
  }
  return factories;
}

}  // namespace imagesearch::index
