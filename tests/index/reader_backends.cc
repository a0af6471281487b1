// The conformance suite seen through a reader: writes go to the writer, and every read is answered
// by a second database on the same folder, once it has caught up. Adopted segments take part.
#include <atomic>
#include <utility>

#include "index/embedded_database.h"
#include "index/reader_database.h"
#include "tests/index/conformance.h"
#include "tests/index/temp_dir.h"

namespace imagesearch::index {
namespace {

// One collection of both.
class FollowedCollection : public Collection {
 public:
  FollowedCollection(Database* writer_database, Database* reader_database,
                     std::shared_ptr<Collection> writer, std::shared_ptr<Collection> reader)
      : writer_database_(writer_database),
        reader_database_(reader_database),
        writer_(std::move(writer)),
        reader_(std::move(reader)) {}

  CollectionOptions options() const override { return reader_->options(); }
  CollectionInfo Info() const override { return reader()->Info(); }

  absl::StatusOr<UpsertResult> Upsert(std::vector<UpsertItem> items,
                                      const UpsertOptions& options) override {
    return writer_->Upsert(std::move(items), options);
  }
  absl::StatusOr<DeleteResult> Delete(absl::Span<const std::string> ids) override {
    return writer_->Delete(ids);
  }
  absl::StatusOr<DeleteResult> DeleteByFilter(const std::string& filter) override {
    return writer_->DeleteByFilter(filter);
  }
  absl::StatusOr<SearchResult> Search(const Query& query) override {
    return reader()->Search(query);
  }
  std::vector<absl::StatusOr<SearchResult>> SearchBatch(absl::Span<const Query> queries) override {
    return reader()->SearchBatch(queries);
  }
  absl::StatusOr<std::vector<std::optional<Record>>> Get(absl::Span<const std::string> ids,
                                                         bool with_vector) override {
    return reader()->Get(ids, with_vector);
  }
  absl::StatusOr<CountResult> Count(const std::string& filter) override {
    return reader()->Count(filter);
  }
  absl::StatusOr<ListPage> List(const ListOptions& options) override {
    return reader()->List(options);
  }
  absl::Status Optimize() override {
    absl::Status status = writer_->Optimize();
    if (!status.ok()) return status;
    // Until the reader has taken the segments over, it answers from its tail.
    const CollectionInfo wanted = writer_->Info();
    for (int i = 0; i < 600; ++i) {
      if (reader()->Info().tail_rows <= wanted.tail_rows) return absl::OkStatus();
      absl::SleepFor(absl::Milliseconds(50));
    }
    return absl::DeadlineExceededError("the reader did not adopt the writer's segments");
  }

 private:
  const std::shared_ptr<Collection>& reader() const {
    EXPECT_TRUE(reader_database_
                    ->WaitForVersion(writer_database_->version(), absl::Now() + absl::Seconds(30))
                    .ok());
    return reader_;
  }

  Database* const writer_database_;
  Database* const reader_database_;
  const std::shared_ptr<Collection> writer_;
  const std::shared_ptr<Collection> reader_;
};

class FollowedDatabase : public Database {
 public:
  FollowedDatabase(std::unique_ptr<Database> writer, std::unique_ptr<Database> reader)
      : writer_(std::move(writer)), reader_(std::move(reader)) {}

  absl::StatusOr<uint64_t> CreateCollection(const CollectionOptions& options) override {
    return writer_->CreateCollection(options);
  }
  absl::StatusOr<uint64_t> DeleteCollection(const std::string& name) override {
    return writer_->DeleteCollection(name);
  }
  absl::StatusOr<std::shared_ptr<Collection>> GetCollection(const std::string& name) override {
    CatchUp();
    auto reader = reader_->GetCollection(name);
    if (!reader.ok()) return reader.status();
    return Join(*std::move(reader));
  }
  std::vector<std::shared_ptr<Collection>> ListCollections() override {
    CatchUp();
    std::vector<std::shared_ptr<Collection>> all;
    for (auto& collection : reader_->ListCollections()) all.push_back(Join(collection));
    return all;
  }
  uint64_t version() const override {
    CatchUp();
    return reader_->version();
  }
  absl::Status WaitForVersion(uint64_t version, absl::Time deadline) override {
    return reader_->WaitForVersion(version, deadline);
  }
  const std::string& instance_id() const override { return reader_->instance_id(); }
  absl::Status WriteHealth() const override { return reader_->WriteHealth(); }
  absl::Status Close(absl::Time deadline) override {
    absl::Status status = reader_->Close(deadline);
    return status.ok() ? writer_->Close(deadline) : status;
  }

 private:
  void CatchUp() const {
    EXPECT_TRUE(reader_->WaitForVersion(writer_->version(), absl::Now() + absl::Seconds(30)).ok());
  }
  std::shared_ptr<Collection> Join(std::shared_ptr<Collection> reader) {
    auto writer = writer_->GetCollection(reader->options().name);
    EXPECT_TRUE(writer.ok()) << writer.status();
    return std::make_shared<FollowedCollection>(writer_.get(), reader_.get(), *std::move(writer),
                                                std::move(reader));
  }

  const std::unique_ptr<Database> writer_;
  const std::unique_ptr<Database> reader_;
};

class ReaderBackend : public Backend {
 public:
  ReaderBackend(int merge_tail_rows, int min_indexed_rows) {
    options_.data_dir = directory_.path() + "/data";
    options_.merge_tail_rows = merge_tail_rows;
    options_.min_indexed_rows = min_indexed_rows;
    options_.build_threads = 1;
    options_.disk_reserve_bytes = 1;
    options_.clock = [this] { return absl::FromUnixSeconds(1'700'000'000) + offset_.load(); };
    Open();
  }
  ~ReaderBackend() override { Close(); }

  Database* database() override { return database_.get(); }
  void Restart() override {
    Close();
    Open();
  }
  void AdvanceClock(absl::Duration by) override { offset_.store(offset_.load() + by); }

 private:
  void Open() {
    auto writer = OpenEmbedded(options_);
    ASSERT_TRUE(writer.ok()) << writer.status();
    ReaderOptions options;
    options.embedded = options_;
    options.poll = absl::Milliseconds(2);
    auto reader = OpenReader(options);
    ASSERT_TRUE(reader.ok()) << reader.status();
    database_ = std::make_unique<FollowedDatabase>(*std::move(writer), *std::move(reader));
  }
  void Close() {
    if (database_ == nullptr) return;
    EXPECT_TRUE(database_->Close(absl::InfiniteFuture()).ok());
    database_ = nullptr;
  }

  TempDir directory_;
  EmbeddedOptions options_;
  std::atomic<absl::Duration> offset_{absl::ZeroDuration()};
  std::unique_ptr<Database> database_;
};

}  // namespace

std::vector<BackendFactory> Backends() {
  std::vector<BackendFactory> factories;
  auto add = [&](std::string name, IndexKind kind, int merge_tail_rows, int min_indexed_rows) {
    IndexOptions index;
    index.kind = kind;
    factories.push_back(
        {std::move(name), index,
         [=] { return std::make_unique<ReaderBackend>(merge_tail_rows, min_indexed_rows); }});
  };
  add("ReaderOfTail", IndexKind::kAuto, 1 << 30, 1 << 30);
  add("ReaderOfFlat", IndexKind::kFlat, 8, 1);
  add("ReaderOfHnsw", IndexKind::kHnsw, 8, 4);
  return factories;
}

}  // namespace imagesearch::index
