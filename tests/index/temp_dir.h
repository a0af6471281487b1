// A folder of one test, removed at its end.
#ifndef IMAGESEARCH_TESTS_INDEX_TEMP_DIR_H_
#define IMAGESEARCH_TESTS_INDEX_TEMP_DIR_H_

#include <cstdlib>
#include <filesystem>
#include <string>

#include "gtest/gtest.h"

namespace imagesearch::index {

class TempDir {
 public:
  TempDir() {
    std::string pattern = ::testing::TempDir() + "/imagesearch_index_XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_TESTS_INDEX_TEMP_DIR_H_
