// The models that a server runs side by side. Collections find theirs by fingerprint.
#ifndef IMAGESEARCH_SERVER_MODELS_H_
#define IMAGESEARCH_SERVER_MODELS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "encoder/encoder.h"

namespace imagesearch::encoder {
class BatchingEncoder;
}

namespace imagesearch::server {

// Immutable. Lives as long as anybody encodes with it, also after it was removed from the registry.
struct ServedModel {
  std::string folder;  // of the checkpoint; empty: unknown
  std::shared_ptr<encoder::Encoder> encoder;
  // The same object when it batches, for its figures; null otherwise.
  encoder::BatchingEncoder* batching = nullptr;

  const encoder::ModelInfo& info() const { return encoder->model(); }
};

// Thread-safe.
class Models {
 public:
  using ModelPtr = std::shared_ptr<const ServedModel>;

  // `first` is the default: the model of collections that name none. It is never removed.
  explicit Models(ServedModel first);

  ModelPtr Default() const { return default_; }
  // Null when no such model is loaded.
  ModelPtr ByFingerprint(const std::string& fingerprint) const;
  // By id ("clip-b32@3f9c1a2b") or by the part before "@" where only one model has it; empty: the
  // default. NOT_FOUND NO_SUCH_MODEL, INVALID_ARGUMENT AMBIGUOUS_MODEL; both list what is loaded.
  absl::StatusOr<ModelPtr> Find(const std::string& name) const;
  // The default first, then by id.
  std::vector<ModelPtr> List() const;
  // The ids of List, for messages: "a@1, b@2".
  std::string Names() const;

  // ALREADY_EXISTS MODEL_LOADED when one of this fingerprint is there.
  absl::Status Add(ServedModel model);
  // NOT_FOUND NO_SUCH_MODEL, FAILED_PRECONDITION DEFAULT_MODEL. Who holds the model goes on.
  absl::Status Remove(const std::string& name);

 private:
  const ModelPtr default_;
  mutable Mutex mutex_;
  std::vector<ModelPtr> others_ ABSL_GUARDED_BY(mutex_);  // by id
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_MODELS_H_
