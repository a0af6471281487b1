// Field by field.
#include "server/handlers/convert.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "server/grpc_status.h"

namespace imagesearch::server {
namespace {

v1::Index::Kind FromKind(index::IndexKind kind) {
  switch (kind) {
    case index::IndexKind::kAuto:
      return v1::Index::AUTO;
    case index::IndexKind::kFlat:
      return v1::Index::FLAT;
    case index::IndexKind::kHnsw:
      return v1::Index::HNSW;
    case index::IndexKind::kIvf:
      return v1::Index::IVF;
  }
  return v1::Index::AUTO;
}

}  // namespace

void FillVector(absl::Span<const float> values, v1::Vector* out) {
  out->mutable_values()->Assign(values.begin(), values.end());
}

void FillImage(index::Record record, bool with_vector, v1::StoredImage* out) {
  out->set_id(std::move(record.id));
  *out->mutable_metadata() = std::move(record.metadata);
  if (with_vector) FillVector(record.vector, out->mutable_vector());
  if (record.expire_time != absl::InfiniteFuture()) {
    const absl::Duration since_epoch = record.expire_time - absl::UnixEpoch();
    absl::Duration rest;
    int64_t seconds = absl::IDivDuration(since_epoch, absl::Seconds(1), &rest);
    if (rest < absl::ZeroDuration()) {  // Timestamp counts nanos forward, before 1970 too
      --seconds;
      rest += absl::Seconds(1);
    }
    out->mutable_expire_time()->set_seconds(seconds);
    out->mutable_expire_time()->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
  }
  out->set_content_hash(std::move(record.content_hash));
  out->set_version(record.version);
  out->set_original(std::move(record.original));
  out->set_source_uri(std::move(record.source_uri));
}

absl::StatusOr<index::DuplicateTier> ToTier(v1::DuplicateTier tier) {
  switch (tier) {
    case v1::DUPLICATE_TIER_UNSPECIFIED:
      return index::DuplicateTier::kNone;
    case v1::SAME_BYTES:
      return index::DuplicateTier::kSameBytes;
    case v1::SAME_PICTURE:
      return index::DuplicateTier::kSamePicture;
    case v1::LOOK_ALIKE:
      return index::DuplicateTier::kLookAlike;
    default:
      return InvalidArgument("BAD_TIER", absl::StrCat(static_cast<int>(tier),
                                                      " is no tier of duplicates; SAME_BYTES is 1, "
                                                      "SAME_PICTURE 2, LOOK_ALIKE 3"));
  }
}

absl::StatusOr<index::UpsertOptions> ToUpsertOptions(bool create_only, v1::OnDuplicate on_duplicate,
                                                     v1::DuplicateTier tier) {
  index::UpsertOptions options;
  options.create_only = create_only;
  switch (on_duplicate) {
    case v1::ON_DUPLICATE_KEEP:
      break;
    case v1::ON_DUPLICATE_SKIP:
      options.on_duplicate = index::OnDuplicate::kSkip;
      break;
    case v1::ON_DUPLICATE_REPORT:
      options.on_duplicate = index::OnDuplicate::kReport;
      break;
    default:
      return AtField(InvalidArgument("BAD_REQUEST", "on_duplicate is KEEP 0, SKIP 1 or REPORT 2"),
                     "on_duplicate");
  }
  absl::StatusOr<index::DuplicateTier> known = ToTier(tier);
  if (!known.ok()) return AtField(known.status(), "duplicate_tier");
  if (*known != index::DuplicateTier::kNone) options.tier = *known;
  return options;
}

void FillDuplicate(index::DuplicateRef duplicate, v1::DuplicateHit* out) {
  out->set_id(std::move(duplicate.id));
  out->set_tier(static_cast<v1::DuplicateTier>(duplicate.tier));
  out->set_score(duplicate.score);
}

void FillModel(const encoder::ModelInfo& model, v1::Model* out) {
  out->set_id(model.id);
  out->set_dimension(model.dimension);
  out->set_fingerprint(model.fingerprint);
  out->set_precision(model.precision);
  out->set_precision_reason(model.precision_reason);
  out->set_image_size(model.image_size);
  out->set_context_length(model.context_length);
}

void FillCollection(const index::CollectionInfo& info, v1::Collection* out) {
  out->set_name(info.options.name);
  v1::Index* index = out->mutable_index();
  index->set_kind(FromKind(info.options.index.kind));
  index->set_hnsw_m(info.options.index.hnsw_m);
  index->set_hnsw_ef_construction(info.options.index.hnsw_ef_construction);
  index->set_hnsw_ef_search(info.options.index.hnsw_ef_search);
  index->set_ivf_nlist(info.options.index.ivf_nlist);
  index->set_ivf_nprobe(info.options.index.ivf_nprobe);
  index->set_target_recall(info.options.index.target_recall);
  index->set_pq_bytes(info.options.index.pq_bytes);
  index->set_memory_bytes(info.options.index.memory_bytes);
  out->set_model_id(info.options.model_id);
  out->set_model_fingerprint(info.options.model_fingerprint);
  out->set_dimension(info.options.dimension);
  out->set_image_count(info.image_count);
  out->set_disk_bytes(info.disk_bytes);
  out->set_keep_originals(info.options.keep_originals);
  out->set_original_bytes(info.original_bytes);
  out->set_memory_bytes(info.memory_bytes);
  out->set_index_bytes(info.index_bytes);
  out->set_serving_kind(FromKind(info.serving_kind));
  out->set_serving_pq_bytes(info.serving_pq_bytes);
  out->set_version(info.version);
  v1::Quota* quota = out->mutable_quota();
  quota->set_max_images(info.options.quota.max_images);
  quota->set_max_bytes(info.options.quota.max_bytes);
  quota->set_used_bytes(info.stored_bytes);
  if (info.recall_text) out->set_recall_text(*info.recall_text);
  if (info.recall_image) out->set_recall_image(*info.recall_image);
}

index::Quota ToQuota(const v1::Quota& quota) { return {quota.max_images(), quota.max_bytes()}; }

absl::StatusOr<index::IndexOptions> ToIndexOptions(const v1::Index& index) {
  index::IndexOptions options;
  switch (index.kind()) {
    case v1::Index::AUTO:
      options.kind = index::IndexKind::kAuto;
      break;
    case v1::Index::FLAT:
      options.kind = index::IndexKind::kFlat;
      break;
    case v1::Index::HNSW:
      options.kind = index::IndexKind::kHnsw;
      break;
    case v1::Index::IVF:
      options.kind = index::IndexKind::kIvf;
      break;
    default:
      return AtField(
          InvalidArgument("BAD_INDEX", absl::StrCat(static_cast<int>(index.kind()),
                                                    " is no kind of index; AUTO is 0, FLAT 1, "
                                                    "HNSW 2, IVF 3")),
          "index.kind");
  }
  options.hnsw_m = index.hnsw_m();
  options.hnsw_ef_construction = index.hnsw_ef_construction();
  options.hnsw_ef_search = index.hnsw_ef_search();
  options.ivf_nlist = index.ivf_nlist();
  options.ivf_nprobe = index.ivf_nprobe();
  options.target_recall = index.target_recall();
  options.pq_bytes = index.pq_bytes();
  options.memory_bytes = index.memory_bytes();
  return options;
}

}  // namespace imagesearch::server
