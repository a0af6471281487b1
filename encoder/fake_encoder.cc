// Vectors from a hash of what Prepare made: pixels or token ids.
#include "encoder/fake_encoder.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/error.h"

namespace imagesearch::encoder {
namespace {

constexpr int32_t kStart = 256, kEnd = 257, kNotFinite = 258;

// FNV-1a, then splitmix64 as a stream of values.
uint64_t Hash(const void* data, size_t size, uint64_t seed) {
  uint64_t hash = 0xcbf29ce484222325 ^ seed;
  for (size_t i = 0; i < size; ++i) {
    hash = (hash ^ static_cast<const uint8_t*>(data)[i]) * 0x100000001b3;
  }
  return hash;
}

uint64_t NextRandom(uint64_t& state) {
  uint64_t z = (state += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

std::vector<float> UnitVector(uint64_t hash, int dimension) {
  std::vector<float> values(dimension);
  double norm = 0;
  for (float& value : values) {
    value = static_cast<float>(static_cast<double>(NextRandom(hash) >> 11) * 0x1p-52 - 1.0);
    norm += double{value} * value;
  }
  for (float& value : values) value = static_cast<float>(value / std::sqrt(norm));
  return values;
}

}  // namespace

FakeEncoder::FakeEncoder(FakeEncoderOptions options) : options_(std::move(options)) {
  model_.id = options_.model_id;
  model_.fingerprint = absl::StrCat(absl::Hex(Hash(model_.id.data(), model_.id.size(), 0)));
  model_.dimension = options_.dimension;
  model_.image_size = options_.image_size;
  model_.context_length = options_.context_length;
  model_.precision = "fp32";
  model_.precision_reason = "a fake";
}

absl::StatusOr<Prepared> FakeEncoder::Prepare(const Input& input) const {
  {
    MutexLock lock(&mutex_);
    ++prepared_;
  }
  if (options_.prepare_time > absl::ZeroDuration()) absl::SleepFor(options_.prepare_time);
  Prepared result;
  result.kind = input.kind;
  if (input.kind == Input::Kind::kText) {
    if (input.data.empty()) return InvalidArgument("EMPTY_TEXT", "the text is empty");
    if (input.data.size() > options_.max_text_bytes) {
      return InvalidArgument(
          "TEXT_TOO_LONG", absl::StrCat("the text has ", input.data.size(), " bytes, the limit is ",
                                        options_.max_text_bytes));
    }
    if (absl::StrContains(input.data, '\0')) {
      return InvalidArgument("NUL_IN_TEXT", "the text has a NUL");
    }
    const size_t room = static_cast<size_t>(options_.context_length) - 2;
    result.truncated_text = input.data.size() > room;
    result.tokens.push_back(input.data == "nan" ? kNotFinite : kStart);
    for (size_t i = 0; i < std::min(room, input.data.size()); ++i) {
      result.tokens.push_back(static_cast<uint8_t>(input.data[i]));
    }
    result.tokens.push_back(kEnd);
    return result;
  }
  if (input.data.empty()) return InvalidArgument("EMPTY_IMAGE", "the image has no bytes");
  if (absl::StartsWith(input.data, "bad")) {
    return InvalidArgument("CORRUPT_IMAGE", "the image can't be decoded");
  }
  // "cat#1" and "cat#2" are the same picture in other bytes.
  const std::string picture = input.data.substr(0, input.data.find('#'));
  result.perceptual_hash = Hash(picture.data(), picture.size(), 4);
  uint64_t hash = Hash(picture.data(), picture.size(), 1);
  if (input.crop) hash = Hash(&*input.crop, sizeof(CropBox), hash);
  result.pixels.resize(size_t{3} * options_.image_size * options_.image_size);
  for (uint8_t& pixel : result.pixels) pixel = static_cast<uint8_t>(NextRandom(hash));
  return result;
}

std::vector<absl::StatusOr<Embedding>> FakeEncoder::Embed(
    const std::vector<const Prepared*>& prepared) {
  Batch batch;
  for (const Prepared* item : prepared) {
    if (item->kind == Input::Kind::kImage) {
      ++batch.images;
    } else {
      ++batch.texts;
      batch.longest = std::max(batch.longest, static_cast<int>(item->tokens.size()));
    }
  }
  {
    MutexLock lock(&mutex_);
    batches_.push_back(batch);
    embedded_ += static_cast<int64_t>(prepared.size());
    ++running_;
    changed_.SignalAll();
    while (held_) changed_.Wait(&mutex_);
  }
  const absl::Duration time =
      options_.batch_time + options_.item_time * static_cast<int64_t>(prepared.size());
  if (time > absl::ZeroDuration()) absl::SleepFor(time);
  std::vector<absl::StatusOr<Embedding>> results;
  results.reserve(prepared.size());
  for (const Prepared* item : prepared) {
    if (static_cast<int>(prepared.size()) > options_.out_of_memory_above) {
      results.push_back(Error(absl::StatusCode::kResourceExhausted, "OUT_OF_MEMORY",
                              "the towers ran out of memory"));
      continue;
    }
    if (!item->tokens.empty() && item->tokens[0] == kNotFinite) {
      results.push_back(absl::InternalError("the model's vector is not finite"));
      continue;
    }
    const uint64_t hash =
        item->kind == Input::Kind::kImage
            ? Hash(item->pixels.data(), item->pixels.size(), 2 + options_.seed)
            : Hash(item->tokens.data(), item->tokens.size() * sizeof(int32_t), 3 + options_.seed);
    results.push_back(Embedding{UnitVector(hash, options_.dimension), item->truncated_text,
                                item->perceptual_hash});
  }
  MutexLock lock(&mutex_);
  --running_;
  return results;
}

std::vector<float> FakeEncoder::VectorOf(const Input& input) const {
  absl::StatusOr<Prepared> prepared = Prepare(input);
  if (!prepared.ok()) return {};
  const uint64_t hash =
      prepared->kind == Input::Kind::kImage
          ? Hash(prepared->pixels.data(), prepared->pixels.size(), 2 + options_.seed)
          : Hash(prepared->tokens.data(), prepared->tokens.size() * sizeof(int32_t),
                 3 + options_.seed);
  return UnitVector(hash, options_.dimension);
}

void FakeEncoder::Hold() {
  MutexLock lock(&mutex_);
  held_ = true;
}

void FakeEncoder::Release() {
  MutexLock lock(&mutex_);
  held_ = false;
  changed_.SignalAll();
}

bool FakeEncoder::AwaitEmbedRunning(absl::Duration timeout) {
  MutexLock lock(&mutex_);
  const auto deadline = CondVar::Clock::now() + absl::ToChronoNanoseconds(timeout);
  while (running_ == 0) {
    if (!changed_.WaitUntil(&mutex_, deadline)) return running_ > 0;
  }
  return true;
}

std::vector<FakeEncoder::Batch> FakeEncoder::batches() const {
  MutexLock lock(&mutex_);
  return batches_;
}

int64_t FakeEncoder::embedded() const {
  MutexLock lock(&mutex_);
  return embedded_;
}

int64_t FakeEncoder::prepared() const {
  MutexLock lock(&mutex_);
  return prepared_;
}

}  // namespace imagesearch::encoder
