// What one collection holds in memory: the view that searches read, the field index that filters
// read, and when images expire. All of it is derived from the store.
#ifndef IMAGESEARCH_INDEX_STORE_COLLECTION_STATE_H_
#define IMAGESEARCH_INDEX_STORE_COLLECTION_STATE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/mutex.h"
#include "index/filter/field_index.h"
#include "index/filter/filter.h"
#include "index/keyword/keyword_index.h"
#include "index/store/duplicate_index.h"
#include "index/store/recall_probe.h"
#include "index/store/records.pb.h"
#include "index/store/slot_set.h"
#include "index/store/view.h"

namespace imagesearch::index {

// An ImageIdentity that owns its hash.
struct StoredIdentity {
  std::string content_hash;
  std::optional<uint64_t> perceptual_hash;

  static StoredIdentity Of(const records::Item& item) {
    StoredIdentity identity{item.content_hash(), std::nullopt};
    if (item.has_perceptual_hash()) identity.perceptual_hash = item.perceptual_hash();
    return identity;
  }
  ImageIdentity view() const { return {content_hash, perceptual_hash}; }
};

// What one written image changes in memory. Replaced or deleted: `removed_slot`; written with a
// vector: `added_slot`; metadata only: `updated_slot`.
struct MemoryChange {
  std::string id;
  std::optional<uint32_t> removed_slot;
  std::optional<uint32_t> added_slot;
  std::optional<uint32_t> updated_slot;
  std::vector<float> vector;              // of the added slot, length 1
  google::protobuf::Struct old_metadata;  // of the removed or updated slot
  google::protobuf::Struct metadata;      // of the added or updated slot
  StoredIdentity old_identity;            // of the removed slot
  StoredIdentity identity;                // of the added slot
  int64_t expire_micros = 0;              // of the added or updated slot; 0: never
  int64_t stored_bytes = 0;               // how much StoredBytes of the collection grows
};

// What an image counts against Quota::max_bytes. It depends on what the caller stored alone, not on
// how RocksDB packs it.
uint64_t StoredBytes(absl::string_view id, const records::Item& item, int dimension);

// Thread-safe. Apply is called by one thread at a time, and so is InstallSegment.
class CollectionState {
 public:
  CollectionState(uint32_t id, CollectionOptions options);

  const uint32_t id;
  // As loaded. Name, quota and target recall may have changed since: current() has them.
  const CollectionOptions options;
  CollectionOptions current() const;
  void SetCurrent(CollectionOptions options);

  // Loading, before the state is shared: items in any order, segments by slot, then the rows behind
  // them by slot, then FinishLoad.
  void LoadItem(absl::string_view id, const records::Item& item);
  // Rows whose slot is not in `live` are dead.
  void LoadSegment(std::shared_ptr<const Segment> segment, const Bitmap& live);
  void LoadTailRow(uint32_t slot, absl::string_view id, const std::vector<float>& vector);
  void FinishLoad(uint64_t version, StoreSnapshot snapshot);

  std::shared_ptr<const View> view() const;

  // A view with the slots that match each filter in it (null: all). They belong together: a batch
  // is in all of them or in none.
  struct Reading {
    std::shared_ptr<const View> view;
    std::vector<std::shared_ptr<const SlotSet>> allowed;  // one for each filter
  };
  Reading Read(const std::vector<const Filter*>& filters) const;

  // The most frequent values of a field over `among` (FieldIndex::CountValues).
  std::vector<ValueCount> CountValues(const FieldPath& field, const Bitmap& among,
                                      size_t limit) const {
    return fields_->CountValues(field, among, limit);
  }

  // The keyword index. The first call makes it: `fill` puts every record of the view into it by
  // KeywordIndex::Fill; from then on it follows the writes. Another call meanwhile waits a second,
  // then answers UNAVAILABLE KEYWORDS_NOT_READY.
  using FillKeywords = std::function<absl::Status(const View& view, KeywordIndex* index)>;
  absl::StatusOr<std::shared_ptr<const KeywordIndex>> Keywords(const FillKeywords& fill);

  // Makes a durable batch visible, as a whole. `snapshot` holds the records of `version`.
  void Apply(std::vector<MemoryChange> changes, uint64_t version, StoreSnapshot snapshot);

  // Images whose time has come are gone from the next view on. Cheap when there are none.
  void HideExpired(int64_t now_micros);
  // Ids hidden by HideExpired and not yet reported here: for the sweeper, which deletes them.
  std::vector<std::string> TakeExpired();
  // Those that could not be deleted yet.
  void ReturnExpired(std::vector<std::string> ids);

  // Ends the current tail chunk, so that what is written from now on can stay when a segment takes
  // the place of what the returned view holds.
  std::shared_ptr<const View> SealTail();
  // Replaces the parts that stand for slots [first_slot, end_slot), which must be whole parts.
  // `segment` null: no row was live there. Rows whose image died while it was built are dead in the
  // new view too.
  void InstallSegment(std::shared_ptr<const Segment> segment, uint32_t first_slot,
                      uint32_t end_slot);

  // Of a reader: puts the writer's segments, which stand for the slots from 0 to the end of the
  // last one, in the place of what stood for those. False, and nothing is changed, when they do not
  // hold every live row there, or when a part in use reaches beyond their end.
  bool AdoptSegments(const std::vector<std::shared_ptr<const Segment>>& segments);

  // Lets go of everything, so that the store can be closed; then the state can be loaded again. No
  // other call may run.
  void Clear();
  // Lets go of the view of a deleted collection; calls that run keep theirs.
  void Retire();

  // Memory of vectors, graphs and field index, about.
  uint64_t memory_bytes() const;

  RecallProbe probe;

  // Set while a re-embedding's other collection serves in its place: every write is refused.
  std::atomic<bool> frozen{false};
  // The collection whose place it took; 0: none.
  std::atomic<uint32_t> replaces{0};

  // While `on`, ids that Apply changes are remembered (afresh from each TrackChanges(true) on).
  void TrackChanges(bool on);
  // Those since the call before; nullopt: more than a million, or not tracked.
  std::optional<std::vector<std::string>> TakeChanged();
  bool HasChanged() const;
  // Until then AwaitWrites blocks; the infinite past lets writers go on.
  void HoldWrites(absl::Time until);
  // To be called before a caller's write is queued, without a lock.
  void AwaitWrites();

  // Sum of StoredBytes over the stored images, expired ones included until they are deleted.
  std::atomic<int64_t> stored_bytes{0};
  // Of the slots in use; expired images leave it when they are deleted.
  DuplicateIndex duplicates;

  // Sum over the images, as of the newest write.
  std::atomic<uint64_t> original_bytes{0};

  // Set once, when the collection is deleted: every later call answers NOT_FOUND.
  std::atomic<bool> deleted{false};

 private:
  Reading Evaluate(const std::vector<const Filter*>& filters) const;
  bool Kill(View* view, uint32_t slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(apply_mutex_);
  void Append(View* view, uint32_t slot, absl::string_view id, const std::vector<float>& vector)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(apply_mutex_);
  void SetExpiry(uint32_t slot, int64_t expire_micros) ABSL_EXCLUSIVE_LOCKS_REQUIRED(apply_mutex_);
  void Publish(std::shared_ptr<const View> view) ABSL_EXCLUSIVE_LOCKS_REQUIRED(apply_mutex_);

  // Replaced by Clear only, while nobody reads.
  std::unique_ptr<FieldIndex> fields_ = std::make_unique<FieldIndex>();

  void DropKeywords();

  // Held while the state changes; readers take it only where a filter met a change three times.
  mutable Mutex apply_mutex_ ABSL_ACQUIRED_BEFORE(view_mutex_);
  std::shared_ptr<View> loading_ ABSL_GUARDED_BY(apply_mutex_);  // null once loaded
  std::shared_ptr<TailChunk> open_chunk_ ABSL_GUARDED_BY(apply_mutex_);
  std::set<std::pair<int64_t, uint32_t>> expiries_ ABSL_GUARDED_BY(apply_mutex_);  // time, slot
  absl::flat_hash_map<uint32_t, int64_t> expiry_of_slot_ ABSL_GUARDED_BY(apply_mutex_);
  std::vector<std::string> expired_ ABSL_GUARDED_BY(apply_mutex_);
  // Follows the writes, also while it is filled; null: nobody has asked for one.
  std::shared_ptr<KeywordIndex> keywords_ ABSL_GUARDED_BY(apply_mutex_);
  // Odd while the field index and the view change.
  std::atomic<uint64_t> change_sequence_{0};
  std::atomic<int64_t> next_expiry_;

  // Changed ids, once tracked; more than kMaxChanged: the marker alone.
  static constexpr size_t kMaxChanged = 1'000'000;
  std::optional<absl::flat_hash_set<std::string>> changed_ ABSL_GUARDED_BY(apply_mutex_);
  bool too_many_changed_ ABSL_GUARDED_BY(apply_mutex_) = false;

  Mutex hold_mutex_;
  CondVar hold_changed_;
  absl::Time hold_until_ ABSL_GUARDED_BY(hold_mutex_) = absl::InfinitePast();

  mutable Mutex current_mutex_;
  CollectionOptions current_ ABSL_GUARDED_BY(current_mutex_);

  Mutex keyword_mutex_;
  CondVar keywords_made_;
  bool making_keywords_ ABSL_GUARDED_BY(keyword_mutex_) = false;
  std::shared_ptr<const KeywordIndex> full_keywords_ ABSL_GUARDED_BY(keyword_mutex_);

  mutable Mutex view_mutex_;  // held for a pointer copy only
  std::shared_ptr<const View> view_ ABSL_GUARDED_BY(view_mutex_);
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_COLLECTION_STATE_H_
