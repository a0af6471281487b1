// A short list under a mutex.
#include "server/models.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"

namespace imagesearch::server {
namespace {

std::string ShortName(const std::string& id) { return id.substr(0, id.find('@')); }

}  // namespace

Models::Models(ServedModel first)
    : default_(std::make_shared<const ServedModel>(std::move(first))) {}

std::vector<Models::ModelPtr> Models::List() const {
  MutexLock lock(&mutex_);
  std::vector<ModelPtr> all = {default_};
  all.insert(all.end(), others_.begin(), others_.end());
  return all;
}

std::string Models::Names() const {
  return absl::StrJoin(List(), ", ", [](std::string* out, const ModelPtr& model) {
    absl::StrAppend(out, model->info().id);
  });
}

Models::ModelPtr Models::ByFingerprint(const std::string& fingerprint) const {
  for (const ModelPtr& model : List()) {
    if (model->info().fingerprint == fingerprint) return model;
  }
  return nullptr;
}

absl::StatusOr<Models::ModelPtr> Models::Find(const std::string& name) const {
  if (name.empty()) return default_;
  std::vector<ModelPtr> found;
  for (const ModelPtr& model : List()) {
    if (model->info().id == name) return model;
    if (ShortName(model->info().id) == name) found.push_back(model);
  }
  if (found.size() == 1) return found[0];
  if (found.empty()) {
    return Error(absl::StatusCode::kNotFound, "NO_SUCH_MODEL",
                 absl::StrCat("no such model is loaded; loaded are ", Names()));
  }
  return InvalidArgument(
      "AMBIGUOUS_MODEL",
      absl::StrCat("several models have this name: give its id, one of ", Names()));
}

absl::Status Models::Add(ServedModel model) {
  auto added = std::make_shared<const ServedModel>(std::move(model));
  if (ByFingerprint(added->info().fingerprint) != nullptr) {
    return Error(absl::StatusCode::kAlreadyExists, "MODEL_LOADED",
                 absl::StrCat("model ", added->info().id, " is loaded already"));
  }
  MutexLock lock(&mutex_);
  const auto at = std::lower_bound(
      others_.begin(), others_.end(), added,
      [](const ModelPtr& a, const ModelPtr& b) { return a->info().id < b->info().id; });
  others_.insert(at, std::move(added));
  return absl::OkStatus();
}

absl::Status Models::Remove(const std::string& name) {
  const absl::StatusOr<ModelPtr> model = Find(name);
  if (!model.ok()) return model.status();
  if (*model == default_) {
    return Error(absl::StatusCode::kFailedPrecondition, "DEFAULT_MODEL",
                 absl::StrCat("model ", default_->info().id,
                              " is the server's default and stays; start with another --model"));
  }
  MutexLock lock(&mutex_);
  others_.erase(std::remove(others_.begin(), others_.end(), *model), others_.end());
  return absl::OkStatus();
}

}  // namespace imagesearch::server
