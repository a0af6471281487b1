// open_clip_config.json: model_cfg and preprocess_cfg as open_clip writes them.
#include <algorithm>
#include <initializer_list>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "encoder/clip/config_parts.h"

namespace imagesearch::encoder {
namespace {

constexpr int kMaxWidth = 1 << 16;

// open_clip has many switches that change the arithmetic. A key that this reader doesn't handle may
// only hold a value that switches nothing on.
void RefuseOtherKeys(const JsonObject& object, std::initializer_list<absl::string_view> handled) {
  for (const auto& [key, value] : object.json().items()) {
    const bool off = value.is_null() || value == false || value == nlohmann::json::object();
    if (!off && std::find(handled.begin(), handled.end(), key) == handled.end())
      object.Fail(absl::StrCat(key, " = ", value.dump(-1, ' ', true), " is not supported"));
  }
}

void RequireValue(const JsonObject& object, const char* key, const std::string& value) {
  if (object.String(key, value) != value)
    object.Fail(absl::StrCat(key, " must be ", value, " (a plain CLIP model)"));
}

TransformerConfig ParseTransformer(const JsonObject& object, int width, int heads,
                                   Activation activation) {
  TransformerConfig config;
  config.width = width;
  config.heads = heads;
  config.layers = object.Int("layers", 12, 1, 512);
  config.mlp_width = static_cast<int>(width * object.Number("mlp_ratio", 4.0, 0.01, 64));
  config.activation = activation;
  CheckTransformer(config, object);
  return config;
}

VitConfig ParseVit(const JsonObject& vision, Activation activation) {
  RefuseOtherKeys(vision,
                  {"layers", "width", "head_width", "mlp_ratio", "patch_size", "image_size",
                   "pool_type", "pos_embed_type", "patch_dropout", "output_tokens", "block_type"});
  if (vision.Has("layers") && vision.json().at("layers").is_array()) {
    vision.Fail("a ResNet tower is not supported: only ViT");
    return {};
  }
  RequireValue(vision, "pool_type", "tok");
  RequireValue(vision, "pos_embed_type", "learnable");
  RequireValue(vision, "block_type", "default");
  const int width = vision.Int("width", 768, 1, kMaxWidth);
  const int head_width = vision.Int("head_width", 64, 1, kMaxWidth);
  VitConfig config;
  config.transformer = ParseTransformer(vision, width, std::max(width / head_width, 1), activation);
  config.image_size = vision.Int("image_size", 224, 1, 4096);
  config.patch_size = vision.Int("patch_size", 16, 1, 4096);
  CheckVit(config, vision);
  return config;
}

TextConfig ParseText(const JsonObject& text, Activation activation) {
  RefuseOtherKeys(
      text, {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio", "pool_type",
             "proj_type", "eos_id", "pad_id", "output_tokens", "block_type"});
  RequireValue(text, "proj_type", "linear");
  RequireValue(text, "block_type", "default");
  TextConfig config;
  config.transformer = ParseTransformer(text, text.Int("width", 512, 1, kMaxWidth),
                                        text.Int("heads", 8, 1, kMaxWidth), activation);
  config.vocab_size = text.Int("vocab_size", 49408, 3, 1 << 22);
  config.context_length = text.Int("context_length", 77, 2, 4096);
  const std::string pooling = text.String("pool_type", "argmax");
  if (pooling != "argmax" && pooling != "eos")
    text.Fail(absl::StrCat("pool_type ", pooling, " is not supported: argmax or eos"));
  config.pooling = pooling == "eos" ? TextPooling::kFirstEndToken : TextPooling::kHighestId;
  config.end_id = text.Int("eos_id", 2, 0, 1 << 22);
  return config;
}

PixelConfig ParsePixels(const JsonObject& preprocess, int image_size) {
  PixelConfig pixels = DefaultPixels(image_size);
  const std::string mode = preprocess.String("resize_mode", "shortest");
  if (mode == "squash") {
    pixels.resize_mode = PixelOptions::ResizeMode::kExact;
  } else if (mode != "shortest") {
    preprocess.Fail(absl::StrCat("resize_mode ", mode, " is not supported: shortest or squash"));
  }
  const std::string filter = preprocess.String("interpolation", "bicubic");
  if (filter == "bilinear") {
    pixels.resample = Resample::kBilinear;
  } else if (filter != "bicubic") {
    preprocess.Fail(
        absl::StrCat("interpolation ", filter, " is not supported: bicubic or bilinear"));
  }
  const std::vector<double> mean =
      preprocess.Numbers("mean", {pixels.mean.begin(), pixels.mean.end()}, 3);
  const std::vector<double> std =
      preprocess.Numbers("std", {pixels.std.begin(), pixels.std.end()}, 3);
  for (int c = 0; c < 3; ++c) {
    pixels.mean[c] = mean[c];
    pixels.std[c] = std[c];
    if (!(std[c] > 0)) preprocess.Fail("std must be above 0");
  }
  return pixels;
}

}  // namespace

absl::Status ParseOpenClip(const nlohmann::json& config, const std::string& path,
                           ClipConfig* result) {
  absl::Status status;
  const JsonObject root(config, path, &status);
  const JsonObject model = root.Object("model_cfg");
  if (!model.Has("vision_cfg") || !model.Has("text_cfg"))
    return InvalidArgument("MODEL_UNSUPPORTED",
                           absl::StrCat(path, ": model_cfg holds no vision_cfg and text_cfg"));
  RefuseOtherKeys(model, {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text",
                          "init_logit_scale", "cast_dtype"});
  const Activation activation =
      model.Bool("quick_gelu", false) ? Activation::kQuickGelu : Activation::kGelu;
  result->dimension = model.Int("embed_dim", 512, 1, kMaxWidth);
  result->logit_scale = model.Number("init_logit_scale", 2.6592, -100, 100);
  result->vision = ParseVit(model.Object("vision_cfg"), activation);
  result->text = ParseText(model.Object("text_cfg"), activation);
  result->pixels = ParsePixels(root.Object("preprocess_cfg"), result->image_size());
  return status;
}

}  // namespace imagesearch::encoder
