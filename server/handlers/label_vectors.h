// Zero-shot labels: prompts -> averaged vectors -> probabilities (Radford et al. 2021,
// section 3.1.4).
#ifndef IMAGESEARCH_SERVER_HANDLERS_LABEL_VECTORS_H_
#define IMAGESEARCH_SERVER_HANDLERS_LABEL_VECTORS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "encoder/encoder.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "imagesearch/v1/imagesearch.pb.h"

namespace imagesearch::server {

struct LabelVectors {
  std::vector<std::string> labels;
  std::vector<std::vector<float>> vectors;  // one for each label, length 1
  float logit_scale = 1;
  bool truncated_text = false;
};

// INVALID_ARGUMENT BAD_LABELS (none, too many, one twice or empty), BAD_TEMPLATE (without "{}"),
// those of the encoder for a prompt.
absl::StatusOr<LabelVectors> EncodeLabels(
    const google::protobuf::RepeatedPtrField<std::string>& labels,
    const google::protobuf::RepeatedPtrField<std::string>& templates, encoder::Encoder& encoder,
    const encoder::EncodeOptions& options);

// The `top` most probable labels of an image with this vector (length 1), the best first.
std::vector<v1::LabelProbability> Rank(const LabelVectors& labels, absl::Span<const float> image,
                                       int top);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_HANDLERS_LABEL_VECTORS_H_
