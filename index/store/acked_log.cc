#include "index/store/acked_log.h"

#include <utility>

#include "absl/strings/string_view.h"
#include "index/store/crc32c.h"
#include "index/store/keys.h"
#include "index/store/rocks_status.h"

namespace imagesearch::index {
namespace {

// A note: big-endian version, flags (1 = clean), CRC-32C of both.
constexpr size_t kNoteBytes = 16;
constexpr uint64_t kMaxBytes = 64 << 10;  // then the file starts anew
constexpr uint64_t kSyncMicros = 1'000'000;

std::string Encode(const AckedLog::Note& note) {
  std::string bytes;
  AppendBigEndian<uint64_t>(note.version, &bytes);
  AppendBigEndian<uint32_t>(note.clean ? 1 : 0, &bytes);
  AppendBigEndian<uint32_t>(Crc32c(bytes.data(), bytes.size()), &bytes);
  return bytes;
}

}  // namespace

absl::StatusOr<AckedLog::Note> AckedLog::Read(rocksdb::Env* env, const std::string& path) {
  Note last;
  if (env->FileExists(path).IsNotFound()) return last;
  std::string bytes;
  rocksdb::Status status = rocksdb::ReadFileToString(env, path, &bytes);
  if (!status.ok()) return FromRocks(status, "reading " + path);
  for (size_t at = 0; at + kNoteBytes <= bytes.size(); at += kNoteBytes) {
    absl::string_view note(bytes.data() + at, kNoteBytes);
    if (ReadBigEndian<uint32_t>(note.substr(12)) != Crc32c(note.data(), 12)) continue;
    last.version = ReadBigEndian<uint64_t>(note);
    last.clean = (ReadBigEndian<uint32_t>(note.substr(8)) & 1) != 0;
  }
  return last;
}

absl::StatusOr<std::unique_ptr<AckedLog>> AckedLog::Create(rocksdb::Env* env,
                                                           const std::string& path,
                                                           uint64_t version) {
  std::unique_ptr<AckedLog> log(new AckedLog(env, path));
  absl::Status status = log->Rewrite({version, false});
  if (!status.ok()) return status;
  return log;
}

absl::Status AckedLog::Append(const Note& note) {
  if (size_ >= kMaxBytes) return Rewrite(note);
  rocksdb::Status status = file_->Append(Encode(note));
  if (status.ok()) status = file_->Flush();
  size_ += kNoteBytes;
  const uint64_t now = env_->NowMicros();
  if (status.ok() && (note.clean || now - synced_micros_ >= kSyncMicros)) {
    status = file_->Sync();
    synced_micros_ = now;
  }
  return FromRocks(status, "writing " + path_);
}

absl::Status AckedLog::Rewrite(const Note& note) {
  const std::string temporary = path_ + ".tmp";
  std::unique_ptr<rocksdb::WritableFile> file;
  rocksdb::Status status = env_->NewWritableFile(temporary, &file, rocksdb::EnvOptions());
  if (status.ok()) status = file->Append(Encode(note));
  if (status.ok()) status = file->Sync();
  if (status.ok()) status = env_->RenameFile(temporary, path_);
  std::unique_ptr<rocksdb::Directory> directory;
  const std::string folder = path_.substr(0, path_.rfind('/'));
  if (status.ok()) status = env_->NewDirectory(folder, &directory);
  if (status.ok()) status = directory->Fsync();
  if (!status.ok()) return FromRocks(status, "writing " + path_);
  file_ = std::move(file);
  size_ = kNoteBytes;
  synced_micros_ = env_->NowMicros();
  return absl::OkStatus();
}

}  // namespace imagesearch::index
