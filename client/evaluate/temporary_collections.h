// The collections that an evaluation works in: gone at its end, at a signal, or at the latest when
// the next evaluation starts on this machine.
#ifndef IMAGESEARCH_CLIENT_EVALUATE_TEMPORARY_COLLECTIONS_H_
#define IMAGESEARCH_CLIENT_EVALUATE_TEMPORARY_COLLECTIONS_H_

#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "client/client.h"

namespace imagesearch::client {

// With a folder, a file in it names the server's instance and the collections, a line each. Its
// owner holds a lock on it, which ends with the process however that ends: the collections in a
// file that nobody holds are left over, and go. Thread-safe.
class TemporaryCollections {
 public:
  // `client` must outlive it. `folder` is made when missing; empty: nothing is noted. A folder that
  // can't be written only means that nothing is noted.
  TemporaryCollections(const Client* client, const std::string& folder);
  // Deletes what was made.
  ~TemporaryCollections();
  TemporaryCollections(const TemporaryCollections&) = delete;
  TemporaryCollections& operator=(const TemporaryCollections&) = delete;

  // Makes an exactly searched collection named evaluate-KIND-RANDOM. `dimension` 0: of the model.
  // CANCELLED after DeleteAll().
  absl::StatusOr<std::string> Make(absl::string_view kind, int dimension);

  // Deletes what was made; no more is made. Waits for a Make() that is under way. What can't be
  // deleted stays noted.
  void DeleteAll();

  // Left-over collections that the constructor deleted.
  int swept() const { return swept_; }

 private:
  void Sweep(const std::string& folder, const std::string& instance_id);
  void Note(const std::string& line) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether it is gone.
  bool Delete(const std::string& name) const;

  const Client* const client_;
  int swept_ = 0;  // constant after construction
  Mutex mutex_;
  std::vector<std::string> names_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::string record_ ABSL_GUARDED_BY(mutex_);  // path; empty: nothing is noted
  int fd_ ABSL_GUARDED_BY(mutex_) = -1;
};

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_EVALUATE_TEMPORARY_COLLECTIONS_H_
