// Writes that share one synced RocksDB batch. Each op gets a version of its own and sees what the
// ops before it in the group did.
#ifndef IMAGESEARCH_INDEX_STORE_WRITE_GROUP_H_
#define IMAGESEARCH_INDEX_STORE_WRITE_GROUP_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "index/store/collection_state.h"
#include "index/store/records.pb.h"
#include "index/store/rocks_store.h"
#include "rocksdb/write_batch.h"

namespace imagesearch::index {

// Not thread-safe: the leading writer's.
class WriteGroup {
 public:
  WriteGroup(const RocksStore* store, uint64_t next_version)
      : store_(store), next_version_(next_version) {}

  // The item as this group leaves it; nullopt when missing.
  absl::StatusOr<std::optional<records::Item>> Find(const CollectionState& collection,
                                                    const std::string& id) const;

  // One op: Begin, any number of Put, Update and Remove, then End. Only Begin can fail, so an op is
  // in the group wholly or not at all. `max_puts`: at most so many Puts will follow;
  // RESOURCE_EXHAUSTED SLOTS when the collection has not that many slot numbers left, UNAVAILABLE
  // MOVED when it is frozen.
  absl::Status Begin(const std::shared_ptr<CollectionState>& collection, uint64_t max_puts);
  // Gives the image a fresh slot. `old`: what Find returned. Slot and version of `item` are set
  // here. `original`: its upload, to be kept; empty: none, and the old image's goes.
  void Put(const std::string& id, const std::optional<records::Item>& old, records::Item item,
           std::vector<float> vector, absl::string_view original = "");
  // New metadata and expiry, same slot.
  void Update(const std::string& id, const records::Item& old, records::Item item);
  void Remove(const std::string& id, const records::Item& old);
  // The op makes the collection larger or smaller by so many images, for Pending.
  void CountImages(int64_t delta) { current_->images += delta; }
  // The op's version; 0 when it changed nothing.
  uint64_t End();

  // What the ops so far add to the collection's live images (CountImages) and stored bytes, beyond
  // its state in memory.
  struct Growth {
    int64_t images = 0;
    int64_t bytes = 0;
  };
  Growth Pending(const CollectionState& collection) const;

  // What the ops before have changed of a collection, in order: not in its state yet.
  absl::Span<const MemoryChange> Changes(const CollectionState& collection) const;

  // An op on the set of collections. `after_commit` runs once the batch is durable.
  uint64_t StageRecord(const records::Change& change,
                       const std::function<void(rocksdb::WriteBatch*, uint64_t version)>& fill,
                       std::function<void()> after_commit);

  bool empty() const { return last_version_ == 0; }
  uint64_t last_version() const { return last_version_; }
  uint64_t next_version() const { return next_version_; }
  // Adds what belongs to the group as a whole and returns the batch to commit.
  rocksdb::WriteBatch* Seal();
  // Makes everything visible, after the commit.
  void Publish(const StoreSnapshot& snapshot);
  // How much is staged, about.
  size_t bytes() const { return batch_.GetDataSize(); }

 private:
  struct Touched {
    std::shared_ptr<CollectionState> state;
    records::CollectionCounters counters;
    std::vector<MemoryChange> changes;
    int64_t images = 0;
    absl::flat_hash_map<std::string, std::optional<records::Item>> items;  // changed in this group
  };
  void Write(const std::string& id, const records::Item& item);
  int64_t BytesOf(const std::string& id, const records::Item& item) const;
  void DropOriginal(const std::string& id, const records::Item& old);

  const RocksStore* const store_;
  rocksdb::WriteBatch batch_;
  uint64_t next_version_;
  uint64_t last_version_ = 0;
  absl::flat_hash_map<uint32_t, std::unique_ptr<Touched>> touched_;
  std::vector<std::function<void()>> after_commit_;

  Touched* current_ = nullptr;  // of the op between Begin and End
  records::Change change_;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_WRITE_GROUP_H_
