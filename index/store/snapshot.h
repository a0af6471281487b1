// Which segments made up a collection at a version: a small file each time they change, two kept.
#ifndef IMAGESEARCH_INDEX_STORE_SNAPSHOT_H_
#define IMAGESEARCH_INDEX_STORE_SNAPSHOT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "index/store/collection_state.h"
#include "index/store/engine.h"
#include "index/store/records.pb.h"

namespace imagesearch::index {

// Writes the snapshot of the segments of `view` as of `version`, then removes what no kept snapshot
// names: the third newest snapshot, and files of segments that none of the kept ones holds.
absl::Status WriteSnapshot(const Engine& engine, const CollectionState& state, const View& view,
                           uint64_t version);

// The whole and fitting snapshots, newest first. Damaged ones are reported in `problems`.
std::vector<records::SnapshotDescription> ReadSnapshots(const Engine& engine,
                                                        const CollectionState& state,
                                                        std::vector<std::string>* problems);

// Names of the files that the newest whole snapshot needs, its own among them; empty when there is
// none. A merge may remove them soon after.
std::vector<std::string> NewestSnapshotFiles(const Engine& engine, const CollectionState& state);

// The version of the oldest kept snapshot; nullopt when there is none.
std::optional<uint64_t> OldestSnapshot(const Engine& engine, uint32_t collection);

// Version and time of writing of the newest one; nullopt when there is none.
struct SnapshotMark {
  uint64_t version = 0;
  absl::Time time;
};
std::optional<SnapshotMark> NewestSnapshot(const Engine& engine, uint32_t collection);

// The name of the newest snapshot's file; empty when there is none.
std::string NewestSnapshotName(const Engine& engine, uint32_t collection);

// Removes the index files of a collection that is gone.
void RemoveIndexFolder(const Engine& engine, uint32_t collection);

// The same for all but `collections`. For the start: a collection made meanwhile would lose its
// own.
void RemoveStrayFolders(const Engine& engine, const std::vector<uint32_t>& collections);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_SNAPSHOT_H_
