// The container of every index file: a payload that is verified as a whole before anybody reads a
// byte of it. Layout in docs/formats.md.
#ifndef IMAGESEARCH_INDEX_STORE_CHECKED_FILE_H_
#define IMAGESEARCH_INDEX_STORE_CHECKED_FILE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "index/ann/ann_index.h"
#include "rocksdb/env.h"

namespace imagesearch::index {

enum class FileKind : uint32_t { kRows = 1, kAnn = 2, kSnapshot = 3, kBackup = 4 };

// The layout that this release writes; a newer one is refused.
inline constexpr uint32_t kCheckedFileVersion = 1;

// Writes PATH.tmp; Finish makes it PATH, so that PATH is there wholly or not at all. Not
// thread-safe.
class CheckedFileWriter : public ByteSink {
 public:
  static absl::StatusOr<std::unique_ptr<CheckedFileWriter>> Create(rocksdb::Env* env,
                                                                   const std::string& path,
                                                                   FileKind kind);
  // An unfinished file is removed.
  ~CheckedFileWriter() override;

  void Write(const void* data, size_t size) override;
  // `description`: what the payload is, at most 1 MiB; its owner's format.
  absl::Status Finish(absl::string_view description);
  uint64_t payload_size() const { return payload_size_; }
  const absl::Status& status() const { return status_; }

 private:
  CheckedFileWriter(rocksdb::Env* env, std::string path) : env_(env), path_(std::move(path)) {}
  void Append(absl::string_view bytes);
  void EndBlock();

  rocksdb::Env* const env_;
  const std::string path_;
  std::unique_ptr<rocksdb::WritableFile> file_;
  std::string buffer_;
  std::vector<uint32_t> block_crcs_;
  uint64_t payload_size_ = 0;
  FileKind kind_ = FileKind::kRows;
  absl::Status status_;
  bool finished_ = false;
};

// A verified file, mapped into memory. Immutable and thread-safe.
class CheckedFile {
 public:
  // DATA_LOSS when any byte is not as it was written, FAILED_PRECONDITION when a newer release
  // wrote it, NOT_FOUND.
  static absl::StatusOr<std::unique_ptr<CheckedFile>> Open(const std::string& path, FileKind kind);
  ~CheckedFile();
  CheckedFile(const CheckedFile&) = delete;
  CheckedFile& operator=(const CheckedFile&) = delete;

  // Starts at a multiple of 64 bytes.
  absl::string_view payload() const { return payload_; }
  absl::string_view description() const { return description_; }
  // The payload will be read here and there: no read-ahead.
  void AdviseRandom() const;

 private:
  CheckedFile() = default;
  absl::Status Verify(FileKind kind, const std::string& path);

  const char* data_ = nullptr;
  size_t size_ = 0;
  absl::string_view payload_;
  absl::string_view description_;
};

// Reads verified bytes.
class MemorySource : public ByteSource {
 public:
  explicit MemorySource(absl::string_view bytes) : bytes_(bytes) {}
  bool Read(void* data, size_t size) override;
  uint64_t remaining() const override { return bytes_.size(); }

 private:
  absl::string_view bytes_;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_CHECKED_FILE_H_
