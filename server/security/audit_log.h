// Who changed what: a line of JSON for each write, each call of an administrator and each call that
// was denied.
#ifndef IMAGESEARCH_SERVER_SECURITY_AUDIT_LOG_H_
#define IMAGESEARCH_SERVER_SECURITY_AUDIT_LOG_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "google/protobuf/message.h"
#include "server/call_context.h"

namespace imagesearch::server {

// What a request would change. Ids, never contents.
struct AuditSubject {
  std::vector<std::string> collections;
  std::vector<std::string> ids;  // the first ten
  uint64_t items = 0;
};
AuditSubject SubjectOf(const google::protobuf::Message& request);

// Thread-safe. Lines are in the file (not synced) when Write returns. SIGHUP-free rotation: when
// the file was moved away, the next line starts a new one.
class AuditLog {
 public:
  // Appends to `path`. UNAVAILABLE when it can't be opened.
  static absl::StatusOr<std::unique_ptr<AuditLog>> Open(const std::string& path);
  ~AuditLog();

  void Write(absl::string_view method, const CallContext& call, const AuditSubject& subject,
             const absl::Status& status);

 private:
  AuditLog(std::string path, int file) : path_(std::move(path)), file_(file) {}
  void Reopen() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string path_;
  Mutex mutex_;
  int file_ ABSL_GUARDED_BY(mutex_);
  bool failing_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_SECURITY_AUDIT_LOG_H_
