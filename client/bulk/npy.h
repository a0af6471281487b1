// NumPy's .npy files of vectors: one (n, d) array, C order, as numpy.save and clip-retrieval write
// them. Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#ifndef IMAGESEARCH_CLIENT_BULK_NPY_H_
#define IMAGESEARCH_CLIENT_BULK_NPY_H_

#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace imagesearch::client {

// Appends rows of float32; the header is completed by Close(). Not thread-safe.
class NpyWriter {
 public:
  static absl::StatusOr<std::unique_ptr<NpyWriter>> Open(const std::string& path, int dimension);
  absl::Status Write(const std::vector<float>& row);  // of `dimension` values
  absl::Status Close();

 private:
  NpyWriter(std::string path, int dimension) : path_(std::move(path)), dimension_(dimension) {}
  void WriteHeader();

  const std::string path_;
  const int dimension_;
  std::ofstream out_;
  uint64_t rows_ = 0;
};

// Reads row by row; float16 and float32, little-endian. Not thread-safe.
class NpyReader {
 public:
  // INVALID_ARGUMENT LOCAL_FILE: can't be read, another type, order or number of dimensions, or
  // shorter than its header says.
  static absl::StatusOr<std::unique_ptr<NpyReader>> Open(const std::string& path);
  uint64_t rows() const { return rows_; }
  int dimension() const { return dimension_; }
  // The next row; OUT_OF_RANGE after the last.
  absl::StatusOr<std::vector<float>> Read();

 private:
  explicit NpyReader(std::string path) : path_(std::move(path)) {}
  absl::Status ReadHeader();

  const std::string path_;
  std::ifstream in_;
  bool half_ = false;
  uint64_t rows_ = 0;
  uint64_t read_ = 0;
  int dimension_ = 0;
};

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_BULK_NPY_H_
