// Classify: labels -> vectors -> probabilities, for an upload, for ids or for a page of a
// collection.
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "server/grpc_status.h"
#include "server/handlers/handlers.h"
#include "server/handlers/label_vectors.h"
#include "server/handlers/target.h"
#include "server/handlers/validate.h"

namespace imagesearch::server {
namespace {

constexpr int kDefaultTop = 5;
constexpr int kDefaultPageSize = 100;

absl::Status CheckRequest(const v1::ClassifyRequest& request, const Limits& limits) {
  const int sources = !request.image().empty() + !request.ids().empty() + request.by_filter();
  if (sources != 1 || (!request.by_filter() && !request.filter().empty())) {
    return InvalidArgument(
        "BAD_REQUEST", "give exactly one of image, ids and by_filter; filter goes with the last");
  }
  if (!request.write_field().empty() && !request.image().empty()) {
    return AtField(InvalidArgument("BAD_REQUEST", "an uploaded image has no metadata to write to"),
                   "write_field");
  }
  if (request.top() < 0) {
    return AtField(InvalidArgument("BAD_LIMIT", "must be 0 (for 5) or more"), "top");
  }
  if (request.page_size() < 0 || request.page_size() > static_cast<int64_t>(limits.max_page_size)) {
    return AtField(
        InvalidArgument("BAD_PAGE_SIZE", absl::StrCat("must be 0 to ", limits.max_page_size)),
        "page_size");
  }
  absl::Status status = CheckIds(request.ids(), limits);
  return status.ok() ? CheckFilter(request.filter(), limits) : status;
}

// The vectors of what is to be classified, as records; nullopt for an id without image.
absl::StatusOr<std::vector<std::optional<index::Record>>> ReadImages(
    const Target& target, const v1::ClassifyRequest& request, v1::ClassifyResponse* response) {
  response->set_version(target.backend->database->version());
  if (!request.by_filter()) {
    return target.collection->Get(
        std::vector<std::string>(request.ids().begin(), request.ids().end()), /*with_vector=*/true);
  }
  index::ListOptions options;
  options.filter = request.filter();
  options.page_size = request.page_size() == 0 ? kDefaultPageSize : request.page_size();
  options.page_token = request.page_token();
  auto page = target.collection->List(options);
  if (!page.ok()) return page.status();
  response->set_next_page_token(page->next_page_token);
  response->set_version(page->version);
  std::vector<std::optional<index::Record>> records;
  for (index::Record& record : page->records) records.emplace_back(std::move(record));
  return records;
}

absl::Status WriteBest(const Target& target, const std::string& field, const Limits& limits,
                       v1::ClassifyResponse* response) {
  std::vector<index::MetadataPatch> patches;
  for (const v1::Classification& result : response->results()) {
    if (result.status().code() != 0) continue;
    index::MetadataPatch& patch = patches.emplace_back();
    patch.id = result.id();
    auto& fields = *patch.patch.mutable_fields();
    fields[field].set_string_value(result.labels(0).label());
    fields[field + "_probability"].set_number_value(result.labels(0).probability());
  }
  if (patches.empty()) return absl::OkStatus();
  index::UpdateOptions options;
  options.check = [&limits](const google::protobuf::Struct& metadata) {
    return CheckMetadata(metadata, limits);
  };
  auto updated = target.collection->PatchEach(patches, options);
  if (!updated.ok()) return updated.status();
  response->set_updated(updated->updated);
  response->set_version(updated->version);
  return absl::OkStatus();
}

}  // namespace

absl::Status Classify(ServerState& state, CallContext& call, v1::ClassifyRequest* request,
                      v1::ClassifyResponse* response) {
  const Limits& limits = state.limits();
  absl::Status status = CheckRequest(*request, limits);
  if (!status.ok()) return status;
  absl::StatusOr<Target> target =
      FindTarget(state, request->collection(), request->min_version(), call);
  if (!target.ok()) return target.status();
  if (!target->encodes.ok()) return target->encodes;
  encoder::Encoder& encoder = *target->encoder;
  const encoder::EncodeOptions options = call.EncodeOptions(encoder::Priority::kInteractive);
  absl::StatusOr<LabelVectors> labels;
  {
    StageTimer timer(call, "encode");
    labels = EncodeLabels(request->labels(), request->templates(), encoder, options);
  }
  if (!labels.ok()) return labels.status();
  response->set_truncated_text(labels->truncated_text);
  const int top = request->top() == 0 ? kDefaultTop : request->top();
  const auto fill = [&](absl::Span<const float> vector, v1::Classification* result) {
    for (v1::LabelProbability& label : Rank(*labels, vector, top)) {
      *result->add_labels() = std::move(label);
    }
  };
  if (!request->image().empty()) {
    std::vector<encoder::Input> inputs;
    inputs.push_back(encoder::Input::Image(std::move(*request->mutable_image())));
    auto embedding = std::move(encoder.Encode(std::move(inputs), options)[0]);
    if (!embedding.ok()) return AtField(embedding.status(), "image");
    response->set_version(target->backend->database->version());
    fill(embedding->values, response->add_results());
    return absl::OkStatus();
  }
  auto records = ReadImages(*target, *request, response);
  if (!records.ok()) return records.status();
  for (size_t i = 0; i < records->size(); ++i) {
    v1::Classification* result = response->add_results();
    if ((*records)[i]) {
      result->set_id((*records)[i]->id);
      fill((*records)[i]->vector, result);
    } else {
      result->set_id(request->ids(static_cast<int>(i)));
      FillStatus(
          Error(absl::StatusCode::kNotFound, "NOT_FOUND", "the collection has no image of this id"),
          result->mutable_status());
    }
  }
  if (request->write_field().empty()) return absl::OkStatus();
  StageTimer timer(call, "write");
  return WriteBest(*target, request->write_field(), limits, response);
}

}  // namespace imagesearch::server
