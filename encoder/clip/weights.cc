// Hugging Face's and OpenCLIP's names for the same tensors.
#include "encoder/clip/weights.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace imagesearch::encoder {

at::Tensor Weights::Get(const std::string& name, const std::vector<int64_t>& shape) {
  if (!status_.ok()) return {};
  const TensorView* view = file_.Find(name);
  if (view == nullptr) {
    status_ = InvalidArgument(
        "MODEL_TENSOR_MISSING",
        absl::StrCat(where_, ": tensor ", name, " is missing; expected shape ", ShapeText(shape)));
    return {};
  }
  // A scalar may be stored as () or (1).
  const bool scalar = view->shape.empty() && shape == std::vector<int64_t>{1};
  if (view->shape != shape && !scalar) {
    status_ =
        InvalidArgument("MODEL_TENSOR_SHAPE",
                        absl::StrCat(where_, ": tensor ", name, " has shape ",
                                     ShapeText(view->shape), ", expected ", ShapeText(shape)));
    return {};
  }
  at::ScalarType type;
  if (view->dtype == "F32") {
    type = at::kFloat;
  } else if (view->dtype == "F16") {
    type = at::kHalf;
  } else if (view->dtype == "BF16") {
    type = at::kBFloat16;
  } else {
    status_ = InvalidArgument("MODEL_TENSOR_TYPE",
                              absl::StrCat(where_, ": tensor ", name, " has type ", view->dtype,
                                           ", expected F32, F16 or BF16"));
    return {};
  }
  if (mode_ == Mode::kCheck) return {};
  at::Tensor tensor = at::empty(shape, at::TensorOptions().dtype(type));
  std::memcpy(tensor.data_ptr(), view->data, view->bytes);
  return tensor.to(at::kFloat);
}

namespace {

using Names = ClipConfig::Names;

NormWeights ReadNorm(Weights& weights, const std::string& name, int64_t width) {
  return {weights.Get(name + ".weight", {width}), weights.Get(name + ".bias", {width})};
}

LinearWeights ReadLinear(Weights& weights, const std::string& name, int64_t outputs,
                         int64_t inputs) {
  return {weights.Get(name + ".weight", {outputs, inputs}), weights.Get(name + ".bias", {outputs})};
}

BlockWeights ReadBlock(Weights& weights, Names names, const std::string& prefix,
                       const TransformerConfig& config) {
  const int64_t width = config.width, mlp = config.mlp_width;
  BlockWeights block;
  if (names == Names::kOpenClip) {
    block.norm1 = ReadNorm(weights, prefix + "ln_1", width);
    block.qkv = {weights.Get(prefix + "attn.in_proj_weight", {3 * width, width}),
                 weights.Get(prefix + "attn.in_proj_bias", {3 * width})};
    block.out = ReadLinear(weights, prefix + "attn.out_proj", width, width);
    block.norm2 = ReadNorm(weights, prefix + "ln_2", width);
    block.fc1 = ReadLinear(weights, prefix + "mlp.c_fc", mlp, width);
    block.fc2 = ReadLinear(weights, prefix + "mlp.c_proj", width, mlp);
    return block;
  }
  block.norm1 = ReadNorm(weights, prefix + "layer_norm1", width);
  const LinearWeights q = ReadLinear(weights, prefix + "self_attn.q_proj", width, width),
                      k = ReadLinear(weights, prefix + "self_attn.k_proj", width, width),
                      v = ReadLinear(weights, prefix + "self_attn.v_proj", width, width);
  block.out = ReadLinear(weights, prefix + "self_attn.out_proj", width, width);
  block.norm2 = ReadNorm(weights, prefix + "layer_norm2", width);
  block.fc1 = ReadLinear(weights, prefix + "mlp.fc1", mlp, width);
  block.fc2 = ReadLinear(weights, prefix + "mlp.fc2", width, mlp);
  if (weights.readable())
    block.qkv = {at::cat({q.weight, k.weight, v.weight}), at::cat({q.bias, k.bias, v.bias})};
  return block;
}

// OpenCLIP keeps the text tower at the top level, or under "text." (custom_text).
std::string OpenClipTextPrefix(const Weights& weights) {
  return weights.Has("text.token_embedding.weight") ? "text." : "";
}

}  // namespace

VitWeights ReadVit(Weights& weights, Names names, const VitConfig& config, int dimension) {
  const int64_t width = config.transformer.width, patch = config.patch_size;
  VitWeights vit;
  if (names == Names::kOpenClip) {
    vit.patch = weights.Get("visual.conv1.weight", {width, 3, patch, patch});
    vit.class_embedding = weights.Get("visual.class_embedding", {width});
    vit.positions = weights.Get("visual.positional_embedding", {config.tokens(), width});
    vit.pre_norm = ReadNorm(weights, "visual.ln_pre", width);
    vit.post_norm = ReadNorm(weights, "visual.ln_post", width);
    vit.projection = weights.Get("visual.proj", {width, dimension});
    if (weights.readable()) vit.projection = vit.projection.t().contiguous();
  } else {
    const std::string embeddings = "vision_model.embeddings.";
    vit.patch = weights.Get(embeddings + "patch_embedding.weight", {width, 3, patch, patch});
    vit.class_embedding = weights.Get(embeddings + "class_embedding", {width});
    vit.positions = weights.Get(embeddings + "position_embedding.weight", {config.tokens(), width});
    // Misspelt in transformers, and so in every checkpoint.
    vit.pre_norm = ReadNorm(weights, "vision_model.pre_layrnorm", width);
    vit.post_norm = ReadNorm(weights, "vision_model.post_layernorm", width);
    vit.projection = weights.Get("visual_projection.weight", {dimension, width});
  }
  if (weights.readable()) vit.patch = vit.patch.permute({0, 2, 3, 1}).contiguous();
  return vit;
}

TextWeights ReadText(Weights& weights, Names names, const TextConfig& config, int dimension) {
  const int64_t width = config.transformer.width;
  const std::vector<int64_t> tokens = {config.vocab_size, width},
                             positions = {config.context_length, width};
  TextWeights text;
  if (names == Names::kOpenClip) {
    const std::string prefix = OpenClipTextPrefix(weights);
    text.tokens = weights.Get(prefix + "token_embedding.weight", tokens);
    text.positions = weights.Get(prefix + "positional_embedding", positions);
    text.final_norm = ReadNorm(weights, prefix + "ln_final", width);
    // A bare parameter (width, dimension), or a linear layer in newer models.
    if (weights.Has(prefix + "text_projection.weight")) {
      text.projection = weights.Get(prefix + "text_projection.weight", {dimension, width});
    } else {
      text.projection = weights.Get(prefix + "text_projection", {width, dimension});
      if (weights.readable()) text.projection = text.projection.t().contiguous();
    }
    return text;
  }
  text.tokens = weights.Get("text_model.embeddings.token_embedding.weight", tokens);
  text.positions = weights.Get("text_model.embeddings.position_embedding.weight", positions);
  text.final_norm = ReadNorm(weights, "text_model.final_layer_norm", width);
  text.projection = weights.Get("text_projection.weight", {dimension, width});
  return text;
}

BlockWeights ReadVitBlock(Weights& weights, Names names, const VitConfig& config, int index) {
  const char* prefix =
      names == Names::kOpenClip ? "visual.transformer.resblocks." : "vision_model.encoder.layers.";
  return ReadBlock(weights, names, absl::StrCat(prefix, index, "."), config.transformer);
}

BlockWeights ReadTextBlock(Weights& weights, Names names, const TextConfig& config, int index) {
  const std::string prefix = names == Names::kOpenClip
                                 ? OpenClipTextPrefix(weights) + "transformer.resblocks."
                                 : "text_model.encoder.layers.";
  return ReadBlock(weights, names, absl::StrCat(prefix, index, "."), config.transformer);
}

}  // namespace imagesearch::encoder
