// Indexes any number of pictures: reads, hashes, shrinks and sends them in parallel with bounded
// memory, skips what an earlier run has stored, and accounts for every one.
#ifndef IMAGESEARCH_CLIENT_BULK_INDEX_JOB_H_
#define IMAGESEARCH_CLIENT_BULK_INDEX_JOB_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "client/bulk/bounded_queue.h"
#include "client/bulk/journal.h"
#include "client/bulk/source.h"
#include "client/client.h"
#include "client/picture/prepare.h"
#include "client/uploader.h"

namespace imagesearch::client {

struct IndexOptions {
  std::string collection = "default";
  // The id is the absolute path instead of the content hash: a changed file replaces its picture,
  // and equal files are kept apart.
  bool id_from_path = false;
  // Threads that read, hash and shrink.
  int readers = 2;
  // Looks and compares, sends nothing.
  bool dry_run = false;
  // After the last file: deletes pictures of these sources whose file is gone or has changed.
  // Left out when some folder could not be read.
  bool sync = false;
  // Stops when more than this part of at least 50 pictures have failed. 1: never.
  double max_error_rate = 1;
  // Date, camera, size and place from EXIF as metadata.
  bool exif = false;
  // Metadata by path or file name (side_file.h).
  std::unordered_map<std::string, google::protobuf::Struct> side_metadata;
  // Where the journal lies; empty: no journal, every file is sent.
  std::string journal_folder;
  UploaderOptions uploader;
};

struct IndexCounts {
  uint64_t seen = 0;  // = sent + unchanged + duplicates + failed, once the job is done
  uint64_t sent = 0;
  uint64_t unchanged = 0;   // stored by an earlier run, and still there
  uint64_t duplicates = 0;  // same bytes as another file that is indexed, or skipped by the server
  uint64_t reported = 0;    // of those sent: duplicates of stored pictures, stored all the same
  uint64_t failed = 0;
  uint64_t shrunk = 0;  // of those sent: made smaller or converted first
  uint64_t bytes_read = 0;

  uint64_t done() const { return sent + unchanged + duplicates + failed; }
};

struct IndexSummary {
  IndexCounts counts;
  uint64_t other_files = 0;  // no pictures, or left out by the globs
  uint64_t deleted = 0;      // by sync
  bool sync_left_out = false;
  std::vector<absl::Status> unreadable;  // folders and archives
  absl::Status stopped;                  // why the job ended before its end
  uint64_t version = 0;                  // of the newest write; 0: nothing was written
  double seconds = 0;
  int connections = 0;
};

// One run of a job.
class IndexJob {
 public:
  struct Failure {
    std::string path;
    std::string id;  // empty when it is not known
    absl::Status status;
  };
  using OnFailure = std::function<void(const Failure&)>;
  using OnShrunk = std::function<void(const std::string& path, const std::string& note)>;

  // `on_shrunk` also tells of duplicates, where the uploader's options ask for them. The callbacks
  // run on internal threads, one call at a time. `client` must outlive the job.
  IndexJob(const Client* client, IndexOptions options, OnFailure on_failure, OnShrunk on_shrunk);

  // An error when the job could not begin (server, collection, journal); otherwise the account of
  // what happened. Once.
  absl::StatusOr<IndexSummary> Run(const std::vector<std::unique_ptr<Source>>& sources);

  // The counts so far. Thread-safe.
  IndexCounts counts() const;

 private:
  // What is known of an image between Add() and its ack.
  struct InFlight {
    std::string path;
    JournalEntry entry;
    std::string note;
  };
  // What the journal says of a file that has been read.
  enum class Known {
    kNothing,   // to be sent
    kSame,      // stored under this path, with this metadata
    kContent,   // its content is stored; path or metadata are new
    kElsewhere  // stored for another file that is still there
  };

  absl::Status OpenJournal();
  // Drops journal entries whose image the server no longer holds as it was sent.
  absl::Status CheckJournal();
  void Take(SourceItem item);
  void ReadLoop();
  void Process(SourceItem item);
  // Sets entry->sent_hash where the content is stored.
  Known LookUp(const std::string& path, JournalEntry* entry) const;
  void Send(const SourceItem& item, const JournalEntry& entry, v1::Image image, std::string note);
  void OnAck(const Uploader::Outcome& outcome);
  void Fail(const Failure& failure);
  // Counts a picture that is stored: sent now, or earlier.
  void Count(const std::string& path, const std::string& id, uint64_t IndexCounts::*counter);
  // What became of an id: files of the same bytes that wait for it are counted now.
  void Resolve(const std::string& id, const absl::Status& status);
  void Stop(const absl::Status& why);
  bool stopped() const;
  const google::protobuf::Struct* SideMetadata(const std::string& path) const;
  std::string MetadataHash(const SourceItem& item) const;
  absl::Status DeleteWhatIsGone(const std::vector<std::string>& roots, uint64_t* deleted);

  // Constant after construction, or set before the threads start.
  const Client* const client_;
  const IndexOptions options_;
  const OnFailure on_failure_;
  const OnShrunk on_shrunk_;
  PictureLimits limits_;
  std::unique_ptr<Journal> journal_;  // null: none
  std::unordered_map<std::string, std::string> journal_path_of_id_;
  std::unique_ptr<Uploader> uploader_;  // null in a dry run

  BoundedQueue<SourceItem> queue_;

  mutable Mutex mutex_;
  IndexCounts counts_ ABSL_GUARDED_BY(mutex_);
  absl::Status stop_ ABSL_GUARDED_BY(mutex_);
  uint64_t version_ ABSL_GUARDED_BY(mutex_) = 0;  // the newest acknowledged
  uint64_t next_token_ ABSL_GUARDED_BY(mutex_) = 0;
  std::unordered_map<uint64_t, InFlight> in_flight_ ABSL_GUARDED_BY(mutex_);
  std::unordered_set<std::string> stored_ids_ ABSL_GUARDED_BY(mutex_);  // sent or skipped so far
  // Ids on their way, with the paths of further files of the same id.
  std::unordered_map<std::string, std::vector<std::string>> open_ids_ ABSL_GUARDED_BY(mutex_);
  // For sync: every path seen, with its id once that is known to be stored.
  std::unordered_map<std::string, std::string> id_of_path_ ABSL_GUARDED_BY(mutex_);

  Mutex report_mutex_;  // one callback at a time
};

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_BULK_INDEX_JOB_H_
