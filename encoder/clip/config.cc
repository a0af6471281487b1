// Decides which kind of checkpoint a folder holds, and refuses what can't be read with a way out.
#include "encoder/clip/config.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "encoder/clip/config_parts.h"

namespace imagesearch::encoder {
namespace {

bool Exists(const std::string& dir, const std::string& name) {
  std::error_code ignored;
  return std::filesystem::exists(dir + "/" + name, ignored);
}

bool HasSafetensors(const std::string& dir, const std::string& name) {
  return Exists(dir, name) || Exists(dir, name + ".index.json");
}

// Quotes for a POSIX shell.
std::string ShellQuote(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  return quoted + "'";
}

// Names of pickle files in the folder, sorted.
std::vector<std::string> PickleFiles(const std::string& dir) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(dir, ignored)) {
    const std::string name = entry.path().filename().string();
    if (absl::EndsWith(name, ".bin") || absl::EndsWith(name, ".pt") ||
        absl::EndsWith(name, ".pth") || absl::EndsWith(name, ".ckpt"))
      names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

// The command that turns the pickle weights of `dir` into `target`.
std::string ConvertCommand(const std::string& dir, const std::vector<std::string>& pickles,
                           const std::string& target) {
  // Several files are shards of one state dict.
  std::string files;
  for (const std::string& name : pickles) {
    if (pickles.size() == 1 || absl::StartsWith(name, "pytorch_model-") ||
        absl::StartsWith(name, "open_clip_pytorch_model-"))
      absl::StrAppend(&files, " ", ShellQuote(name));
  }
  if (files.empty()) files = absl::StrCat(" ", ShellQuote(pickles.front()));
  return absl::StrCat(
      "cd ", ShellQuote(dir),
      " && python3 -c 'import sys, torch; from safetensors.torch import save_file; state = {}; "
      "parts = [torch.load(f, map_location=\"cpu\", weights_only=True) for f in sys.argv[1:]]; "
      "[state.update(p.get(\"state_dict\", p)) for p in parts]; "
      "save_file({k.removeprefix(\"module.\"): v.clone().contiguous() for k, v in state.items() "
      "if torch.is_tensor(v)}, \"",
      target, "\")'", files, "   (needs: pip install torch safetensors)");
}

absl::Status NoWeights(const std::string& dir, const std::string& target) {
  const std::vector<std::string> pickles = PickleFiles(dir);
  if (pickles.empty()) {
    return Error(absl::StatusCode::kNotFound, "MODEL_FILE_MISSING",
                 absl::StrCat(dir, ": no ", target, " and no ", target, ".index.json"));
  }
  return InvalidArgument(
      "MODEL_IS_PICKLE",
      absl::StrCat(dir, "/", pickles.front(),
                   ": a pickle checkpoint can run any code when it is opened, so it is not read. "
                   "Convert it once with: ",
                   ConvertCommand(dir, pickles, target)));
}

// A Hugging Face CLIP configuration? timm writes another kind of config.json beside
// open_clip_config.json.
bool IsHuggingFace(const nlohmann::json& config) {
  return config.contains("model_type") || config.contains("text_config") ||
         config.contains("vision_config") || !config.contains("architecture");
}

// CLIPImageProcessor settings of the folder: preprocessor_config.json, or the image_processor of
// processor_config.json (where transformers 5 saves them), or CLIP's defaults.
absl::Status ReadPreprocessor(const std::string& dir, ClipConfig* config) {
  const bool old_name = Exists(dir, "preprocessor_config.json");
  if (old_name || Exists(dir, "processor_config.json")) {
    const std::string name = old_name ? "preprocessor_config.json" : "processor_config.json";
    absl::StatusOr<nlohmann::json> json = ReadJsonFile(dir + "/" + name);
    if (!json.ok()) return json.status();
    if (old_name || json->contains("image_processor")) {
      config->config_files.push_back(name);
      return ParsePreprocessor(old_name ? *json : (*json)["image_processor"], dir + "/" + name,
                               config->image_size(), &config->pixels);
    }
  }
  config->pixels = DefaultPixels(config->image_size());
  return absl::OkStatus();
}

}  // namespace

int ClipConfig::image_size() const {
  return std::visit([](const auto& tower) { return tower.image_size; }, vision);
}

absl::StatusOr<ClipConfig> ReadConfig(const std::string& dir) {
  std::error_code error;
  if (!std::filesystem::is_directory(dir, error)) {
    return Error(absl::StatusCode::kNotFound, "MODEL_FILE_MISSING",
                 absl::StrCat(dir, ": no such folder"));
  }
  ClipConfig config;
  const bool open_clip = Exists(dir, "open_clip_config.json");
  if (Exists(dir, "config.json")) {
    absl::StatusOr<nlohmann::json> json = ReadJsonFile(dir + "/config.json");
    if (!json.ok()) return json.status();
    // A folder with both kinds of file: the one whose weights are there.
    const bool weights = HasSafetensors(dir, "model.safetensors");
    if (IsHuggingFace(*json) && (weights || !open_clip)) {
      config.weights_file = "model.safetensors";
      config.config_files = {"config.json"};
      if (absl::Status status = ParseHuggingFace(*json, dir + "/config.json", &config);
          !status.ok())
        return status;
      if (!weights) return NoWeights(dir, config.weights_file);
      if (absl::Status status = ReadPreprocessor(dir, &config); !status.ok()) return status;
      return config;
    }
  }
  if (!open_clip) {
    return Error(absl::StatusCode::kNotFound, "MODEL_FILE_MISSING",
                 absl::StrCat(dir, ": neither a CLIP config.json nor open_clip_config.json"));
  }
  absl::StatusOr<nlohmann::json> json = ReadJsonFile(dir + "/open_clip_config.json");
  if (!json.ok()) return json.status();
  config.names = ClipConfig::Names::kOpenClip;
  config.weights_file = "open_clip_model.safetensors";
  config.config_files = {"open_clip_config.json"};
  if (absl::Status status = ParseOpenClip(*json, dir + "/open_clip_config.json", &config);
      !status.ok())
    return status;
  if (!HasSafetensors(dir, config.weights_file)) return NoWeights(dir, config.weights_file);
  return config;
}

}  // namespace imagesearch::encoder
