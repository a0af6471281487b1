// Proves at start that this machine computes the model's vectors: a wrong kernel or a damaged model
// never serves.
#ifndef IMAGESEARCH_ENCODER_CLIP_SELF_TEST_H_
#define IMAGESEARCH_ENCODER_CLIP_SELF_TEST_H_

#include "absl/status/status.h"
#include "encoder/clip/clip_encoder.h"
#include "encoder/encoder.h"

namespace imagesearch::encoder {

// Embeds built-in inputs with `encoder` (which was opened from `options`) and compares them with
// the vectors stored in the model's golden.json, or, where there is none, with the same
// checkpoint's plain fp32 path (opened beside it for the time of the test). Also warms the towers
// up. Errors: INTERNAL SELF_TEST_FAILED with the input and both cosines; DATA_LOSS for a
// golden.json that can't be read.
absl::Status SelfTest(Encoder& encoder, const ClipOptions& options);

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_CLIP_SELF_TEST_H_
