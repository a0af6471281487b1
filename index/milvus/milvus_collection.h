// One collection in Milvus: checks what comes in, asks, and turns the answers into ours.
#ifndef IMAGESEARCH_INDEX_MILVUS_MILVUS_COLLECTION_H_
#define IMAGESEARCH_INDEX_MILVUS_MILVUS_COLLECTION_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "index/collection.h"
#include "index/filter/filter.h"
#include "index/milvus/key_locks.h"
#include "index/milvus/row.h"
#include "index/milvus/session.h"

namespace imagesearch::index {

class MilvusCollection : public Collection {
 public:
  MilvusCollection(std::shared_ptr<Session> session, CollectionOptions options, std::string nonce);

  CollectionOptions options() const override { return options_; }
  CollectionInfo Info() const override;

  absl::StatusOr<UpsertResult> Upsert(std::vector<UpsertItem> items,
                                      const UpsertOptions& options) override;
  absl::StatusOr<DeleteResult> Delete(absl::Span<const std::string> ids) override;
  absl::StatusOr<DeleteResult> DeleteByFilter(const std::string& filter) override;

  // Not all or none, as in the embedded database: a failed write may have changed some.
  absl::StatusOr<UpdateResult> UpdateMetadata(absl::Span<const std::string> ids,
                                              const google::protobuf::Struct& patch,
                                              const UpdateOptions& options) override;
  absl::StatusOr<UpdateResult> UpdateMetadataByFilter(const std::string& filter,
                                                      const google::protobuf::Struct& patch,
                                                      const UpdateOptions& options) override;

  absl::StatusOr<SearchResult> Search(const Query& query) override;
  std::vector<absl::StatusOr<SearchResult>> SearchBatch(absl::Span<const Query> queries) override;

  absl::StatusOr<std::vector<std::optional<Record>>> Get(absl::Span<const std::string> ids,
                                                         bool with_vector) override;
  absl::StatusOr<CountResult> Count(const std::string& filter) override;
  absl::StatusOr<ListPage> List(const ListOptions& options) override;

  // Seals what was written so far and waits until Milvus has built its index, or until the call's
  // deadline.
  absl::Status Optimize() override;

  // Makes the index where it is missing and starts loading where that was never done. Doesn't wait.
  absl::Status Prepare();
  // Waits until searches are answered.
  absl::Status AwaitLoaded();
  // Deletes images that expired before `micros`.
  absl::Status SweepExpired(int64_t micros);

  const std::string& nonce() const { return nonce_; }
  // It was deleted, or another one has its name now.
  void Retire() { retired_.store(true); }

 private:
  struct PreparedQuery;

  absl::Status CheckAlive() const;
  // Makes a call about this collection. A failure because it is not loaded starts the loading; one
  // because it is gone says so in our words.
  template <typename Request, typename Response>
  absl::Status Call(absl::string_view what,
                    grpc::Status (Session::Stub::*method)(grpc::ClientContext*, const Request&,
                                                          Response*),
                    const Request& request, Response* response) const;
  absl::Status Explain(absl::Status status) const;

  // `live` and what the filter asks. INVALID_ARGUMENT BAD_FILTER, UNIMPLEMENTED NOT_ON_MILVUS.
  absl::StatusOr<std::string> LiveExpression(const std::string& filter) const;
  // Up to `limit` (0: all, for expressions that bound them) matching rows by id.
  absl::StatusOr<std::vector<Record>> ReadRows(const std::string& expression, int limit,
                                               bool with_vector) const;
  // The rows of these ids, expired ones too.
  absl::StatusOr<std::vector<Record>> ReadIds(absl::Span<const std::string> ids,
                                              bool with_vector) const;
  // Rows of which a reply surely stays below Milvus' limit, about.
  int RowsOfAReply(bool with_vector) const;

  absl::StatusOr<PreparedQuery> PrepareQuery(const Query& query) const;
  // Queries that differ in nothing but their vectors, in one call. Result i is of queries[i].
  std::vector<absl::StatusOr<SearchResult>> SearchAlike(
      absl::Span<const PreparedQuery* const> queries) const;
  absl::Status SearchTop(absl::Span<const PreparedQuery* const> queries, int top, int skip,
                         pb::SearchResults* response) const;

  // Patches these rows, which are held; adds to `result`.
  absl::Status PatchRows(std::vector<Record> records, const google::protobuf::Struct& patch,
                         const UpdateOptions& options, UpdateResult* result);
  absl::Status WriteRows(absl::Span<const Row> rows, uint64_t* version);
  // Deletes these ids, which are held.
  absl::Status Remove(absl::Span<const std::string> ids);

  const std::shared_ptr<Session> session_;
  const CollectionOptions options_;
  const std::string name_;  // in Milvus
  const std::string nonce_;
  const uint32_t token_id_;  // of page tokens
  KeyLocks locks_;
  std::atomic<bool> retired_{false};
  mutable std::atomic<uint64_t> last_count_{0};  // for Info while Milvus is away
  mutable Mutex load_mutex_;
  mutable absl::Time last_load_ ABSL_GUARDED_BY(load_mutex_) = absl::InfinitePast();
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_MILVUS_MILVUS_COLLECTION_H_
