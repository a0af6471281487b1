// What an operator watches in a database, beside what each collection says of itself.
#ifndef IMAGESEARCH_INDEX_DATABASE_STATS_H_
#define IMAGESEARCH_INDEX_DATABASE_STATS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace imagesearch::index {

struct StoreStats {
  uint64_t memtable_bytes = 0;
  uint64_t block_cache_bytes = 0;
  uint64_t table_reader_bytes = 0;
  uint64_t pending_compaction_bytes = 0;
  uint64_t delayed_write_rate = 0;  // bytes a second to which writes are slowed now; 0: not slowed
  bool writes_stopped = false;      // now, until a flush or a compaction has caught up
  // How often flushes or compactions fell so far behind that writes were slowed or stopped, since
  // the store was opened.
  uint64_t slowdowns = 0;
  uint64_t stops = 0;
};

struct DatabaseStats {
  struct Snapshot {
    std::string collection;
    uint64_t version = 0;
    absl::Time time;  // when it was written
  };
  StoreStats store;
  std::vector<Snapshot> snapshots;  // the newest of each collection that has one
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_DATABASE_STATS_H_
