// What a checkpoint would take in memory, told from its headers before anything is loaded.
#ifndef IMAGESEARCH_ENCODER_CLIP_MEMORY_ESTIMATE_H_
#define IMAGESEARCH_ENCODER_CLIP_MEMORY_ESTIMATE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "encoder/clip/clip_encoder.h"

namespace imagesearch::encoder {

struct MemoryEstimate {
  uint64_t weights = 0;  // held while the model is loaded
  uint64_t fp32 = 0;     // the weights of a plain copy in fp32, which SelfTest may compare with
  uint64_t peak = 0;     // while it is being loaded: weights, and copies of the largest one
};

// From the shapes in the weight files and the precision that OpenClip would choose with these
// options. Errors as OpenClip's of a missing or damaged file, and PRECISION_UNSUPPORTED.
absl::StatusOr<MemoryEstimate> EstimateMemory(const ClipOptions& options);

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_CLIP_MEMORY_ESTIMATE_H_
