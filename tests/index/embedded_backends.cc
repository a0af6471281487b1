// The embedded database for the conformance suite: every kind, with thresholds so low that merges
// and real indexes take part in small tests.
#include <cstdlib>
#include <iostream>
#include <utility>

#include "index/ann/simd.h"
#include "index/embedded_database.h"
#include "tests/index/conformance.h"
#include "tests/index/temp_dir.h"

namespace imagesearch::index {
namespace {

class EmbeddedBackend : public Backend {
 public:
  EmbeddedBackend(int merge_tail_rows, int min_indexed_rows) {
    options_.data_dir = directory_.path() + "/data";
    options_.merge_tail_rows = merge_tail_rows;
    options_.min_indexed_rows = min_indexed_rows;
    options_.build_threads = 1;
    options_.disk_reserve_bytes = 1;
    options_.clock = [this] { return absl::FromUnixSeconds(1'700'000'000) + offset_; };
    Open();
  }
  ~EmbeddedBackend() override { Close(); }

  Database* database() override { return database_.get(); }
  void Restart() override {
    Close();
    Open();
  }
  void AdvanceClock(absl::Duration by) override { offset_ += by; }

 private:
  void Open() {
    auto opened = OpenEmbedded(options_);
    ASSERT_TRUE(opened.ok()) << opened.status();
    database_ = *std::move(opened);
  }
  void Close() {
    if (database_ == nullptr) return;
    EXPECT_TRUE(database_->Close(absl::InfiniteFuture()).ok());
    database_ = nullptr;
  }

  TempDir directory_;
  EmbeddedOptions options_;
  absl::Duration offset_;
  std::unique_ptr<Database> database_;
};

}  // namespace

std::vector<BackendFactory> Backends() {
  if (const char* level = std::getenv("IMAGESEARCH_TEST_SIMD")) {
    const absl::Status limited = LimitSimd(level);
    if (!limited.ok()) {
      std::cerr << limited << std::endl;
      std::_Exit(77);  // ctest: skipped
    }
  }
  std::vector<BackendFactory> factories;
  auto add = [&](std::string name, IndexKind kind, int merge_tail_rows, int min_indexed_rows,
                 int pq_bytes = 0) {
    IndexOptions index;
    index.kind = kind;
    index.pq_bytes = pq_bytes;
    factories.push_back(
        {std::move(name), index,
         [=] { return std::make_unique<EmbeddedBackend>(merge_tail_rows, min_indexed_rows); }});
  };
  add("TailOnly", IndexKind::kAuto, 1 << 30, 1 << 30);
  add("Flat", IndexKind::kFlat, 8, 1);
  add("Hnsw", IndexKind::kHnsw, 8, 4);
  add("Ivf", IndexKind::kIvf, 8, 4);
  add("IvfPq", IndexKind::kIvf, 8, 4, 2);  // divides the dimensions of the suite
  add("Auto", IndexKind::kAuto, 8, 4);
  return factories;
}

}  // namespace imagesearch::index
