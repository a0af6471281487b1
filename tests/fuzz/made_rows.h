// The rows that the snapshot fuzzer's index files are of, and whose they are.
#ifndef IMAGESEARCH_TESTS_FUZZ_MADE_ROWS_H_
#define IMAGESEARCH_TESTS_FUZZ_MADE_ROWS_H_

#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "index/ann/ann_index.h"

namespace imagesearch::index {

inline constexpr char kFuzzInstance[] = "0123456789abcdef";
inline constexpr uint32_t kFuzzCollection = 1;
inline constexpr int kFuzzDimension = 4;
inline constexpr char kFuzzModel[] = "model";

// 96 unit vectors around a sphere: enough for lists and a graph.
class MadeRows : public VectorSource {
 public:
  MadeRows() {
    for (uint32_t row = 0; row < rows(); ++row) {
      float vector[kFuzzDimension], norm = 0;
      for (int i = 0; i < kFuzzDimension; ++i) {
        vector[i] = std::sin(1.0f + static_cast<float>(row * (2 * i + 1)));
        norm += vector[i] * vector[i];
      }
      for (const float x : vector) values_.push_back(x / std::sqrt(norm));
    }
  }
  uint32_t rows() const override { return 96; }
  int dimension() const override { return kFuzzDimension; }
  const float* Row(uint32_t row) const override { return &values_[row * kFuzzDimension]; }

 private:
  std::vector<float> values_;
};

inline std::shared_ptr<const MadeRows> FuzzRows() {
  static const auto* rows = new std::shared_ptr<const MadeRows>(std::make_shared<MadeRows>());
  return *rows;
}

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_TESTS_FUZZ_MADE_ROWS_H_
