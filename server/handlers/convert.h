// Between the contract's messages and the index's and encoder's structs.
#ifndef IMAGESEARCH_SERVER_HANDLERS_CONVERT_H_
#define IMAGESEARCH_SERVER_HANDLERS_CONVERT_H_

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "encoder/encoder.h"
#include "imagesearch/v1/imagesearch.pb.h"
#include "imagesearch/v1/types.pb.h"
#include "index/collection.h"

namespace imagesearch::server {

void FillVector(absl::Span<const float> values, v1::Vector* out);
void FillImage(index::Record record, bool with_vector, v1::StoredImage* out);
void FillModel(const encoder::ModelInfo& model, v1::Model* out);
void FillCollection(const index::CollectionInfo& info, v1::Collection* out);

index::Quota ToQuota(const v1::Quota& quota);
// kNone for UNSPECIFIED; INVALID_ARGUMENT BAD_TIER for an unknown one.
absl::StatusOr<index::DuplicateTier> ToTier(v1::DuplicateTier tier);
// The same, and BAD_REQUEST for an unknown on_duplicate.
absl::StatusOr<index::UpsertOptions> ToUpsertOptions(bool create_only, v1::OnDuplicate on_duplicate,
                                                     v1::DuplicateTier tier);
void FillDuplicate(index::DuplicateRef duplicate, v1::DuplicateHit* out);

// INVALID_ARGUMENT BAD_INDEX for an unknown kind.
absl::StatusOr<index::IndexOptions> ToIndexOptions(const v1::Index& index);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_HANDLERS_CONVERT_H_
