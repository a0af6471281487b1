// Inputs of one call for several models: each model gets its own together, and all run at a time.
#ifndef IMAGESEARCH_SERVER_HANDLERS_MODEL_INPUTS_H_
#define IMAGESEARCH_SERVER_HANDLERS_MODEL_INPUTS_H_

#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "encoder/encoder.h"

namespace imagesearch::server {

// Belongs to one call.
class ModelInputs {
 public:
  // `encoder` is not null.
  void Add(std::shared_ptr<encoder::Encoder> encoder, encoder::Input input) {
    inputs_.emplace_back(std::move(encoder), std::move(input));
  }
  size_t size() const { return inputs_.size(); }

  // Consumes the inputs and waits for all. Result i belongs to the i-th Add.
  std::vector<absl::StatusOr<encoder::Embedding>> Encode(const encoder::EncodeOptions& options);

 private:
  std::vector<std::pair<std::shared_ptr<encoder::Encoder>, encoder::Input>> inputs_;
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_HANDLERS_MODEL_INPUTS_H_
