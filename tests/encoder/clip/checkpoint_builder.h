// Writes small CLIP checkpoints for tests.
#ifndef IMAGESEARCH_TESTS_ENCODER_CLIP_CHECKPOINT_BUILDER_H_
#define IMAGESEARCH_TESTS_ENCODER_CLIP_CHECKPOINT_BUILDER_H_

#include <cstdint>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

namespace imagesearch::encoder {

inline void WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

// A safetensors file of `header` (its length put in front) and `data`.
inline std::string SafetensorsBytes(const std::string& header, const std::string& data) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(uint64_t{header.size()} >> (8 * i));
  return bytes + header + data;
}

using Tensors = std::map<std::string, std::vector<int64_t>>;  // name -> shape

// The tensors of a Hugging Face CLIP with these widths; one block in each tower, 8x8 images in 4x4
// patches, 16 positions, 6 vectors, 520 tokens.
inline Tensors TinyClipTensors(int64_t vision = 8, int64_t text = 8) {
  Tensors tensors = {{"vision_model.embeddings.class_embedding", {vision}},
                     {"vision_model.embeddings.patch_embedding.weight", {vision, 3, 4, 4}},
                     {"vision_model.embeddings.position_embedding.weight", {5, vision}},
                     {"visual_projection.weight", {6, vision}},
                     {"text_model.embeddings.token_embedding.weight", {520, text}},
                     {"text_model.embeddings.position_embedding.weight", {16, text}},
                     {"text_projection.weight", {6, text}},
                     {"logit_scale", {}}};
  const auto add = [&](const std::string& name, int64_t outputs, int64_t inputs) {
    tensors[name + ".weight"] =
        inputs > 0 ? std::vector<int64_t>{outputs, inputs} : std::vector<int64_t>{outputs};
    tensors[name + ".bias"] = {outputs};
  };
  add("vision_model.pre_layrnorm", vision, 0);
  add("vision_model.post_layernorm", vision, 0);
  add("text_model.final_layer_norm", text, 0);
  for (const auto& [tower, width] : {std::pair("vision_model", vision), {"text_model", text}}) {
    const std::string layer = std::string(tower) + ".encoder.layers.0.";
    for (const char* part : {"q_proj", "k_proj", "v_proj", "out_proj"})
      add(layer + "self_attn." + part, width, width);
    add(layer + "layer_norm1", width, 0);
    add(layer + "layer_norm2", width, 0);
    add(layer + "mlp.fc1", 2 * width, width);
    add(layer + "mlp.fc2", width, 2 * width);
  }
  return tensors;
}

// Random fp32 values, the same for the same tensors.
inline std::string TensorsFile(const Tensors& tensors) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, 0.3f);
  nlohmann::json header;
  std::string data;
  for (const auto& [name, shape] : tensors) {
    size_t count = 1;
    for (const int64_t size : shape) count *= size;
    const size_t begin = data.size();
    for (size_t i = 0; i < count; ++i) {
      const float value = normal(random);
      data.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    header[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {begin, data.size()}}};
  }
  return SafetensorsBytes(header.dump(), data);
}

inline nlohmann::json TinyClipConfig() {
  const nlohmann::json tower = {{"hidden_size", 8},
                                {"intermediate_size", 16},
                                {"num_hidden_layers", 1},
                                {"num_attention_heads", 2}};
  nlohmann::json config = {{"model_type", "clip"},
                           {"projection_dim", 6},
                           {"vision_config", tower},
                           {"text_config", tower}};
  config["vision_config"].update({{"image_size", 8}, {"patch_size", 4}});
  config["text_config"].update(
      {{"vocab_size", 520}, {"max_position_embeddings", 16}, {"eos_token_id", 519}});
  return config;
}

// The byte symbols, their word-end forms and the two special tokens, without merges: 514 tokens,
// with the special ones at 518 and 519.
inline void WriteByteTokenizer(const std::string& dir) {
  nlohmann::json vocabulary;
  int next = 0, beyond = 256;
  std::vector<int> symbols;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable =
        (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    symbols.push_back(printable ? byte : beyond++);
  }
  for (const char* end : {"", "</w>"}) {
    for (const int symbol : symbols) {
      std::string text;
      if (symbol < 0x80) {
        text += static_cast<char>(symbol);
      } else {
        text += static_cast<char>(0xC0 | symbol >> 6);
        text += static_cast<char>(0x80 | (symbol & 0x3F));
      }
      vocabulary[text + end] = next++;
    }
  }
  vocabulary["<|startoftext|>"] = 518;
  vocabulary["<|endoftext|>"] = 519;
  WriteFile(dir + "/vocab.json", vocabulary.dump());
  WriteFile(dir + "/merges.txt", "#version: 0.2\n");
}

// A whole checkpoint folder that opens.
inline void WriteTinyClip(const std::string& dir) {
  WriteFile(dir + "/config.json", TinyClipConfig().dump());
  WriteFile(dir + "/model.safetensors", TensorsFile(TinyClipTensors()));
  WriteByteTokenizer(dir);
}

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_TESTS_ENCODER_CLIP_CHECKPOINT_BUILDER_H_
