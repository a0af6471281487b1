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

struct BackendFactory {
  std::string name;  // of the test instance
  IndexOptions index;
  std::function<std::unique_ptr<Backend>()> make;
};

inline std::ostream& operator<<(std::ostream& out, const BackendFactory& factory) {
  return out << factory.name;
}

// Given by the file that the suite is linked with.
std::vector<BackendFactory> Backends();

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_TESTS_INDEX_CONFORMANCE_H_
