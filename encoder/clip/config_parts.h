// The parsers of the single configuration formats, behind config.h.
#ifndef IMAGESEARCH_ENCODER_CLIP_CONFIG_PARTS_H_
#define IMAGESEARCH_ENCODER_CLIP_CONFIG_PARTS_H_

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "encoder/clip/config.h"
#include "encoder/clip/json_object.h"

namespace imagesearch::encoder {

// transformers' CLIPConfig, and this project's own model_type "imagesearch_clip". Leaves
// `pixels` and the file names alone.
absl::Status ParseHuggingFace(const nlohmann::json& config, const std::string& path,
                              ClipConfig* result);

// open_clip_config.json, with its preprocess_cfg.
absl::Status ParseOpenClip(const nlohmann::json& config, const std::string& path,
                           ClipConfig* result);

// vision_config of model_type efficientnet_lite.
EfficientNetLiteConfig ParseEfficientNetLite(const JsonObject& vision);

// transformers' CLIPImageProcessor settings; a key left out takes its default, but for the sizes,
// which default to the model's.
absl::Status ParsePreprocessor(const nlohmann::json& config, const std::string& path,
                               int image_size, PixelConfig* result);

// CLIP's own preprocessing for a model of this size.
PixelConfig DefaultPixels(int image_size);

// Reports sizes that no model of this kind has or that don't divide.
void CheckTransformer(const TransformerConfig& config, const JsonObject& source);
void CheckVit(const VitConfig& config, const JsonObject& source);

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_CLIP_CONFIG_PARTS_H_
