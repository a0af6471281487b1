// One suite for every kind of index and every engine behind index/collection.h: what a collection
// promises is tested once and run against each.
#ifndef IMAGESEARCH_TESTS_INDEX_CONFORMANCE_H_
#define IMAGESEARCH_TESTS_INDEX_CONFORMANCE_H_

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "index/database.h"

namespace imagesearch::index {

// One running engine, empty at first.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual Database* database() = 0;
  // Stops and starts the engine; everything acknowledged must still be there.
  virtual void Restart() = 0;
  virtual void AdvanceClock(absl::Duration by) = 0;
};

// What an engine does otherwise than index/collection.h promises. The suite asserts these.
struct Differences {
  // `exact` is refused with NOT_ON_MILVUS.
  bool refuses_exact = false;
  // A reader may see a part of a batch.
  bool shows_halves_of_batches = false;
  // A version is a time (milliseconds since 1970 above 18 bits), reached when it has passed, also
  // without a write; a record's version lies a little before that of the write that made it.
  bool versions_are_times = false;
};

struct BackendFactory {
  std::string name;  // of the test instance
  IndexOptions index;
  std::function<std::unique_ptr<Backend>()> make;
  Differences differences = {};
};

inline std::ostream& operator<<(std::ostream& out, const BackendFactory& factory) {
  return out << factory.name;
}

// Given by the file that the suite is linked with.
std::vector<BackendFactory> Backends();

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_TESTS_INDEX_CONFORMANCE_H_
