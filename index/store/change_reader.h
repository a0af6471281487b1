// What the change records of a range of versions come to, for a reader that follows the writer.
#ifndef IMAGESEARCH_INDEX_STORE_CHANGE_READER_H_
#define IMAGESEARCH_INDEX_STORE_CHANGE_READER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "absl/status/statusor.h"
#include "index/store/collection_state.h"
#include "index/store/rocks_store.h"

namespace imagesearch::index {

struct CollectionChanges {
  uint64_t version = 0;  // the newest that touched it
  // One for each image, added slots ascending: what lies between is left out.
  std::vector<MemoryChange> changes;
  // Records of an older release lack what is needed: load the collection anew.
  bool incomplete = false;
};

struct ChangeSet {
  std::map<uint32_t, CollectionChanges> collections;
  // The set of collections, or what is known of one, changed.
  bool catalog = false;
};

// Reads versions (after, to] out of a secondary store that stands at `to`. `dimension_of` answers 0
// for a collection that is not followed: its images are left out. OUT_OF_RANGE when a record is
// missing: a log file was not read in time (RocksStore::CatchUp; call it again), or the records
// were dropped, because no kept snapshot needs them. ABORTED when what is stored does not fit the
// records, for the same first reason. Nobody may call CatchUp meanwhile.
absl::StatusOr<ChangeSet> ReadChanges(const RocksStore& store, uint64_t after, uint64_t to,
                                      const std::function<int(uint32_t collection)>& dimension_of);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_CHANGE_READER_H_
