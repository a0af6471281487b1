// One uploaded image on its way into a collection: checked, encoded, ready to write. Shared by
// Upsert and UpsertStream.
#ifndef IMAGESEARCH_SERVER_HANDLERS_UPSERT_ITEM_H_
#define IMAGESEARCH_SERVER_HANDLERS_UPSERT_ITEM_H_

#include <optional>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/limits.h"
#include "encoder/encoder.h"
#include "imagesearch/v1/imagesearch.pb.h"
#include "index/collection.h"
#include "server/handlers/target.h"

namespace imagesearch::server {

struct UpsertDraft {
  index::UpsertItem item;
  // What is still to encode; its embedding becomes item.vector.
  std::optional<encoder::Input> input;
};

// Checks `image` and consumes it. Sets the id from the content's hash when it is empty. Errors:
// BAD_ID, EMPTY_IMAGE, METADATA_TOO_LARGE, BAD_METADATA, BAD_TIME, URI_TOO_LONG, NO_MODEL,
// MODEL_MISMATCH, those of CheckVector. `id` receives the id also when the image is refused, where
// there is one.
absl::StatusOr<UpsertDraft> DraftUpsert(v1::Image* image, const Target& target,
                                        const Limits& limits, std::string* id);

// What the encoder made of a draft's input.
void SetEmbedding(encoder::Embedding embedding, index::UpsertItem* item);

// The first status when every one is a refusal for lack of capacity or time (RESOURCE_EXHAUSTED,
// UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED): then the whole rpc ends with it, so that the retry
// policies of clients see it. OK otherwise, also for none.
absl::Status RefusalOfAll(absl::Span<const absl::Status> statuses);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_HANDLERS_UPSERT_ITEM_H_
