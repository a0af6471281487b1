// Upsert: images -> vectors -> one write.
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/grpc_status.h"
#include "server/handlers/convert.h"
#include "server/handlers/handlers.h"
#include "server/handlers/target.h"
#include "server/handlers/upsert_item.h"
#include "server/handlers/validate.h"

namespace imagesearch::server {
namespace {

// Encodes the drafts' inputs; those that fail get their status.
void EncodeDrafts(const Target& target, CallContext& call, std::vector<UpsertDraft>& drafts,
                  std::vector<absl::Status>& statuses) {
  std::vector<encoder::Input> inputs;
  std::vector<size_t> owners;
  for (size_t i = 0; i < drafts.size(); ++i) {
    if (!drafts[i].input) continue;
    inputs.push_back(*std::move(drafts[i].input));
    owners.push_back(i);
  }
  if (inputs.empty()) return;
  StageTimer timer(call, "encode");
  auto embeddings =
      target.encoder->Encode(std::move(inputs), call.EncodeOptions(encoder::Priority::kBulk));
  for (size_t k = 0; k < owners.size(); ++k) {
    if (embeddings[k].ok()) {
      SetEmbedding(*std::move(embeddings[k]), &drafts[owners[k]].item);
    } else {
      statuses[owners[k]] = AtField(embeddings[k].status(), "content");
    }
  }
}

}  // namespace

absl::Status Upsert(ServerState& state, CallContext& call, v1::UpsertRequest* request,
                    v1::UpsertResponse* response) {
  const Limits& limits = state.limits();
  absl::Status status = CheckCount(request->images_size(), limits.max_upsert_images, "images");
  if (!status.ok()) return status;
  absl::StatusOr<index::UpsertOptions> options =
      ToUpsertOptions(request->create_only(), request->on_duplicate(), request->duplicate_tier());
  if (!options.ok()) return options.status();
  absl::StatusOr<Target> target = FindTarget(state, request->collection());
  if (!target.ok()) return target.status();

  const size_t count = request->images_size();
  std::vector<absl::Status> statuses(count);
  std::vector<UpsertDraft> drafts(count);
  for (size_t i = 0; i < count; ++i) {
    absl::StatusOr<UpsertDraft> draft = DraftUpsert(request->mutable_images(i), *target, limits,
                                                    response->add_results()->mutable_id());
    statuses[i] = draft.status();
    if (draft.ok()) drafts[i] = *std::move(draft);
  }
  EncodeDrafts(*target, call, drafts, statuses);
  status = RefusalOfAll(statuses);
  if (!status.ok()) return status;

  std::vector<index::UpsertItem> items;
  std::vector<size_t> owners;
  for (size_t i = 0; i < count; ++i) {
    if (!statuses[i].ok()) continue;
    items.push_back(std::move(drafts[i].item));
    owners.push_back(i);
  }
  if (!items.empty()) {
    StageTimer timer(call, "write");
    auto written = target->collection->Upsert(std::move(items), *options);
    if (!written.ok()) return written.status();
    for (size_t k = 0; k < owners.size(); ++k) {
      statuses[owners[k]] = written->items[k].status;
      v1::UpsertResult* result = response->mutable_results(static_cast<int>(owners[k]));
      result->set_created(written->items[k].created);
      result->set_skipped(written->items[k].skipped);
      for (index::DuplicateRef& duplicate : written->items[k].duplicates) {
        FillDuplicate(std::move(duplicate), result->add_duplicates());
      }
    }
    response->set_version(written->version);
  }
  for (size_t i = 0; i < count; ++i) {
    FillStatus(AtField(statuses[i], absl::StrCat("images[", i, "]")),
               response->mutable_results(i)->mutable_status());
  }
  return absl::OkStatus();
}

}  // namespace imagesearch::server
