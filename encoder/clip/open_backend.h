// Opens a checkpoint on a backend of the caller's choice: for the self-test and for tests.
#ifndef IMAGESEARCH_ENCODER_CLIP_OPEN_BACKEND_H_
#define IMAGESEARCH_ENCODER_CLIP_OPEN_BACKEND_H_

#include <memory>

#include "absl/status/statusor.h"
#include "encoder/clip/clip_encoder.h"
#include "encoder/clip/precision.h"

namespace imagesearch::encoder {

// As OpenClip, with options.precision ignored.
absl::StatusOr<std::unique_ptr<Encoder>> OpenWithBackend(const ClipOptions& options,
                                                         const Backend& backend);

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_CLIP_OPEN_BACKEND_H_
