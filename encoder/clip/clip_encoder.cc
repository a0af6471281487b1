// Puts a checkpoint's parts together: tokenizer and pixels in front, the two towers behind, and the
// room's edge where LibTorch's exceptions become statuses.
#include "encoder/clip/clip_encoder.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <new>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/mutex.h"
#include "encoder/clip/config.h"
#include "encoder/clip/fingerprint.h"
#include "encoder/clip/image_tower.h"
#include "encoder/clip/open_plain.h"
#include "encoder/clip/text_tower.h"
#include "encoder/text/tokenizer.h"

namespace imagesearch::encoder {
namespace {

// Bounds the activations held at once, whatever batch the caller brings.
constexpr size_t kMaxImages = 32, kMaxTexts = 64;

// Runs `work`, turning what LibTorch throws into a status.
template <typename Work>
absl::Status AtTheEdge(const Work& work) {
  const auto out_of_memory = [] {
    return Error(absl::StatusCode::kResourceExhausted, "OUT_OF_MEMORY",
                 "not enough memory to run the model on this batch");
  };
  try {
    work();
    return absl::OkStatus();
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  } catch (const c10::OutOfMemoryError&) {
    return out_of_memory();
  } catch (const c10::Error& error) {
    const std::string what = error.what_without_backtrace();
    // The CPU allocator throws a plain c10::Error.
    if (absl::StrContains(what, "can't allocate memory") ||
        absl::StrContains(what, "not enough memory"))
      return out_of_memory();
    return absl::InternalError(absl::StrCat("LibTorch: ", what));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("the model failed: ", error.what()));
  }
}

struct Parts {
  ModelInfo info;
  PixelOptions pixels;
  uint32_t max_text_bytes = 0;
  int threads = 1;
  int vocab_size = 0;
  std::unique_ptr<Tokenizer> tokenizer;
};

struct Towers {
  std::unique_ptr<ImageTower> image;
  std::unique_ptr<TextTower> text;
};

// Thread-safe: constant but for the towers, which take one batch at a time under `mutex_`.
class ClipEncoder : public Encoder {
 public:
  ClipEncoder(Parts parts, Towers towers) : parts_(std::move(parts)), towers_(std::move(towers)) {}

  const ModelInfo& model() const override { return parts_.info; }

  absl::StatusOr<Prepared> Prepare(const Input& input) const override {
    Prepared prepared;
    prepared.kind = input.kind;
    if (input.kind == Input::Kind::kImage) {
      PixelOptions options = parts_.pixels;
      options.crop = input.crop;
      absl::StatusOr<std::vector<uint8_t>> pixels =
          LoadPixels(input.data, options, &prepared.perceptual_hash);
      if (!pixels.ok()) return pixels.status();
      prepared.pixels = *std::move(pixels);
      return prepared;
    }
    if (absl::Status status = CheckText(input.data, parts_.max_text_bytes); !status.ok())
      return status;
    absl::StatusOr<Tokens> tokens = parts_.tokenizer->Encode(input.data);
    if (!tokens.ok()) return tokens.status();
    for (const int32_t id : tokens->ids) {
      if (id < 0 || id >= parts_.vocab_size) {
        return InvalidArgument(
            "TOKEN_OUT_OF_VOCABULARY",
            absl::StrCat("the tokenizer made id ", id, ", the model knows ids below ",
                         parts_.vocab_size, ": the checkpoint's files don't belong together"));
      }
    }
    prepared.tokens = std::move(tokens->ids);
    prepared.truncated_text = tokens->truncated;
    return prepared;
  }

  std::vector<absl::StatusOr<Embedding>> Embed(
      const std::vector<const Prepared*>& prepared) override {
    std::vector<absl::StatusOr<Embedding>> results(prepared.size(),
                                                   absl::InternalError("not embedded"));
    std::vector<size_t> images, texts;
    const size_t image_bytes = size_t{3} * parts_.info.image_size * parts_.info.image_size;
    for (size_t i = 0; i < prepared.size(); ++i) {
      if (prepared[i]->kind == Input::Kind::kImage && prepared[i]->pixels.size() == image_bytes) {
        images.push_back(i);
      } else if (prepared[i]->kind == Input::Kind::kText && !prepared[i]->tokens.empty() &&
                 prepared[i]->tokens.size() <= size_t(parts_.info.context_length)) {
        texts.push_back(i);
      } else {
        results[i] = absl::InternalError("input prepared for another model");
      }
    }
    const MutexLock lock(&mutex_);
    const Towers& towers = towers_;
    // LibTorch's thread count belongs to the calling thread.
    if (at::get_num_threads() != parts_.threads) at::set_num_threads(parts_.threads);
    InChunks(images, kMaxImages, results, [&](const std::vector<size_t>& chunk) {
      std::vector<const uint8_t*> pixels;
      for (const size_t i : chunk) pixels.push_back(prepared[i]->pixels.data());
      return towers.image->Embed(pixels);
    });
    InChunks(texts, kMaxTexts, results, [&](const std::vector<size_t>& chunk) {
      std::vector<const std::vector<int32_t>*> tokens;
      for (const size_t i : chunk) tokens.push_back(&prepared[i]->tokens);
      return towers.text->Embed(tokens);
    });
    for (const size_t i : images) {
      if (results[i].ok()) results[i]->perceptual_hash = prepared[i]->perceptual_hash;
    }
    for (const size_t i : texts) {
      if (results[i].ok()) results[i]->truncated_text = prepared[i]->truncated_text;
    }
    return results;
  }

 private:
  // Runs `tower` over chunks of `indices` and puts unit vectors (or errors) into `results`.
  template <typename Tower>
  void InChunks(const std::vector<size_t>& indices, size_t chunk_size,
                std::vector<absl::StatusOr<Embedding>>& results, const Tower& tower) {
    for (size_t begin = 0; begin < indices.size(); begin += chunk_size) {
      const std::vector<size_t> chunk(
          indices.begin() + begin, indices.begin() + std::min(begin + chunk_size, indices.size()));
      const absl::Status status = AtTheEdge([&] {
        const c10::InferenceMode no_gradients;
        const at::Tensor vectors = tower(chunk);
        for (size_t row = 0; row < chunk.size(); ++row) {
          results[chunk[row]] =
              UnitVector(vectors.const_data_ptr<float>() + row * parts_.info.dimension);
        }
      });
      if (status.ok()) continue;
      for (const size_t i : chunk) results[i] = status;
    }
  }

  absl::StatusOr<Embedding> UnitVector(const float* values) const {
    double sum = 0;
    for (int i = 0; i < parts_.info.dimension; ++i) sum += double{values[i]} * values[i];
    if (!std::isfinite(sum) || sum == 0) {
      return Error(absl::StatusCode::kInternal, "MODEL_OUTPUT_NOT_FINITE",
                   "the model answered with a vector that is zero or not finite");
    }
    Embedding embedding;
    embedding.values.resize(parts_.info.dimension);
    const double scale = 1 / std::sqrt(sum);
    for (int i = 0; i < parts_.info.dimension; ++i)
      embedding.values[i] = static_cast<float>(values[i] * scale);
    return embedding;
  }

  const Parts parts_;
  Mutex mutex_;  // one batch at a time: the towers share LibTorch's threads
  Towers towers_ ABSL_GUARDED_BY(mutex_);
};

// The two towers and the logit scale; in check mode, only their tensors' names and shapes are
// checked.
void BuildTowers(const ClipConfig& config, Weights& weights, const Backend& backend, Towers& towers,
                 ModelInfo& info) {
  towers.image = std::visit(
      [&](const auto& vision) -> std::unique_ptr<ImageTower> {
        if constexpr (std::is_same_v<std::decay_t<decltype(vision)>, VitConfig>) {
          return MakeVit(vision, config.pixels, config.dimension, config.names, weights, backend);
        } else {
          return MakeEfficientNetLite(vision, config.pixels, config.dimension, weights, backend);
        }
      },
      config.vision);
  towers.text = TextTower::Make(config.text, config.dimension, config.names, weights, backend);
  double logit_scale = config.logit_scale;
  if (weights.Has("logit_scale")) {
    const at::Tensor stored = weights.Get("logit_scale", {1});
    if (weights.readable()) logit_scale = stored.item<float>();
  }
  info.logit_scale = static_cast<float>(std::exp(logit_scale));
}

// The smallest cosine between two towers' vectors of a few texts.
// Texts with ids beyond the vocabulary are left out: Prepare names that fault of a checkpoint.
double WorstCosine(TextTower& a, TextTower& b, const Tokenizer& tokenizer, int vocab_size) {
  double worst = 1;
  for (const char* text :
       {"a photo of a cat", "red", "two children playing football in the park",
        "a drawing of an old ship on a stormy sea at night", "naïve café 42", "zqx 7 ŵ"}) {
    absl::StatusOr<Tokens> tokens = tokenizer.Encode(text);
    if (!tokens.ok() || *std::max_element(tokens->ids.begin(), tokens->ids.end()) >= vocab_size)
      continue;
    const at::Tensor x = a.Embed({&tokens->ids}), y = b.Embed({&tokens->ids});
    double xy = 0, xx = 0, yy = 0;
    for (int64_t i = 0; i < x.numel(); ++i) {
      const double u = x.const_data_ptr<float>()[i], v = y.const_data_ptr<float>()[i];
      xy += u * v;
      xx += u * u;
      yy += v * v;
    }
    worst = std::min(worst, xy / std::sqrt(xx * yy));
  }
  return worst;
}

// Some text towers lose too much in few bits: single activations so large that 8 bits leave nothing
// for the others, or texts of rare tokens whose terms nearly cancel. Texts are cheap beside images,
// so such a tower gets the narrowest of bf16 (where the CPU multiplies it) and fp32 that is
// faithful to fp32.
void KeepFaithfulTextTower(const ClipConfig& config, Weights& weights, const Tokenizer& tokenizer,
                           const ClipOptions& options, const Backend& backend, Towers& towers,
                           ModelInfo& info) {
  constexpr double kFaithful = 0.999;
  const auto make = [&](const Backend& other) {
    return TextTower::Make(config.text, config.dimension, config.names, weights, other);
  };
  ClipOptions wider = options;
  wider.device = DeviceChoice::kCpu;
  wider.precision = Precision::kFp32;
  const absl::StatusOr<Backend> full = ChooseBackend(wider);
  wider.precision = Precision::kAuto;
  const absl::StatusOr<Backend> fast = ChooseBackend(wider);
  if (!full.ok() || !fast.ok()) return;
  auto exact = make(*full);
  const double cosine = WorstCosine(*towers.text, *exact, tokenizer, config.text.vocab_size);
  if (cosine >= kFaithful) return;
  Precision taken = Precision::kFp32;
  towers.text = nullptr;
  if (backend.precision == Precision::kInt8 && fast->precision != Precision::kFp32) {
    towers.text = make(*fast);
    if (WorstCosine(*towers.text, *exact, tokenizer, config.text.vocab_size) >= kFaithful) {
      taken = fast->precision;
    } else {
      towers.text = nullptr;
    }
  }
  if (towers.text == nullptr) towers.text = std::move(exact);
  absl::StrAppend(&info.precision_reason, "; texts in ", PrecisionName(taken), ": in ",
                  PrecisionName(backend.precision), " their cosine would be ",
                  absl::SixDigits(cosine));
}

absl::StatusOr<std::unique_ptr<Encoder>> OpenWithBackend(const ClipOptions& options,
                                                         const Backend& backend) {
  // "models/x/" and "models/x/." are named x too.
  const std::string dir = std::filesystem::path(options.model_dir.empty() ? "." : options.model_dir)
                              .lexically_normal()
                              .string();
  absl::StatusOr<ClipConfig> config = ReadConfig(dir);
  if (!config.ok()) return config.status();
  absl::StatusOr<std::unique_ptr<Safetensors>> file = Safetensors::Open(dir, config->weights_file);
  if (!file.ok()) return file.status();

  Parts parts;
  parts.info.precision_reason = backend.reason;
  Towers towers;
  absl::Status read;
  const absl::Status edge = AtTheEdge([&] {
    const c10::InferenceMode no_gradients;
    for (const Weights::Mode mode : {Weights::Mode::kCheck, Weights::Mode::kRead}) {
      Weights weights(**file, dir + "/" + config->weights_file, mode);
      BuildTowers(*config, weights, backend, towers, parts.info);
      read = weights.status();
      if (!read.ok()) return;
      if (mode == Weights::Mode::kCheck) {
        absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer =
            Tokenizer::Load(dir, config->text.context_length);
        if (!tokenizer.ok()) {
          read = tokenizer.status();
          return;
        }
        parts.tokenizer = *std::move(tokenizer);
      } else if (backend.precision != Precision::kFp32 && backend.device == at::kCPU) {
        KeepFaithfulTextTower(*config, weights, *parts.tokenizer, options, backend, towers,
                              parts.info);
      }
    }
  });
  if (!edge.ok()) return edge;
  if (!read.ok()) return read;

  absl::StatusOr<std::string> fingerprint =
      Fingerprint(dir, **file, config->config_files, PrecisionClass(backend.precision));
  if (!fingerprint.ok()) return fingerprint.status();
  const std::filesystem::path folder =
      std::filesystem::absolute(std::filesystem::path(dir) / "").parent_path();
  parts.info.id = absl::StrCat(folder.filename().string(), "@", fingerprint->substr(0, 8));
  parts.info.fingerprint = *std::move(fingerprint);
  parts.info.dimension = config->dimension;
  parts.info.image_size = config->image_size();
  parts.info.context_length = config->text.context_length;
  parts.info.precision = PrecisionName(backend.precision);
  parts.info.memory_bytes = towers.image->memory_bytes() + towers.text->memory_bytes();

  parts.pixels.resize_mode = config->pixels.resize_mode;
  parts.pixels.resize_size = config->pixels.resize_size;
  parts.pixels.crop_size = config->pixels.crop_size;
  parts.pixels.resample = config->pixels.resample;
  parts.pixels.limits = options.image_limits;
  parts.pixels.scaled_jpeg_decode = options.scaled_jpeg_decode;
  parts.max_text_bytes = options.max_text_bytes;
  parts.vocab_size = config->text.vocab_size;
  parts.threads = options.threads > 0
                      ? options.threads
                      : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  return std::make_unique<ClipEncoder>(std::move(parts), std::move(towers));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Encoder>> OpenPlainClip(const ClipOptions& options) {
  Backend backend;
  backend.plain = true;
  backend.reason = "the plain path";
  return OpenWithBackend(options, backend);
}

absl::StatusOr<std::unique_ptr<Encoder>> OpenClip(const ClipOptions& options) {
  absl::StatusOr<Backend> backend = ChooseBackend(options);
  if (!backend.ok()) return backend.status();
  return OpenWithBackend(options, *backend);
}

}  // namespace imagesearch::encoder
