// Reads safetensors files: one file or a sharded set with its index, memory-mapped, every byte of
// the header distrusted.
#ifndef IMAGESEARCH_ENCODER_CLIP_SAFETENSORS_H_
#define IMAGESEARCH_ENCODER_CLIP_SAFETENSORS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "encoder/clip/mapped_file.h"

namespace imagesearch::encoder {

// One tensor inside a mapped file; valid as long as its Safetensors lives.
struct TensorView {
  std::string dtype;              // as the file names it: F32, F16, BF16, I64, ...
  std::vector<int64_t> shape;     // each >= 0
  const uint8_t* data = nullptr;  // little endian, row-major, not necessarily aligned
  uint64_t bytes = 0;             // product of the shape times the element's size
};

// "(50, 768)".
std::string ShapeText(const std::vector<int64_t>& shape);

// Thread-safe: constant after Open.
class Safetensors {
 public:
  // Opens dir/name, or the shards that dir/name.index.json lists when there is no dir/name. Checks
  // that every header is well formed (at most 100 MB, as the format demands), that each tensor's
  // byte range fits its shape and type, and that the ranges cover the data without gap or overlap.
  // Errors: NOT_FOUND MODEL_FILE_MISSING, DATA_LOSS MODEL_DAMAGED, with the file's and the tensor's
  // name.
  static absl::StatusOr<std::unique_ptr<Safetensors>> Open(const std::string& dir,
                                                           const std::string& name);

  // Null when there is no such tensor.
  const TensorView* Find(const std::string& name) const;

  // All of them, by name.
  const std::map<std::string, TensorView>& tensors() const { return tensors_; }

  // The weight files, in the order of their names.
  const std::vector<std::unique_ptr<MappedFile>>& files() const { return files_; }

 private:
  Safetensors() = default;
  absl::Status AddFile(const std::string& path);

  std::vector<std::unique_ptr<MappedFile>> files_;
  std::map<std::string, TensorView> tensors_;
};

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_CLIP_SAFETENSORS_H_
