// Encode: vectors for texts and images, nothing stored.
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "server/grpc_status.h"
#include "server/handlers/convert.h"
#include "server/handlers/handlers.h"
#include "server/handlers/upsert_item.h"
#include "server/handlers/validate.h"

namespace imagesearch::server {

absl::Status Encode(ServerState& state, CallContext& call, v1::EncodeRequest* request,
                    v1::EncodeResponse* response) {
  absl::Status status =
      CheckCount(request->inputs_size(), state.limits().max_encode_inputs, "inputs");
  if (!status.ok()) return status;
  auto backend = state.backend();
  if (!backend.ok()) return backend.status();
  const absl::StatusOr<Models::ModelPtr> model = (*backend)->models->Find(request->model());
  if (!model.ok()) return AtField(model.status(), "model");

  const size_t count = request->inputs_size();
  std::vector<absl::Status> statuses(count);
  std::vector<encoder::Input> inputs;
  std::vector<size_t> owners;
  for (size_t i = 0; i < count; ++i) {
    v1::EncodeInput& input = *request->mutable_inputs(i);
    if (input.has_text()) {
      inputs.push_back(encoder::Input::Text(std::move(*input.mutable_text())));
    } else if (input.has_image()) {
      inputs.push_back(encoder::Input::Image(std::move(*input.mutable_image())));
    } else {
      statuses[i] = InvalidArgument("BAD_INPUT", "the input has neither text nor image");
      continue;
    }
    owners.push_back(i);
  }
  std::vector<absl::StatusOr<encoder::Embedding>> embeddings;
  {
    StageTimer timer(call, "encode");
    embeddings = (*model)->encoder->Encode(std::move(inputs),
                                           call.EncodeOptions(encoder::Priority::kInteractive));
  }
  for (size_t k = 0; k < owners.size(); ++k) statuses[owners[k]] = embeddings[k].status();
  status = RefusalOfAll(statuses);
  if (!status.ok()) return status;

  for (size_t i = 0; i < count; ++i) response->add_results();
  for (size_t k = 0; k < owners.size(); ++k) {
    if (!embeddings[k].ok()) continue;
    v1::EncodeResult* result = response->mutable_results(owners[k]);
    FillVector(embeddings[k]->values, result->mutable_vector());
    result->set_truncated_text(embeddings[k]->truncated_text);
  }
  for (size_t i = 0; i < count; ++i) {
    FillStatus(AtField(statuses[i], absl::StrCat("inputs[", i, "]")),
               response->mutable_results(i)->mutable_status());
  }
  FillModel((*model)->info(), response->mutable_model());
  return absl::OkStatus();
}

}  // namespace imagesearch::server
