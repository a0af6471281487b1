// Checks in the order: id, metadata, time, data.
#include "server/handlers/upsert_item.h"

#include <openssl/sha.h>

#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "server/grpc_status.h"
#include "server/handlers/validate.h"

namespace imagesearch::server {
namespace {

constexpr size_t kMaxSourceUriBytes = 2048;

std::string Sha256Hex(absl::string_view bytes) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest);
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest), sizeof(digest)));
}

}  // namespace

absl::StatusOr<UpsertDraft> DraftUpsert(v1::Image* image, const Target& target,
                                        const Limits& limits, std::string* id) {
  UpsertDraft draft;
  index::UpsertItem& item = draft.item;
  if (image->has_content()) item.content_hash = Sha256Hex(image->content());
  item.id = image->id().empty() ? item.content_hash : std::move(*image->mutable_id());
  *id = item.id.size() <= limits.max_id_bytes ? item.id : "";
  if (item.id.empty()) {
    return AtField(InvalidArgument("BAD_ID", "an image without content needs an id"), "id");
  }
  absl::Status status = CheckId(item.id, limits);
  if (!status.ok()) return AtField(status, "id");
  if (image->has_metadata()) {
    status = CheckMetadata(image->metadata(), limits);
    if (!status.ok()) return AtField(status, "metadata");
    item.metadata = std::move(*image->mutable_metadata());
  }
  if (image->source_uri().size() > kMaxSourceUriBytes) {
    return AtField(
        InvalidArgument("URI_TOO_LONG", absl::StrCat("the URI has ", image->source_uri().size(),
                                                     " bytes, the limit is ", kMaxSourceUriBytes)),
        "source_uri");
  }
  item.source_uri = std::move(*image->mutable_source_uri());
  if (image->has_expire_time()) {
    absl::StatusOr<absl::Time> time = ToTime(image->expire_time());
    if (!time.ok()) return AtField(time.status(), "expire_time");
    item.expire_time = *time;
  }
  if (image->has_content()) {
    if (!target.encodes.ok()) return AtField(target.encodes, "content");
    if (image->content().empty()) {
      return AtField(InvalidArgument("EMPTY_IMAGE", "the image has no bytes"), "content");
    }
    if (target.collection->options().keep_originals) item.original = image->content();
    draft.input = encoder::Input::Image(std::move(*image->mutable_content()));
  } else if (image->has_vector()) {
    status = CheckVector(image->vector().values(), target.collection->options().dimension);
    if (!status.ok()) return AtField(status, "vector");
    item.vector.emplace(image->vector().values().begin(), image->vector().values().end());
  }
  return draft;
}

void SetEmbedding(encoder::Embedding embedding, index::UpsertItem* item) {
  item->vector = std::move(embedding.values);
  item->perceptual_hash = embedding.perceptual_hash;
}

absl::Status RefusalOfAll(absl::Span<const absl::Status> statuses) {
  for (const absl::Status& status : statuses) {
    switch (status.code()) {
      case absl::StatusCode::kResourceExhausted:
      case absl::StatusCode::kUnavailable:
      case absl::StatusCode::kDeadlineExceeded:
      case absl::StatusCode::kCancelled:
        break;
      default:
        return absl::OkStatus();
    }
  }
  return statuses.empty() ? absl::OkStatus() : statuses[0];
}

}  // namespace imagesearch::server
