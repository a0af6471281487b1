#include "server/http/thumbnails.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "encoder/image/jpeg_writer.h"
#include "encoder/image/preprocess.h"

namespace imagesearch::server {
namespace {

constexpr int kDecodedAtOnce = 2;
constexpr int kQuality = 82;

std::string Key(const std::string& content_hash, int side) {
  return absl::StrCat(side, ":", content_hash);
}

}  // namespace

std::shared_ptr<const std::string> Thumbnails::Find(const std::string& content_hash, int side) {
  MutexLock lock(&mutex_);
  auto found = by_key_.find(Key(content_hash, side));
  if (found == by_key_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  return found->second->jpeg;
}

absl::StatusOr<std::shared_ptr<const std::string>> Thumbnails::Make(const std::string& content_hash,
                                                                    int side,
                                                                    absl::string_view picture) {
  {
    MutexLock lock(&mutex_);
    while (decoding_ == kDecodedAtOnce) changed_.Wait(&mutex_);
    ++decoding_;
  }
  absl::StatusOr<encoder::RgbImage> pixels = encoder::LoadThumbnail(picture, side, limits_);
  std::string jpeg;
  if (pixels.ok()) jpeg = encoder::WriteJpeg(*pixels, kQuality);
  MutexLock lock(&mutex_);
  --decoding_;
  changed_.Signal();
  if (!pixels.ok()) return pixels.status();
  auto made = std::make_shared<const std::string>(std::move(jpeg));
  const std::string key = Key(content_hash, side);
  if (by_key_.contains(key) || made->size() > max_bytes_) return made;
  bytes_ += made->size();
  entries_.push_front({key, made});
  by_key_[key] = entries_.begin();
  while (bytes_ > max_bytes_) {
    bytes_ -= entries_.back().jpeg->size();
    by_key_.erase(entries_.back().key);
    entries_.pop_back();
  }
  return made;
}

}  // namespace imagesearch::server
