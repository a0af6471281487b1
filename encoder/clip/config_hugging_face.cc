// transformers' CLIPConfig and CLIPImageProcessor settings, and this project's own variant.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "encoder/clip/config_parts.h"

namespace imagesearch::encoder {
namespace {

constexpr int kMaxWidth = 1 << 16, kMaxLayers = 512, kMaxSide = 4096, kMaxVocab = 1 << 22;

Activation ParseActivation(const JsonObject& object) {
  const std::string name = object.String("hidden_act", "quick_gelu");
  if (name == "gelu") return Activation::kGelu;
  if (name != "quick_gelu")
    object.Fail(absl::StrCat("hidden_act ", name, " is not supported: gelu or quick_gelu"));
  return Activation::kQuickGelu;
}

TransformerConfig ParseTransformer(const JsonObject& object, int width, int mlp_width, int heads) {
  TransformerConfig config;
  config.width = object.Int("hidden_size", width, 1, kMaxWidth);
  config.mlp_width = object.Int("intermediate_size", mlp_width, 1, kMaxWidth);
  config.layers = object.Int("num_hidden_layers", 12, 1, kMaxLayers);
  config.heads = object.Int("num_attention_heads", heads, 1, kMaxWidth);
  config.layer_norm_eps = object.Number("layer_norm_eps", 1e-5, 0, 1);
  config.activation = ParseActivation(object);
  CheckTransformer(config, object);
  return config;
}

// A side given as n, [n, n] or {"height": n, "width": n}.
int Side(const JsonObject& object, const char* key, int fallback) {
  if (!object.Has(key)) return fallback;
  const nlohmann::json& value = object.json().at(key);
  int first = fallback, second = fallback;
  if (value.is_number()) {
    return object.Int(key, fallback, 1, kMaxSide);
  } else if (value.is_array()) {
    const std::vector<double> pair = object.Numbers(key, {0.0 + fallback, 0.0 + fallback}, 2);
    first = static_cast<int>(std::clamp(pair[0], 0.0, kMaxSide + 1.0));
    second = static_cast<int>(std::clamp(pair[1], 0.0, kMaxSide + 1.0));
  } else {
    const JsonObject sides = object.Object(key);
    first = sides.Int("height", fallback, 1, kMaxSide);
    second = sides.Int("width", fallback, 1, kMaxSide);
  }
  if (first != second || first < 1 || first > kMaxSide)
    object.Fail(absl::StrCat(key, " must be a square of 1 to ", kMaxSide, " pixels"));
  return first;
}

VitConfig ParseVit(const JsonObject& vision) {
  VitConfig config;
  config.transformer = ParseTransformer(vision, 768, 3072, 12);
  config.image_size = Side(vision, "image_size", 224);
  config.patch_size = Side(vision, "patch_size", 32);
  if (vision.Int("num_channels", 3, 1, 1000) != 3) vision.Fail("num_channels must be 3");
  CheckVit(config, vision);
  return config;
}

TextConfig ParseText(const JsonObject& text) {
  TextConfig config;
  config.transformer = ParseTransformer(text, 512, 2048, 8);
  config.vocab_size = text.Int("vocab_size", 49408, 3, kMaxVocab);
  config.context_length = text.Int("max_position_embeddings", 77, 2, 4096);
  config.end_id = text.Int("eos_token_id", 49407, 0, kMaxVocab);
  // Before transformers' pull request 24773 the configuration named a wrong id; such checkpoints
  // pool at the highest id instead.
  config.pooling = config.end_id == 2 ? TextPooling::kHighestId : TextPooling::kFirstEndToken;
  return config;
}

}  // namespace

void CheckTransformer(const TransformerConfig& config, const JsonObject& source) {
  if (config.width % config.heads != 0) {
    source.Fail(absl::StrCat("a width of ", config.width, " can't be split over ", config.heads,
                             " attention heads"));
  }
}

void CheckVit(const VitConfig& config, const JsonObject& source) {
  if (config.patch_size > config.image_size || config.image_size % config.patch_size != 0) {
    source.Fail(absl::StrCat("patches of ", config.patch_size, " pixels don't tile images of ",
                             config.image_size));
  }
}

absl::Status ParseHuggingFace(const nlohmann::json& config, const std::string& path,
                              ClipConfig* result) {
  absl::Status status;
  const JsonObject root(config, path, &status);
  const std::string type = root.String("model_type", "clip");
  const bool own_kind = type == "imagesearch_clip";
  if (type != "clip" && !own_kind) {
    return InvalidArgument(
        "MODEL_UNSUPPORTED",
        absl::StrCat(path, ": model_type ", type, " is not supported: clip or imagesearch_clip"));
  }
  // Old checkpoints repeat both configurations as *_config_dict; transformers lets those win, with
  // defaults for what they leave out.
  const JsonObject text =
      root.Object(root.Has("text_config_dict") ? "text_config_dict" : "text_config");
  const JsonObject vision =
      root.Object(root.Has("vision_config_dict") ? "vision_config_dict" : "vision_config");
  result->text = ParseText(text);
  result->dimension = root.Int("projection_dim", 512, 1, kMaxWidth);
  result->logit_scale = root.Number("logit_scale_init_value", 2.6592, -100, 100);
  const std::string vision_type = vision.String("model_type", "clip_vision_model");
  if (own_kind && vision_type == "efficientnet_lite") {
    result->vision = ParseEfficientNetLite(vision);
  } else if (vision_type == "clip_vision_model") {
    result->vision = ParseVit(vision);
  } else {
    vision.Fail(absl::StrCat("model_type ", vision_type, " is not supported"));
  }
  return status;
}

PixelConfig DefaultPixels(int image_size) {
  PixelConfig config;
  config.resize_size = config.crop_size = image_size;
  config.mean = {0.48145466, 0.4578275, 0.40821073};
  config.std = {0.26862954, 0.26130258, 0.27577711};
  return config;
}

absl::Status ParsePreprocessor(const nlohmann::json& config, const std::string& path,
                               int image_size, PixelConfig* result) {
  absl::Status status;
  const JsonObject root(config, path, &status);
  PixelConfig pixels = DefaultPixels(image_size);
  if (!root.Bool("do_resize", true)) root.Fail("do_resize false is not supported");
  const bool shortest = root.Has("size") && root.json().at("size").is_object() &&
                        root.json().at("size").contains("shortest_edge");
  if (shortest) {
    pixels.resize_size = root.Object("size").Int("shortest_edge", image_size, 1, kMaxSide);
  } else {
    // A plain number is the shortest edge, as CLIPImageProcessor reads it.
    const bool exact = root.Has("size") && !root.json().at("size").is_number();
    pixels.resize_size = Side(root, "size", image_size);
    if (exact) pixels.resize_mode = PixelOptions::ResizeMode::kExact;
  }
  pixels.crop_size = Side(root, "crop_size", image_size);
  if (!root.Bool("do_center_crop", true)) {
    if (pixels.resize_mode != PixelOptions::ResizeMode::kExact)
      root.Fail("do_center_crop false needs a size with height and width");
    pixels.crop_size = pixels.resize_size;
  }
  pixels.resample = static_cast<Resample>(root.Int("resample", 3, 0, 5));
  pixels.scale =
      root.Bool("do_rescale", true) ? root.Number("rescale_factor", 1.0 / 255, 1e-6, 1e6) : 1.0;
  if (root.Bool("do_normalize", true)) {
    const std::vector<double> mean =
        root.Numbers("image_mean", {pixels.mean.begin(), pixels.mean.end()}, 3);
    const std::vector<double> std =
        root.Numbers("image_std", {pixels.std.begin(), pixels.std.end()}, 3);
    for (int c = 0; c < 3; ++c) {
      pixels.mean[c] = mean[c];
      pixels.std[c] = std[c];
      if (!(std[c] > 0)) root.Fail("image_std must be above 0");
    }
  } else {
    pixels.mean = {0, 0, 0};
    pixels.std = {1, 1, 1};
  }
  if (pixels.crop_size != image_size) {
    root.Fail(absl::StrCat("crop_size is ", pixels.crop_size, " but the model takes images of ",
                           image_size, " pixels"));
  }
  *result = pixels;
  return status;
}

EfficientNetLiteConfig ParseEfficientNetLite(const JsonObject& vision) {
  const auto parse_blocks = [](const std::vector<JsonObject>& objects) {
    std::vector<MobileBlockConfig> blocks;
    for (const JsonObject& object : objects) {
      MobileBlockConfig block;
      block.kernel = object.Int("kernel", 0, 1, 31);
      block.stride = object.Int("stride", 0, 1, 8);
      block.expand_ratio = object.Int("expand_ratio", 0, 1, 64);
      block.in_channels = object.Int("in_channels", 0, 1, kMaxWidth);
      block.out_channels = object.Int("out_channels", 0, 1, kMaxWidth);
      block.residual = object.Bool("residual", false);
      for (const char* key :
           {"kernel", "stride", "expand_ratio", "in_channels", "out_channels", "residual"}) {
        if (!object.Has(key)) object.Fail(absl::StrCat(key, " is missing"));
      }
      if (block.residual && (block.stride != 1 || block.in_channels != block.out_channels))
        object.Fail("a residual block must keep its shape");
      blocks.push_back(block);
    }
    return blocks;
  };
  // The channels of `blocks` must follow each other, beginning with `channels`.
  const auto check_chain = [](const JsonObject& where, const char* key,
                              const std::vector<MobileBlockConfig>& blocks, int channels) {
    for (const MobileBlockConfig& block : blocks) {
      if (block.in_channels != channels)
        return where.Fail(absl::StrCat(key, ": in_channels ", block.in_channels, " follows ",
                                       channels, " channels"));
      channels = block.out_channels;
    }
    if (blocks.empty()) where.Fail(absl::StrCat(key, " is missing or empty"));
  };

  EfficientNetLiteConfig config;
  config.image_size = Side(vision, "image_size", 224);
  if (vision.String("padding", "tf_same") != "tf_same") vision.Fail("padding must be tf_same");
  if (vision.String("activation", "relu6") != "relu6") vision.Fail("activation must be relu6");
  const JsonObject stem = vision.Object("stem");
  config.stem_channels = stem.Int("out_channels", 32, 1, kMaxWidth);
  config.stem_kernel = stem.Int("kernel", 3, 1, 31);
  config.stem_stride = stem.Int("stride", 2, 1, 8);
  config.blocks = parse_blocks(vision.Objects("blocks"));
  check_chain(vision, "blocks", config.blocks, config.stem_channels);
  config.head_conv_channels = vision.Int("head_conv_channels", 1280, 1, kMaxWidth);

  const JsonObject art = vision.Object("art_tail");
  config.art_from_block =
      art.Int("from_block", 0, 0, static_cast<int>(std::max<size_t>(config.blocks.size(), 1)) - 1);
  config.art_blocks = parse_blocks(art.Objects("blocks"));
  if (!config.blocks.empty())
    check_chain(art, "blocks", config.art_blocks, config.blocks[config.art_from_block].in_channels);
  config.art_head_conv_channels = art.Int("head_conv_channels", 1280, 1, kMaxWidth);

  const JsonObject head = vision.Object("head");
  if (head.String("type", "") != "art_plus_class") head.Fail("type must be art_plus_class");
  if (head.String("activation", "gelu") != "gelu") head.Fail("activation must be gelu");
  config.head_hidden = head.Int("hidden", 768, 1, kMaxWidth);
  const JsonObject branch = head.Object("class_branch");
  config.num_classes = branch.Int("num_classes", 1000, 1, 1 << 20);
  config.temperature = branch.Number("temperature", 1, 1e-3, 1e3);
  config.class_weight = branch.Number("weight", 1, 0, 1e3);
  return config;
}

}  // namespace imagesearch::encoder
