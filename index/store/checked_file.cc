#include "index/store/checked_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "index/store/crash_point.h"
#include "index/store/crc32c.h"
#include "index/store/data_folder.h"
#include "index/store/rocks_status.h"

namespace imagesearch::index {
namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "index files are little-endian");

constexpr size_t kBlockBytes = 1 << 20;
constexpr size_t kMaxDescriptionBytes = 1 << 20;
constexpr char kMagic[8] = {'I', 'M', 'S', 'I', 'N', 'D', 'E', 'X'};

struct Header {
  char magic[8];
  uint32_t version;
  uint32_t kind;
  uint32_t block_bytes;
  char zeros[40];
  uint32_t crc;  // of the bytes before it
};
static_assert(sizeof(Header) == 64);

struct Footer {
  uint64_t payload_size;
  uint32_t description_size;
  uint32_t blocks;
  uint32_t trailer_crc;  // of the description and the block table
  uint32_t header_crc;
  char magic[8];
  uint32_t zero;
  uint32_t crc;  // of the bytes before it
};
static_assert(sizeof(Footer) == 40);

template <typename T>
uint32_t CrcOfAllButCrc(const T& block) {
  return Crc32c(&block, sizeof(T) - sizeof(uint32_t));
}

Header MakeHeader(FileKind kind) {
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.version = kCheckedFileVersion;
  header.kind = static_cast<uint32_t>(kind);
  header.block_bytes = kBlockBytes;
  header.crc = CrcOfAllButCrc(header);
  return header;
}

absl::Status Damaged(const std::string& path, absl::string_view what) {
  return Error(absl::StatusCode::kDataLoss, "INDEX_FILE_CORRUPT", absl::StrCat(path, ": ", what));
}

}  // namespace

absl::StatusOr<std::unique_ptr<CheckedFileWriter>> CheckedFileWriter::Create(
    rocksdb::Env* env, const std::string& path, FileKind kind) {
  std::unique_ptr<CheckedFileWriter> writer(new CheckedFileWriter(env, path));
  writer->kind_ = kind;
  rocksdb::Status made = env->NewWritableFile(path + ".tmp", &writer->file_, rocksdb::EnvOptions());
  if (!made.ok()) return FromRocks(made, "making " + path + ".tmp");
  const Header header = MakeHeader(kind);
  writer->Append({reinterpret_cast<const char*>(&header), sizeof(header)});
  if (!writer->status_.ok()) return writer->status_;
  return writer;
}

CheckedFileWriter::~CheckedFileWriter() {
  if (finished_) return;
  file_.reset();
  env_->DeleteFile(path_ + ".tmp").PermitUncheckedError();
}

void CheckedFileWriter::Append(absl::string_view bytes) {
  if (!status_.ok()) return;
  status_ = FromRocks(file_->Append(rocksdb::Slice(bytes.data(), bytes.size())),
                      "writing " + path_ + ".tmp");
}

void CheckedFileWriter::EndBlock() {
  if (buffer_.empty()) return;
  block_crcs_.push_back(Crc32c(buffer_.data(), buffer_.size()));
  Append(buffer_);
  buffer_.clear();
}

void CheckedFileWriter::Write(const void* data, size_t size) {
  const char* bytes = static_cast<const char*>(data);
  payload_size_ += size;
  while (size > 0) {
    const size_t part = std::min(size, kBlockBytes - buffer_.size());
    buffer_.append(bytes, part);
    bytes += part;
    size -= part;
    if (buffer_.size() == kBlockBytes) EndBlock();
  }
}

absl::Status CheckedFileWriter::Finish(absl::string_view description) {
  if (description.size() > kMaxDescriptionBytes) {
    return absl::InternalError(absl::StrCat(path_, ": description of ", description.size(), " B"));
  }
  EndBlock();
  std::string trailer(description);
  trailer.append(reinterpret_cast<const char*>(block_crcs_.data()),
                 block_crcs_.size() * sizeof(uint32_t));
  Footer footer{};
  footer.payload_size = payload_size_;
  footer.description_size = static_cast<uint32_t>(description.size());
  footer.blocks = static_cast<uint32_t>(block_crcs_.size());
  footer.trailer_crc = Crc32c(trailer.data(), trailer.size());
  footer.header_crc = MakeHeader(kind_).crc;
  std::memcpy(footer.magic, kMagic, sizeof(kMagic));
  footer.crc = CrcOfAllButCrc(footer);
  Append(trailer);
  Append({reinterpret_cast<const char*>(&footer), sizeof(footer)});
  if (!status_.ok()) return status_;
  CrashPoint("checked_file.before_sync");
  rocksdb::Status status = file_->Sync();
  if (status.ok()) status = file_->Close();
  CrashPoint("checked_file.before_rename");
  if (status.ok()) status = env_->RenameFile(path_ + ".tmp", path_);
  if (!status.ok()) return status_ = FromRocks(status, "finishing " + path_);
  finished_ = true;
  CrashPoint("checked_file.before_folder_sync");
  return SyncParent(env_, path_);
}

absl::StatusOr<std::unique_ptr<CheckedFile>> CheckedFile::Open(const std::string& path,
                                                               FileKind kind) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT) return absl::NotFoundError(absl::StrCat("no file ", path));
    return absl::UnavailableError(absl::StrCat("opening ", path, ": ", strerror(errno)));
  }
  std::unique_ptr<CheckedFile> file(new CheckedFile());
  struct stat info {};
  if (fstat(fd, &info) != 0 ||
      static_cast<uint64_t>(info.st_size) < sizeof(Header) + sizeof(Footer)) {
    close(fd);
    return Damaged(path, "shorter than its header and footer");
  }
  file->size_ = static_cast<size_t>(info.st_size);
  void* data = mmap(nullptr, file->size_, PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  if (data == MAP_FAILED) {
    return absl::UnavailableError(absl::StrCat("mapping ", path, ": ", strerror(errno)));
  }
  file->data_ = static_cast<const char*>(data);
  madvise(data, file->size_, MADV_SEQUENTIAL);
  absl::Status status = file->Verify(kind, path);
  if (!status.ok()) return status;
  madvise(data, file->size_, MADV_NORMAL);
  // The check read all of it; what nobody needs now shall not count as this process's memory. The
  // pages stay in the system's cache.
  madvise(data, file->size_, MADV_DONTNEED);
  return file;
}

absl::Status CheckedFile::Verify(FileKind kind, const std::string& path) {
  Header header;
  Footer footer;
  std::memcpy(&header, data_, sizeof(header));
  std::memcpy(&footer, data_ + size_ - sizeof(footer), sizeof(footer));
  if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0 ||
      header.crc != CrcOfAllButCrc(header)) {
    return Damaged(path, "the header is damaged");
  }
  if (header.version > kCheckedFileVersion) {
    return Error(absl::StatusCode::kFailedPrecondition, "NEWER_FORMAT",
                 absl::StrCat(path, " has layout ", header.version, "; this release reads up to ",
                              kCheckedFileVersion));
  }
  if (header.kind != static_cast<uint32_t>(kind) || header.block_bytes != kBlockBytes) {
    return Damaged(path, "another kind of file");
  }
  if (std::memcmp(footer.magic, kMagic, sizeof(kMagic)) != 0 ||
      footer.crc != CrcOfAllButCrc(footer) || footer.header_crc != header.crc) {
    return Damaged(path, "the footer is damaged");
  }
  const size_t room = size_ - sizeof(Header) - sizeof(Footer);
  const uint64_t blocks =
      footer.payload_size / kBlockBytes + (footer.payload_size % kBlockBytes != 0 ? 1 : 0);
  if (footer.payload_size > room || footer.description_size > kMaxDescriptionBytes ||
      footer.blocks != blocks ||
      footer.payload_size + footer.description_size + blocks * sizeof(uint32_t) != room) {
    return Damaged(path, "its sizes do not add up");
  }
  payload_ = {data_ + sizeof(Header), static_cast<size_t>(footer.payload_size)};
  description_ = {payload_.data() + payload_.size(), footer.description_size};
  const char* table = description_.data() + description_.size();
  if (Crc32c(description_.data(), description_.size() + blocks * sizeof(uint32_t)) !=
      footer.trailer_crc) {
    return Damaged(path, "the block table is damaged");
  }
  for (uint64_t block = 0; block < blocks; ++block) {
    const absl::string_view bytes = payload_.substr(block * kBlockBytes, kBlockBytes);
    uint32_t expected;
    std::memcpy(&expected, table + block * sizeof(uint32_t), sizeof(expected));
    if (Crc32c(bytes.data(), bytes.size()) != expected) {
      return Damaged(path, absl::StrCat("block ", block, " of ", blocks, " is damaged"));
    }
  }
  return absl::OkStatus();
}

void CheckedFile::AdviseRandom() const { madvise(const_cast<char*>(data_), size_, MADV_RANDOM); }

CheckedFile::~CheckedFile() {
  if (data_ != nullptr) munmap(const_cast<char*>(data_), size_);
}

bool MemorySource::Read(void* data, size_t size) {
  if (size > bytes_.size()) return false;
  std::memcpy(data, bytes_.data(), size);
  bytes_.remove_prefix(size);
  return true;
}

}  // namespace imagesearch::index
