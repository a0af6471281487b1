// Encodes the inputs of files with the C++ encoder, for comparison with reference implementations.
// Usage: encode_tool MODEL_DIR OUT [--precision P] [--plain] [--kernels K] [--threads N] [--batch
// N]
//                    [--scaled-jpeg-decode] [--texts FILE] [--images FILE] [--pixels FILE]
//                    [--self-test]
// FILE of --texts and --images: a JSON array of strings (for images: paths). FILE of --pixels: raw
// RGB bytes, images of the model's size end to end. OUT gets a JSON object: "model" and, for each
// list, an array of vectors, or of {"code", "reason", "message"} where an input was refused. Exit
// status 1, with the error on stderr, when the model can't be opened or the self-test fails.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "encoder/clip/clip_encoder.h"
#include "encoder/clip/open_plain.h"
#include "encoder/clip/self_test.h"

namespace imagesearch::encoder {
namespace {

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    std::cerr << path << ": can't be read\n";
    std::exit(2);
  }
  return {std::istreambuf_iterator<char>(in), {}};
}

nlohmann::json ToJson(const absl::StatusOr<Embedding>& result) {
  if (result.ok()) return result->values;
  return {{"code", static_cast<int>(result.status().code())},
          {"reason", ReasonOf(result.status())},
          {"message", std::string(result.status().message())}};
}

// Prepares and embeds, `batch` at a time.
nlohmann::json EncodeAll(Encoder& encoder, std::vector<absl::StatusOr<Prepared>> prepared,
                         size_t batch) {
  nlohmann::json results = nlohmann::json::array();
  for (size_t begin = 0; begin < prepared.size(); begin += batch) {
    const size_t end = std::min(begin + batch, prepared.size());
    std::vector<const Prepared*> good;
    for (size_t i = begin; i < end; ++i) {
      if (prepared[i].ok()) good.push_back(&*prepared[i]);
    }
    const std::vector<absl::StatusOr<Embedding>> embedded = encoder.Embed(good);
    size_t next = 0;
    for (size_t i = begin; i < end; ++i)
      results.push_back(ToJson(prepared[i].ok() ? embedded[next++] : prepared[i].status()));
  }
  return results;
}

int Fail(const absl::Status& status) {
  std::cerr << ReasonOf(status) << ": " << status.message() << "\n";
  return 1;
}

int Main(const std::vector<std::string>& args) {
  if (args.size() < 2) {
    std::cerr << "usage: encode_tool MODEL_DIR OUT [options]; see encode_tool.cc\n";
    return 2;
  }
  ClipOptions options;
  options.model_dir = args[0];
  options.scaled_jpeg_decode = false;
  options.threads = 2;
  size_t batch = 8;
  bool plain = false, self_test = false;
  std::string texts, images, pixels, precision = "fp32", kernels = "best";
  for (size_t i = 2; i < args.size(); ++i) {
    const auto value = [&] { return i + 1 < args.size() ? args[++i] : std::string(); };
    if (args[i] == "--precision") {
      precision = value();
    } else if (args[i] == "--kernels") {
      kernels = value();
    } else if (args[i] == "--threads") {
      options.threads = std::atoi(value().c_str());
    } else if (args[i] == "--batch") {
      batch = std::max(1, std::atoi(value().c_str()));
    } else if (args[i] == "--texts") {
      texts = value();
    } else if (args[i] == "--images") {
      images = value();
    } else if (args[i] == "--pixels") {
      pixels = value();
    } else if (args[i] == "--scaled-jpeg-decode") {
      options.scaled_jpeg_decode = true;
    } else if (args[i] == "--plain") {
      plain = true;
    } else if (args[i] == "--self-test") {
      self_test = true;
    } else {
      std::cerr << "unknown option " << args[i] << "\n";
      return 2;
    }
  }
  const absl::StatusOr<Precision> parsed = ParsePrecision(precision);
  if (!parsed.ok()) return Fail(parsed.status());
  options.precision = *parsed;
  const absl::StatusOr<CpuKernels> level = ParseCpuKernels(kernels);
  if (!level.ok()) return Fail(level.status());
  options.kernels = *level;
  absl::StatusOr<std::unique_ptr<Encoder>> opened =
      plain ? OpenPlainClip(options) : OpenClip(options);
  if (!opened.ok()) return Fail(opened.status());
  Encoder& encoder = **opened;
  if (self_test) {
    if (absl::Status status = SelfTest(encoder, options); !status.ok()) return Fail(status);
  }

  const ModelInfo& model = encoder.model();
  nlohmann::json out;
  out["model"] = {{"id", model.id},
                  {"fingerprint", model.fingerprint},
                  {"dimension", model.dimension},
                  {"image_size", model.image_size},
                  {"context_length", model.context_length},
                  {"precision", model.precision},
                  {"precision_reason", model.precision_reason},
                  {"logit_scale", model.logit_scale},
                  {"memory_bytes", model.memory_bytes}};
  for (const auto& [name, file] : {std::pair("texts", texts), std::pair("images", images)}) {
    if (file.empty()) continue;
    std::vector<absl::StatusOr<Prepared>> prepared;
    const nlohmann::json strings = nlohmann::json::parse(ReadFile(file));
    for (const std::string text : strings) {
      prepared.push_back(encoder.Prepare(
          name == std::string("texts") ? Input::Text(text) : Input::Image(ReadFile(text))));
    }
    out[name] = EncodeAll(encoder, std::move(prepared), batch);
  }
  if (!pixels.empty()) {
    const std::string raw = ReadFile(pixels);
    const size_t size = size_t{3} * model.image_size * model.image_size;
    std::vector<absl::StatusOr<Prepared>> prepared;
    for (size_t begin = 0; begin + size <= raw.size(); begin += size) {
      Prepared image;
      image.kind = Input::Kind::kImage;
      image.pixels.assign(raw.begin() + begin, raw.begin() + begin + size);
      prepared.push_back(std::move(image));
    }
    out["pixels"] = EncodeAll(encoder, std::move(prepared), batch);
  }
  std::ofstream file(args[1]);
  file << out << "\n";
  return file.flush() ? 0 : 1;
}

}  // namespace
}  // namespace imagesearch::encoder

int main(int argc, char** argv) {
  return imagesearch::encoder::Main(std::vector<std::string>(argv + 1, argv + argc));
}
