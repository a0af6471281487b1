// The parts of Encoder that every implementation shares.
#include "encoder/encoder.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/synchronization/blocking_counter.h"

namespace imagesearch::encoder {

void Encoder::EncodeAsync(Input input, EncodeOptions options, Done done) {
  if (options.cancelled && options.cancelled->load())
    return done(absl::CancelledError("cancelled by the caller"));
  if (absl::Now() > options.deadline)
    return done(absl::DeadlineExceededError("deadline passed before encoding began"));
  absl::StatusOr<Prepared> prepared = Prepare(input);
  if (!prepared.ok()) return done(prepared.status());
  done(std::move(Embed({&*prepared})[0]));
}

std::vector<absl::StatusOr<Embedding>> Encoder::Encode(std::vector<Input> inputs,
                                                       const EncodeOptions& options) {
  std::vector<absl::StatusOr<Embedding>> results(inputs.size(), absl::UnknownError("not encoded"));
  absl::BlockingCounter pending(static_cast<int>(inputs.size()));
  for (size_t i = 0; i < inputs.size(); ++i) {
    EncodeAsync(std::move(inputs[i]), options,
                [&results, &pending, i](absl::StatusOr<Embedding> result) {
                  results[i] = std::move(result);
                  pending.DecrementCount();
                });
  }
  pending.Wait();
  return results;
}

}  // namespace imagesearch::encoder
