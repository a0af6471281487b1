// The vectors, slots and ids of one segment in one mapped file. Layout in docs/formats.md.
#ifndef IMAGESEARCH_INDEX_STORE_ROW_FILE_H_
#define IMAGESEARCH_INDEX_STORE_ROW_FILE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "index/ann/ann_index.h"
#include "index/store/checked_file.h"

namespace imagesearch::index {

// Whose file it is: a file that belongs elsewhere is not loaded.
struct FileIdentity {
  std::string instance_id;
  uint32_t collection = 0;
  int dimension = 0;
  std::string model_fingerprint;
};

// Immutable and thread-safe.
class RowFile : public VectorSource {
 public:
  // DATA_LOSS when damaged or another collection's.
  static absl::StatusOr<std::shared_ptr<const RowFile>> Open(const std::string& path,
                                                             const FileIdentity& identity);

  uint32_t rows() const override { return rows_; }
  int dimension() const override { return dimension_; }
  const float* Row(uint32_t row) const override { return vectors_ + size_t{row} * dimension_; }

  uint32_t first_slot() const { return first_slot_; }
  uint32_t end_slot() const { return end_slot_; }
  absl::Span<const uint32_t> slots() const { return {slots_, rows_}; }  // ascending
  absl::string_view id(uint32_t row) const {
    return {ids_ + id_offsets_[row], static_cast<size_t>(id_offsets_[row + 1] - id_offsets_[row])};
  }
  std::optional<uint32_t> RowOfSlot(uint32_t slot) const;
  uint64_t file_bytes() const { return file_->payload().size(); }

 private:
  std::unique_ptr<CheckedFile> file_;
  uint32_t rows_ = 0;
  int dimension_ = 0;
  uint32_t first_slot_ = 0;
  uint32_t end_slot_ = 0;
  const float* vectors_ = nullptr;
  const uint64_t* id_offsets_ = nullptr;
  const uint32_t* slots_ = nullptr;
  const char* ids_ = nullptr;
};

// Takes rows by ascending slot. Not thread-safe.
class RowFileWriter {
 public:
  static absl::StatusOr<std::unique_ptr<RowFileWriter>> Create(rocksdb::Env* env,
                                                               const std::string& path,
                                                               const FileIdentity& identity);
  // `vector`: the identity's dimension values.
  void Add(uint32_t slot, absl::string_view id, const float* vector);
  uint32_t rows() const { return static_cast<uint32_t>(slots_.size()); }
  absl::Status Finish(uint32_t first_slot, uint32_t end_slot);

 private:
  RowFileWriter(std::unique_ptr<CheckedFileWriter> file, FileIdentity identity)
      : file_(std::move(file)), identity_(std::move(identity)) {}

  std::unique_ptr<CheckedFileWriter> file_;
  const FileIdentity identity_;
  std::vector<uint32_t> slots_;
  std::vector<uint64_t> id_offsets_{0};
  std::string ids_;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_ROW_FILE_H_
