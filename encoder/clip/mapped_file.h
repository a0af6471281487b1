// A file mapped read-only into memory.
#ifndef IMAGESEARCH_ENCODER_CLIP_MAPPED_FILE_H_
#define IMAGESEARCH_ENCODER_CLIP_MAPPED_FILE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace imagesearch::encoder {

// Thread-safe: constant after Open. The file must not be cut while it is mapped.
class MappedFile {
 public:
  // NOT_FOUND MODEL_FILE_MISSING when there is no such file, DATA_LOSS MODEL_DAMAGED when it can't
  // be read.
  static absl::StatusOr<std::unique_ptr<MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  const uint8_t* data() const { return data_; }
  uint64_t size() const { return size_; }

 private:
  MappedFile(std::string path, const uint8_t* data, uint64_t size)
      : path_(std::move(path)), data_(data), size_(size) {}

  const std::string path_;
  const uint8_t* const data_;
  const uint64_t size_;
};

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_CLIP_MAPPED_FILE_H_
