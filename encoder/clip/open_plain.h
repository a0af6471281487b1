// Opens a checkpoint on the plain path: what the fast ones are compared with by the self-test and
// by tests.
#ifndef IMAGESEARCH_ENCODER_CLIP_OPEN_PLAIN_H_
#define IMAGESEARCH_ENCODER_CLIP_OPEN_PLAIN_H_

#include <memory>

#include "absl/status/statusor.h"
#include "encoder/clip/clip_encoder.h"

namespace imagesearch::encoder {

// As OpenClip, in fp32 and by LibTorch's own operators only; options.precision is ignored.
absl::StatusOr<std::unique_ptr<Encoder>> OpenPlainClip(const ClipOptions& options);

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_CLIP_OPEN_PLAIN_H_
