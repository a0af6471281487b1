// Names a model by what its vectors depend on.
#ifndef IMAGESEARCH_ENCODER_CLIP_FINGERPRINT_H_
#define IMAGESEARCH_ENCODER_CLIP_FINGERPRINT_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "encoder/clip/safetensors.h"

namespace imagesearch::encoder {

// SHA-256 as 64 hex digits over the weight files, the named configuration files and the tokenizer's
// files of `dir` (names, lengths and bytes) and the precision class. Two servers with the same
// fingerprint make interchangeable vectors.
absl::StatusOr<std::string> Fingerprint(const std::string& dir, const Safetensors& weights,
                                        const std::vector<std::string>& config_files,
                                        const std::string& precision_class);

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_CLIP_FINGERPRINT_H_
