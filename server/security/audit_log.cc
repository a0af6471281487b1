// One write(2) a line, so that lines of two processes would not mix either.
#include "server/security/audit_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "google/protobuf/descriptor.h"
#include "nlohmann/json.hpp"
#include "server/logging.h"
#include "server/security/access.h"

namespace imagesearch::server {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr int kMaxIds = 10;

int OpenForAppend(const std::string& path) {
  return open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
}

void AddIds(const Message& message, AuditSubject* subject) {
  const auto* reflection = message.GetReflection();
  const FieldDescriptor* ids = message.GetDescriptor()->FindFieldByName("ids");
  if (ids != nullptr && ids->is_repeated() && ids->type() == FieldDescriptor::TYPE_STRING) {
    const int count = reflection->FieldSize(message, ids);
    subject->items += static_cast<uint64_t>(count);
    for (int i = 0; i < std::min(count, kMaxIds); ++i) {
      subject->ids.push_back(reflection->GetRepeatedString(message, ids, i));
    }
  }
  const FieldDescriptor* images = message.GetDescriptor()->FindFieldByName("images");
  if (images == nullptr || !images->is_repeated() ||
      images->type() != FieldDescriptor::TYPE_MESSAGE) {
    return;
  }
  const FieldDescriptor* id = images->message_type()->FindFieldByName("id");
  const int count = reflection->FieldSize(message, images);
  subject->items += static_cast<uint64_t>(count);
  for (int i = 0; id != nullptr && i < std::min(count, kMaxIds); ++i) {
    const Message& image = reflection->GetRepeatedMessage(message, images, i);
    subject->ids.push_back(image.GetReflection()->GetString(image, id));
  }
}

}  // namespace

AuditSubject SubjectOf(const Message& request) {
  AuditSubject subject;
  subject.collections = DemandOf(request).collections;
  AddIds(request, &subject);
  return subject;
}

absl::StatusOr<std::unique_ptr<AuditLog>> AuditLog::Open(const std::string& path) {
  const int file = OpenForAppend(path);
  if (file < 0) {
    return absl::UnavailableError(
        absl::StrCat("can't open the audit log ", path, ": ", std::strerror(errno)));
  }
  return std::unique_ptr<AuditLog>(new AuditLog(path, file));
}

AuditLog::~AuditLog() {
  MutexLock lock(&mutex_);
  close(file_);
}

void AuditLog::Reopen() {
  struct stat here, there;
  if (stat(path_.c_str(), &there) == 0 && fstat(file_, &here) == 0 && here.st_ino == there.st_ino &&
      here.st_dev == there.st_dev) {
    return;
  }
  const int file = OpenForAppend(path_);
  if (file < 0) return;  // the old one goes on
  close(file_);
  file_ = file;
}

void AuditLog::Write(absl::string_view method, const CallContext& call, const AuditSubject& subject,
                     const absl::Status& status) {
  nlohmann::ordered_json line = {
      {"time", absl::FormatTime(absl::RFC3339_full, absl::Now(), absl::UTCTimeZone())},
      {"method", std::string(method)},
      {"code", absl::StatusCodeToString(status.code())}};
  if (!status.ok()) line["reason"] = ReasonOf(status);
  line["peer"] = call.peer;
  if (call.key != nullptr) {
    line["key"] = call.key->entry.id;
    line["key_name"] = call.key->entry.name;
  }
  if (!call.certificate_name.empty()) line["certificate"] = call.certificate_name;
  line["request_id"] = call.request_id;
  if (!call.traceparent.empty()) line["traceparent"] = call.traceparent;
  if (!subject.collections.empty()) line["collections"] = subject.collections;
  if (!subject.ids.empty()) line["ids"] = subject.ids;
  line["items"] = subject.items;
  const std::string text =
      line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  MutexLock lock(&mutex_);
  Reopen();
  const bool failed = write(file_, text.data(), text.size()) != static_cast<ssize_t>(text.size());
  if (failed && !failing_) {
    Log(LogLevel::kError, "audit log can't be written",
        {{"file", path_}, {"cause", std::strerror(errno)}});
  }
  failing_ = failed;
}

}  // namespace imagesearch::server
