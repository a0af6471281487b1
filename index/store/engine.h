// What the collections of one embedded database share: the store, its one writer, the clock.
#ifndef IMAGESEARCH_INDEX_STORE_ENGINE_H_
#define IMAGESEARCH_INDEX_STORE_ENGINE_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "index/embedded_database.h"
#include "index/store/gate.h"
#include "index/store/group_commit.h"
#include "index/store/rocks_store.h"

namespace imagesearch::index {

struct Engine {
  explicit Engine(EmbeddedOptions options, bool reader = false)
      : options(std::move(options)), reader(reader) {}

  // Microseconds since 1970, never going back: an image that has expired stays expired when the
  // wall clock is set back.
  int64_t NowMicros() {
    const absl::Time now = options.clock ? options.clock() : absl::Now();
    const int64_t micros = absl::ToUnixMicros(now);
    int64_t latest = latest_micros.load();
    while (micros > latest && !latest_micros.compare_exchange_weak(latest, micros)) {
    }
    return std::max(micros, latest);
  }

  const EmbeddedOptions options;
  const bool reader;  // another process writes the folder: nothing in it is changed here
  Gate gate;          // a call holds a Pass while it uses the members below
  std::unique_ptr<RocksStore> store;
  GroupCommit commit;
  std::atomic<int64_t> latest_micros{0};
  // Of all collections, measured now and then.
  std::atomic<uint64_t> memory_bytes{0};
  // Set when builds shall stop.
  const std::shared_ptr<std::atomic<bool>> cancelled = std::make_shared<std::atomic<bool>>(false);
};

// What a job's caller is told: a stop that it did not ask for is the database's.
inline absl::Status JobError(const absl::Status& status, const JobControl& control) {
  if (!absl::IsCancelled(status) || control.IsCancelled()) return status;
  return Error(absl::StatusCode::kUnavailable, "CLOSED", "the database is closed");
}

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_ENGINE_H_
