// Checkpoint -> towers -> self-test -> turns -> batches.
#include "server/clip_model_loader.h"

#include <filesystem>
#include <utility>

#include "encoder/batching_encoder.h"
#include "encoder/clip/memory_estimate.h"
#include "encoder/clip/self_test.h"
#include "server/config/limits.h"

namespace imagesearch::server {

absl::StatusOr<encoder::ClipOptions> ClipModelLoader::OptionsOf(
    const std::string& folder, const std::string& precision) const {
  absl::StatusOr<encoder::Precision> parsed =
      encoder::ParsePrecision(precision.empty() ? config_.precision() : precision);
  if (!parsed.ok()) return parsed.status();
  absl::StatusOr<encoder::DeviceChoice> device = encoder::ParseDevice(config_.device());
  if (!device.ok()) return device.status();
  const Limits limits = LimitsOf(config_);
  encoder::ClipOptions options;
  options.model_dir = folder;
  options.precision = *parsed;
  options.device = *device;
  options.threads = config_.encoder_threads();
  options.image_limits = limits.image;
  options.max_text_bytes = limits.max_text_bytes;
  options.scaled_jpeg_decode = config_.scaled_jpeg_decode();
  return options;
}

absl::StatusOr<uint64_t> ClipModelLoader::Estimate(const std::string& folder,
                                                   const std::string& precision) const {
  absl::StatusOr<encoder::ClipOptions> options = OptionsOf(folder, precision);
  if (!options.ok()) return options.status();
  auto estimate = encoder::EstimateMemory(*options);
  if (!estimate.ok()) return estimate.status();
  // Without recorded vectors the self-test compares with a plain copy.
  std::error_code ignored;
  const bool recorded =
      std::filesystem::exists(std::filesystem::path(folder) / "golden.json", ignored);
  return estimate->peak + (recorded ? 0 : estimate->fp32);
}

absl::StatusOr<ServedModel> ClipModelLoader::Load(const std::string& folder,
                                                  const std::string& precision) {
  absl::StatusOr<encoder::ClipOptions> options = OptionsOf(folder, precision);
  if (!options.ok()) return options.status();
  auto clip = encoder::OpenClip(*options);
  if (!clip.ok()) return clip.status();
  absl::Status status = encoder::SelfTest(**clip, *options);
  if (!status.ok()) return status;

  encoder::BatchingOptions batching;
  batching.prepare_threads = config_.prepare_threads();
  batching.thread_nice = config_.encoder_nice();
  batching.max_queued_bytes = static_cast<uint64_t>(config_.max_queued_mb()) << 20;
  batching.max_queued_pixels = static_cast<uint64_t>(config_.max_queued_megapixels()) * 1'000'000;
  batching.max_queued_items = config_.max_queued_items();
  batching.max_image_pixels = options->image_limits.max_pixels;
  batching.max_batch_images = config_.max_batch_images();
  batching.max_batch_texts = config_.max_batch_texts();
  batching.min_bulk_share = config_.min_bulk_share();
  batching.text_cache_entries = config_.text_cache_entries();
  ServedModel model;
  model.folder = folder;
  auto encoder =
      encoder::MakeBatchingEncoder(encoder::MakeTurnTaking(*std::move(clip), turns_), batching);
  model.batching = encoder.get();
  model.encoder = std::move(encoder);
  if (on_loaded_) on_loaded_(model.encoder);
  return model;
}

}  // namespace imagesearch::server
