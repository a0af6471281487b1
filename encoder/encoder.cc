// The parts of Encoder that every implementation shares.
#include "encoder/encoder.h"

#include <utility>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "base/steady_time.h"

namespace imagesearch::encoder {

void Encoder::EncodeAsync(Input input, EncodeOptions options, Done done) {
  if (options.cancelled && options.cancelled->load())
    return done(absl::CancelledError("cancelled by the caller"));
  if (SteadyNow() > options.deadline)
    return done(absl::DeadlineExceededError("deadline passed before encoding began"));
  absl::StatusOr<Prepared> prepared = Prepare(input);
  if (!prepared.ok()) return done(prepared.status());
  done(std::move(Embed({&*prepared})[0]));
}

std::vector<absl::StatusOr<Embedding>> Encoder::Encode(std::vector<Input> inputs,
                                                       const EncodeOptions& options) {
  std::vector<absl::StatusOr<Embedding>> results(inputs.size(), absl::UnknownError("not encoded"));
  Mutex mutex;
  CondVar all_done;
  size_t pending = inputs.size();  // guarded by mutex
  for (size_t i = 0; i < inputs.size(); ++i) {
    EncodeAsync(std::move(inputs[i]), options, [&, i](absl::StatusOr<Embedding> result) {
      MutexLock lock(&mutex);
      results[i] = std::move(result);
      if (--pending == 0) all_done.SignalAll();
    });
  }
  MutexLock lock(&mutex);
  while (pending > 0) all_done.Wait(&mutex);
  return results;
}

}  // namespace imagesearch::encoder
