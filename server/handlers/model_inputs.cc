// Hands everything over before it waits.
#include "server/handlers/model_inputs.h"

#include "base/mutex.h"

namespace imagesearch::server {

std::vector<absl::StatusOr<encoder::Embedding>> ModelInputs::Encode(
    const encoder::EncodeOptions& options) {
  std::vector<absl::StatusOr<encoder::Embedding>> results(inputs_.size(),
                                                          absl::UnknownError("not encoded"));
  Mutex mutex;
  CondVar all_done;
  size_t pending = inputs_.size();  // guarded by mutex
  for (size_t i = 0; i < inputs_.size(); ++i) {
    auto& [encoder, input] = inputs_[i];
    encoder->EncodeAsync(std::move(input), options,
                         [&, i](absl::StatusOr<encoder::Embedding> result) {
                           MutexLock lock(&mutex);
                           results[i] = std::move(result);
                           if (--pending == 0) all_done.SignalAll();
                         });
  }
  MutexLock lock(&mutex);
  while (pending > 0) all_done.Wait(&mutex);
  return results;
}

}  // namespace imagesearch::server
