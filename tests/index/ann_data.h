// Vectors for index tests and benchmarks, shaped as CLIP's are: images in clusters around a common
// mean, text queries away from them. The recipe and its statistics are in docs/benchmarks.md.
#ifndef IMAGESEARCH_TESTS_INDEX_ANN_DATA_H_
#define IMAGESEARCH_TESTS_INDEX_ANN_DATA_H_

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "index/ann/ann_index.h"

namespace imagesearch::index::testing {

// What the vectors look like.
struct ClipLikeOptions {
  uint32_t images = 2000;
  uint32_t queries = 100;  // of each kind, and text samples
  int dimension = 64;
  uint32_t clusters = 40;
  float mean_part = 0.5f;      // squared length of the part that all images share
  float cluster_part = 0.25f;  // of the part that a cluster shares; the rest is noise
  float spectrum = 0.35f;      // direction i has an amplitude of (i + 1)^-spectrum
  float text_own = 0.1414f;    // length of a text's part that points at its own image
  float text_noise = 0.38f;    // squared length of a text's noise
  uint64_t seed = 1;
};

// Row-major unit vectors.
struct ClipLikeData {
  int dimension = 0;
  std::vector<float> images;
  std::vector<float> image_queries;  // of the same clusters, not among `images`
  std::vector<float> text_queries;
  std::vector<float> text_sample;  // other texts of the same kind

  const float* ImageQuery(size_t i) const { return image_queries.data() + i * dimension; }
  const float* TextQuery(size_t i) const { return text_queries.data() + i * dimension; }
};

ClipLikeData MakeClipLike(const ClipLikeOptions& options);

// Rows in memory.
class MemoryVectors final : public VectorSource {
 public:
  MemoryVectors(std::vector<float> values, int dimension)
      : values_(std::move(values)), dimension_(dimension) {}
  uint32_t rows() const override { return static_cast<uint32_t>(values_.size() / dimension_); }
  int dimension() const override { return dimension_; }
  const float* Row(uint32_t row) const override {
    return values_.data() + static_cast<size_t>(row) * dimension_;
  }

 private:
  std::vector<float> values_;
  int dimension_;
};

// The k nearest allowed rows by a plain loop: the oracle.
std::vector<Neighbor> PlainSearch(const VectorSource& vectors, const AnnQuery& query);

// Part of the oracle's rows that were found.
double Recall(const std::vector<Neighbor>& found, const std::vector<Neighbor>& truth);

class StringSink final : public ByteSink {
 public:
  void Write(const void* data, size_t size) override {
    bytes.append(static_cast<const char*>(data), size);
  }
  std::string bytes;
};

class StringSource final : public ByteSource {
 public:
  explicit StringSource(std::string bytes) : bytes_(std::move(bytes)) {}
  bool Read(void* data, size_t size) override {
    if (size > remaining()) return false;
    std::memcpy(data, bytes_.data() + at_, size);
    at_ += size;
    return true;
  }
  uint64_t remaining() const override { return bytes_.size() - at_; }

 private:
  std::string bytes_;
  size_t at_ = 0;
};

}  // namespace imagesearch::index::testing

#endif  // IMAGESEARCH_TESTS_INDEX_ANN_DATA_H_
