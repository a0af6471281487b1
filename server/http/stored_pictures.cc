// The type of a reply follows from the bytes, never from what the uploader said.
#include "server/http/stored_pictures.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "imagesearch/v1/imagesearch.pb.h"
#include "server/http/picture_file.h"
#include "server/methods.h"
#include "server/utf8.h"

namespace imagesearch::server {
namespace {

constexpr size_t kRememberedBytes = 32 << 20;
constexpr int kDefaultSide = 256;
constexpr int kSmallestSide = 32;
constexpr int kLargestSide = 1024;

absl::Status NoOriginal() {
  return Error(absl::StatusCode::kNotFound, "NO_ORIGINAL",
               "the upload of this image isn't kept: the collection keeps originals only from when "
               "keep_originals is set, and an image uploaded as a vector has none");
}

}  // namespace

StoredPictures::StoredPictures(const Limits& limits, CallRunner* runner, ReadContext read_context)
    : runner_(*runner),
      read_context_(std::move(read_context)),
      thumbnails_(limits.image, kRememberedBytes) {}

absl::StatusOr<v1::StoredImage> StoredPictures::Find(const httplib::Request& request,
                                                     bool content) {
  CallContext call;
  absl::Status status = read_context_(request, &call);
  if (!status.ok()) return status;
  const std::string collection = request.matches[1].str(), id = request.matches[2].str();
  if (!IsUtf8(collection) || !IsUtf8(id)) {
    return InvalidArgument("INVALID_UTF8", "the path is not valid UTF-8");
  }
  v1::GetRequest get;
  get.set_collection(collection);
  get.add_ids(id);
  get.set_without_vector(true);
  get.set_with_original(content);
  v1::StoredImage image;
  call.send = [&image](google::protobuf::Message* message) {
    image = std::move(*static_cast<v1::StoredImage*>(message));
    return absl::OkStatus();
  };
  v1::StoredImage unused;
  status = runner_.Run(StoredImageMethod(), &call, &get, get.ByteSizeLong(), &unused);
  if (!status.ok()) return status;
  if (image.content_hash().empty() || (content && image.original().empty())) return NoOriginal();
  return image;
}

bool StoredPictures::IsKnown(const std::string& tag, const httplib::Request& request,
                             httplib::Response& response) {
  // To be asked for again before each use: an image may be replaced or deleted at any time.
  response.set_header("Cache-Control", "private, no-cache");
  response.set_header("ETag", tag);
  if (request.get_header_value("If-None-Match") != tag) return false;
  response.status = 304;
  return true;
}

absl::Status StoredPictures::Original(const httplib::Request& request,
                                      httplib::Response& response) {
  absl::StatusOr<v1::StoredImage> image = Find(request, /*content=*/true);
  if (!image.ok()) return image.status();
  const std::string type = PictureType(image->original());
  if (type.empty()) return NoOriginal();
  if (IsKnown(absl::StrCat("\"", image->content_hash(), "\""), request, response)) {
    return absl::OkStatus();
  }
  response.set_content(std::move(*image->mutable_original()), type);
  return absl::OkStatus();
}

absl::Status StoredPictures::Thumbnail(const httplib::Request& request,
                                       httplib::Response& response) {
  int side = kDefaultSide;
  if (request.has_param("size") && (!absl::SimpleAtoi(request.get_param_value("size"), &side) ||
                                    side < kSmallestSide || side > kLargestSide)) {
    return InvalidArgument("BAD_SIZE", absl::StrCat("size is the long side in pixels, ",
                                                    kSmallestSide, " to ", kLargestSide));
  }
  absl::StatusOr<v1::StoredImage> image = Find(request, /*content=*/false);
  if (!image.ok()) return image.status();
  std::shared_ptr<const std::string> jpeg = thumbnails_.Find(image->content_hash(), side);
  if (jpeg == nullptr) {
    image = Find(request, /*content=*/true);
    if (!image.ok()) return image.status();
    auto made = thumbnails_.Make(image->content_hash(), side, image->original());
    if (!made.ok()) return made.status();
    jpeg = *std::move(made);
  }
  if (IsKnown(absl::StrCat("\"", image->content_hash(), "-", side, "\""), request, response)) {
    return absl::OkStatus();
  }
  response.set_content(*jpeg, "image/jpeg");
  return absl::OkStatus();
}

}  // namespace imagesearch::server
