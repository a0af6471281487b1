// Remembers which files have been stored, so that a second run of an index job skips them.
//
// One text file for each data folder of a server and collection, kept outside the source. A line is
//   CONTENT_HASH SENT_HASH METADATA_HASH ID SIZE MODIFIED_NS PATH <newline>
// separated by tabs, with ID and PATH C-escaped; later lines of a path win. Lines are appended
// after the server's acknowledgement. A line cut by a crash has no newline and is ignored: its file
// is sent again.
#ifndef IMAGESEARCH_CLIENT_BULK_JOURNAL_H_
#define IMAGESEARCH_CLIENT_BULK_JOURNAL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"

namespace imagesearch::client {

struct JournalEntry {
  std::string content_hash;   // of the file
  std::string sent_hash;      // of what was sent; differs for a picture that was shrunk
  std::string metadata_hash;  // of what the user gave with it (side file, manifest, options)
  std::string id;
  uint64_t size = 0;
  int64_t modified_ns = 0;
};

// Thread-safe.
class Journal {
 public:
  // $XDG_STATE_HOME/imagesearch, or ~/.local/state/imagesearch.
  static std::string DefaultFolder();

  // Reads or begins the journal of this server instance and collection. Rewrites it when more than
  // half of its lines are superseded and no other job holds it.
  static absl::StatusOr<std::unique_ptr<Journal>> Open(const std::string& folder,
                                                       const std::string& instance_id,
                                                       const std::string& collection);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // Appends a line with one write.
  absl::Status Record(const std::string& path, const JournalEntry& entry);

  // What the file said when it was opened, by path; less what Forget() took out.
  const std::unordered_map<std::string, JournalEntry>& entries() const { return entries_; }
  // Drops what the server no longer holds. Not while another thread reads entries().
  void Forget(const std::string& path) { entries_.erase(path); }

  const std::string& path() const { return path_; }

 private:
  Journal(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}

  absl::Status Load();
  absl::Status Compact();

  const std::string path_;
  std::unordered_map<std::string, JournalEntry> entries_;  // constant while a job runs
  uint64_t lines_ = 0;

  Mutex mutex_;
  int fd_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_BULK_JOURNAL_H_
