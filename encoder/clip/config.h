// What a checkpoint folder's configuration files say: the shape of both towers and how pixels
// become their input.
#ifndef IMAGESEARCH_ENCODER_CLIP_CONFIG_H_
#define IMAGESEARCH_ENCODER_CLIP_CONFIG_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "encoder/image/preprocess.h"

namespace imagesearch::encoder {

enum class Activation {
  kGelu,       // exact, by erf
  kQuickGelu,  // x * sigmoid(1.702 x)
};

// A stack of pre-norm transformer blocks.
struct TransformerConfig {
  int width = 0, layers = 0, heads = 0, mlp_width = 0;
  Activation activation = Activation::kQuickGelu;
  double layer_norm_eps = 1e-5;
};

struct VitConfig {
  TransformerConfig transformer;
  int image_size = 0, patch_size = 0;  // pixels; the patches tile the image exactly

  int grid() const { return image_size / patch_size; }
  int tokens() const { return grid() * grid() + 1; }  // with the class token
};

// Which position's state becomes a text's vector.
enum class TextPooling {
  kFirstEndToken,  // transformers, when eos_token_id is not 2
  kHighestId,      // transformers with the legacy eos_token_id 2; OpenCLIP
};

struct TextConfig {
  TransformerConfig transformer;
  int vocab_size = 0, context_length = 0;
  TextPooling pooling = TextPooling::kFirstEndToken;
  int end_id = 0;  // used by kFirstEndToken
};

// One inverted-bottleneck block: [1x1 expand] -> depthwise -> 1x1 project [+ input].
struct MobileBlockConfig {
  int kernel = 0, stride = 0, expand_ratio = 0, in_channels = 0, out_channels = 0;
  bool residual = false;
};

// EfficientNet-Lite with batch norms folded, and a second tail tuned on artwork (the formula is
// in efficientnet_lite.h).
struct EfficientNetLiteConfig {
  int image_size = 0;
  int stem_channels = 0, stem_kernel = 0, stem_stride = 0;
  std::vector<MobileBlockConfig> blocks;
  int head_conv_channels = 0;
  int art_from_block = 0;  // the art tail starts from the input of this block
  std::vector<MobileBlockConfig> art_blocks;
  int art_head_conv_channels = 0;
  int head_hidden = 0, num_classes = 0;
  double temperature = 1, class_weight = 1;
};

// Pixels (0 to 255) become (pixel * scale - mean[c]) / std[c].
struct PixelConfig {
  PixelOptions::ResizeMode resize_mode = PixelOptions::ResizeMode::kShortestEdge;
  int resize_size = 0, crop_size = 0;
  Resample resample = Resample::kBicubic;
  double scale = 1.0 / 255;
  std::array<double, 3> mean{}, std{};
};

struct ClipConfig {
  enum class Names { kHuggingFace, kOpenClip };
  Names names = Names::kHuggingFace;      // how the weights are named
  std::string weights_file;               // the file, or the stem of the .index.json
  std::vector<std::string> config_files;  // names of the files this was read from
  std::variant<VitConfig, EfficientNetLiteConfig> vision;
  TextConfig text;
  PixelConfig pixels;
  int dimension = 0;
  double logit_scale = 2.6592;  // natural logarithm; used when the weights hold none

  int image_size() const;
};

// Reads the configuration of a checkpoint folder: Hugging Face's config.json (with
// model.safetensors or its index), else OpenCLIP's open_clip_config.json (with
// open_clip_model.safetensors). Keys left out take transformers' (or open_clip's) defaults.
// Errors: NOT_FOUND MODEL_FILE_MISSING, DATA_LOSS MODEL_DAMAGED, INVALID_ARGUMENT MODEL_UNSUPPORTED
// for another architecture or for a pickle checkpoint, with the command that converts it.
absl::StatusOr<ClipConfig> ReadConfig(const std::string& dir);

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_CLIP_CONFIG_H_
