// What was written and what was acknowledged, so that a state found after a crash can be judged:
// every id must be as its last acknowledged write left it, or as the write that was under way would
// have. No third state.
#ifndef IMAGESEARCH_TESTS_INDEX_WRITE_HISTORY_H_
#define IMAGESEARCH_TESTS_INDEX_WRITE_HISTORY_H_

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "index/collection.h"

namespace imagesearch::index {

// The `sequence`-th content of an image; 0: absent.
std::vector<float> ContentVector(const std::string& id, uint64_t sequence, int dimension);
UpsertItem ContentItem(const std::string& id, uint64_t sequence, int dimension);

// Thread-safe; one writer for each id at a time.
class WriteHistory {
 public:
  explicit WriteHistory(int dimension) : dimension_(dimension) {}

  // About to write: after a crash the id may be in this state, or in the one before.
  void Begin(const std::string& id, uint64_t sequence);
  void Acknowledge(const std::string& id, uint64_t version);
  // The write was refused; nobody knows whether it is there after a restart.
  uint64_t acknowledged() const;
  uint64_t newest_version() const;

  // Checks a whole collection, and makes what was found the known state. GoogleTest failures.
  void Check(Collection* collection);

 private:
  struct State {
    uint64_t known = 0;
    std::optional<uint64_t> pending;
  };
  const int dimension_;
  mutable std::mutex mutex_;
  std::map<std::string, State> states_;
  uint64_t acknowledged_ = 0;
  uint64_t newest_version_ = 0;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_TESTS_INDEX_WRITE_HISTORY_H_
