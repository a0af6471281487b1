// Operations, and what starts them: CreateBackup and Compact. (Reembed: handlers/reembed.cc.)
#include "server/operations/operations.h"

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "server/grpc_status.h"
#include "server/handlers/handlers.h"
#include "server/handlers/target.h"

namespace imagesearch::server {
namespace {

constexpr size_t kMaxNameBytes = 64;

absl::StatusOr<std::string> BackupFolder(const std::string& backup_dir, std::string name) {
  if (backup_dir.empty()) {
    return Error(absl::StatusCode::kFailedPrecondition, "NO_BACKUP_DIR",
                 "the server was started without --backup-dir, the folder of all backups");
  }
  if (name.empty()) {
    name = absl::FormatTime("%Y%m%d-%H%M%S", absl::Now(), absl::UTCTimeZone());
  }
  const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
  });
  if (name.size() > kMaxNameBytes || !plain || name[0] == '.') {
    return AtField(
        InvalidArgument("BAD_NAME",
                        absl::StrCat("the name of a backup has 1 to ", kMaxNameBytes,
                                     " letters, digits, -, _ and ., and starts with ", "no point")),
        "name");
  }
  const std::filesystem::path folder = std::filesystem::path(backup_dir) / name;
  std::error_code error;
  if (std::filesystem::exists(std::filesystem::symlink_status(folder, error))) {
    return AtField(Error(absl::StatusCode::kAlreadyExists, "ALREADY_EXISTS",
                         absl::StrCat("--backup-dir holds '", name, "' already")),
                   "name");
  }
  std::filesystem::create_directories(backup_dir, error);
  if (error) {
    return Error(absl::StatusCode::kFailedPrecondition, "NO_BACKUP_DIR",
                 absl::StrCat("--backup-dir ", backup_dir, " can't be made: ", error.message()));
  }
  return folder.string();
}

index::JobControl ControlOf(OperationRun& run) {
  index::JobControl control;
  control.progress = [&run](uint64_t done, uint64_t total) { run.Report(done, total); };
  control.cancelled = run.cancelled();
  return control;
}

absl::Status CompactAll(index::Database& database, const std::string& name, OperationRun& run) {
  std::vector<std::shared_ptr<index::Collection>> collections;
  if (name.empty()) {
    collections = database.ListCollections();
  } else {
    auto collection = database.GetCollection(name);
    if (!collection.ok()) return collection.status();
    collections.push_back(*std::move(collection));
  }
  for (size_t i = 0; i < collections.size(); ++i) {
    run.Report(i, collections.size());
    run.Describe(absl::StrCat("collection ", collections[i]->options().name));
    absl::Status status = run.Continue();
    index::JobControl control;
    control.cancelled = run.cancelled();
    if (status.ok()) status = collections[i]->Compact(control);
    // Deleted while the others were compacted: nothing is left to do.
    if (absl::IsNotFound(status) && name.empty()) continue;
    if (!status.ok()) return status;
  }
  run.Report(collections.size(), collections.size());
  run.Describe(absl::StrCat(collections.size(), " collections"));
  return absl::OkStatus();
}

using OperationOr = absl::StatusOr<v1::Operation>;

absl::Status Give(OperationOr operation, v1::Operation* response) {
  if (!operation.ok()) return operation.status();
  *response = *std::move(operation);
  return absl::OkStatus();
}

}  // namespace

absl::Status ListOperations(ServerState& state, CallContext& call,
                            v1::ListOperationsRequest* request,
                            v1::ListOperationsResponse* response) {
  auto backend = state.backend();
  if (!backend.ok()) return backend.status();
  for (v1::Operation& operation : (*backend)->operations->List()) {
    if (!request->collection().empty() && operation.collection() != request->collection()) continue;
    *response->add_operations() = std::move(operation);
  }
  return absl::OkStatus();
}

absl::Status GetOperation(ServerState& state, CallContext& call, v1::GetOperationRequest* request,
                          v1::Operation* response) {
  auto backend = state.backend();
  if (!backend.ok()) return backend.status();
  return Give((*backend)->operations->Get(request->id()), response);
}

absl::Status CancelOperation(ServerState& state, CallContext& call,
                             v1::CancelOperationRequest* request, v1::Operation* response) {
  auto backend = state.backend();
  if (!backend.ok()) return backend.status();
  return Give((*backend)->operations->Cancel(request->id()), response);
}

absl::Status PauseOperation(ServerState& state, CallContext& call,
                            v1::PauseOperationRequest* request, v1::Operation* response) {
  auto backend = state.backend();
  if (!backend.ok()) return backend.status();
  return Give((*backend)->operations->Pause(request->id()), response);
}

absl::Status ResumeOperation(ServerState& state, CallContext& call,
                             v1::ResumeOperationRequest* request, v1::Operation* response) {
  auto backend = state.backend();
  if (!backend.ok()) return backend.status();
  return Give((*backend)->operations->Resume(request->id()), response);
}

absl::Status CreateBackup(ServerState& state, CallContext& call, v1::CreateBackupRequest* request,
                          v1::Operation* response) {
  auto backend = state.backend();
  if (!backend.ok()) return backend.status();
  absl::StatusOr<std::string> folder = BackupFolder(state.facts().backup_dir, request->name());
  if (!folder.ok()) return folder.status();
  Operations::Spec spec;
  spec.kind = v1::Operation::BACKUP;
  // A raw pointer: operations end before the database does.
  auto body = [database = (*backend)->database.get(),
               folder = *folder](OperationRun& run) -> absl::Status {
    run.Describe(folder);
    auto info = database->CreateBackup(folder, ControlOf(run));
    if (!info.ok()) return info.status();
    run.Describe(absl::StrCat(folder, ": version ", info->version, ", ", info->files, " files, ",
                              info->bytes, " bytes"));
    return absl::OkStatus();
  };
  return Give((*backend)->operations->Start(spec, std::move(body)), response);
}

absl::Status Compact(ServerState& state, CallContext& call, v1::CompactRequest* request,
                     v1::Operation* response) {
  auto backend = state.backend();
  if (!backend.ok()) return backend.status();
  Operations::Spec spec;
  spec.kind = v1::Operation::COMPACT;
  if (!request->collection().empty()) {
    absl::StatusOr<Target> target = FindTarget(state, request->collection());
    if (!target.ok()) return target.status();
    spec.collection = target->collection->options().name;
  }
  auto body = [database = (*backend)->database.get(), name = spec.collection](OperationRun& run) {
    return CompactAll(*database, name, run);
  };
  return Give((*backend)->operations->Start(spec, std::move(body)), response);
}

}  // namespace imagesearch::server
