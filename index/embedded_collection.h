// One collection of the embedded database: checks what comes in, then store and view do the work.
#ifndef IMAGESEARCH_INDEX_EMBEDDED_COLLECTION_H_
#define IMAGESEARCH_INDEX_EMBEDDED_COLLECTION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "index/collection.h"
#include "index/store/collection_state.h"
#include "index/store/engine.h"
#include "index/store/merger.h"
#include "index/store/search.h"

namespace imagesearch::index {

class EmbeddedCollection : public Collection {
 public:
  EmbeddedCollection(std::shared_ptr<Engine> engine, std::shared_ptr<CollectionState> state)
      : engine_(std::move(engine)), state_(std::move(state)), merger_(engine_.get(), state_) {}

  CollectionOptions options() const override { return state_->current(); }
  CollectionInfo Info() const override;

  absl::StatusOr<UpsertResult> Upsert(std::vector<UpsertItem> items,
                                      const UpsertOptions& options) override;
  absl::StatusOr<DeleteResult> Delete(absl::Span<const std::string> ids) override;
  absl::StatusOr<DeleteResult> DeleteByFilter(const std::string& filter) override;

  absl::StatusOr<UpdateResult> UpdateMetadata(absl::Span<const std::string> ids,
                                              const google::protobuf::Struct& patch,
                                              const UpdateOptions& options) override;
  absl::StatusOr<UpdateResult> UpdateMetadataByFilter(const std::string& filter,
                                                      const google::protobuf::Struct& patch,
                                                      const UpdateOptions& options) override;

  absl::StatusOr<UpdateResult> PatchEach(absl::Span<const MetadataPatch> patches,
                                         const UpdateOptions& options) override;
  absl::StatusOr<std::optional<Record>> GetWithOriginal(const std::string& id, bool with_vector,
                                                        uint64_t max_bytes) override;
  absl::StatusOr<DuplicatesSummary> FindDuplicates(const DuplicatesQuery& query,
                                                   DuplicatesVisitor* visitor) override;

  absl::StatusOr<SearchResult> Search(const Query& query) override;
  std::vector<absl::StatusOr<SearchResult>> SearchBatch(absl::Span<const Query> queries) override;

  absl::StatusOr<std::vector<std::optional<Record>>> Get(absl::Span<const std::string> ids,
                                                         bool with_vector) override;
  absl::StatusOr<CountResult> Count(const std::string& filter) override;
  absl::StatusOr<ListPage> List(const ListOptions& options) override;

  absl::Status Optimize() override { return Merge(MergeOccasion::kForced, {}); }
  absl::Status Compact(const JobControl& control) override;
  absl::StatusOr<VectorSample> Sample(size_t n) override;
  absl::StatusOr<KeywordResult> SearchKeywords(const KeywordQuery& query) override;
  absl::StatusOr<std::vector<ValueCount>> CountValues(const std::string& filter,
                                                      const FieldPath& field,
                                                      size_t limit) override;

  // Deletes images that HideExpired hid; for the background sweep.
  absl::Status SweepExpired();

  // Compares waiting sample queries with exact search; for the background.
  void ProbeRecall();

  const std::shared_ptr<CollectionState>& state() const { return state_; }
  Merger* merger() { return &merger_; }

 private:
  struct PreparedQuery;

  absl::Status CheckAlive() const;
  absl::Status Merge(MergeOccasion occasion, const JobControl& control);
  absl::Status FillKeywords(const View& view, KeywordIndex* index) const;
  // Look-alikes among what is stored, for each item: ids with their scores. Empty where there is no
  // vector, or where `upsert` does not ask.
  std::vector<std::vector<DuplicateRef>> FindLookAlikes(absl::Span<const UpsertItem> items,
                                                        const UpsertOptions& upsert) const;
  absl::StatusOr<PreparedQuery> Prepare(const Query& query) const;
  absl::StatusOr<SearchResult> Finish(const PreparedQuery& query, const View& view,
                                      uint64_t version,
                                      absl::Span<const Candidate> candidates) const;
  absl::StatusOr<std::optional<records::Item>> ReadItem(const View& view,
                                                        absl::string_view id) const;
  Record MakeRecord(const View& view, absl::string_view id, records::Item item,
                    bool with_vector) const;
  // What a batch of patches is of.
  struct Patches {
    absl::Span<const std::string> ids;
    std::function<const google::protobuf::Struct&(size_t)> patch_of;  // by index into ids
    const Filter* filter = nullptr;  // images that don't match stay; null: all match
  };
  // One batch, all or none. Adds to `result`, but for its items, which it replaces.
  absl::Status PatchBatch(const Patches& patches, const UpdateOptions& options,
                          UpdateResult* result);
  absl::StatusOr<DeleteResult> DeleteIds(absl::Span<const std::string> ids, bool only_expired);

  const std::shared_ptr<Engine> engine_;
  const std::shared_ptr<CollectionState> state_;
  Merger merger_;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_EMBEDDED_COLLECTION_H_
