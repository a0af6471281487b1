// Reads, makes and keeps the vectors of the shipped texts.
#include "server/text_sample.h"

#include <openssl/sha.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/embedded_file.h"
#include "server/logging.h"

namespace imagesearch::server {
namespace text_files {
extern const EmbeddedFile kFiles[];
}  // namespace text_files

namespace {

namespace fs = std::filesystem;

// Texts handed to the encoder at a time: other work waits no longer than they take.
constexpr size_t kBatch = 16;

std::string Sha256(absl::string_view bytes) {
  std::string hash(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
         reinterpret_cast<unsigned char*>(hash.data()));
  return hash;
}

}  // namespace

const std::vector<std::string>& SampleTexts() {
  static const std::vector<std::string>* const texts = [] {
    const EmbeddedFile& file = text_files::kFiles[0];
    return new std::vector<std::string>(
        absl::StrSplit(absl::string_view(reinterpret_cast<const char*>(file.bytes), file.size),
                       '\n', absl::SkipEmpty()));
  }();
  return *texts;
}

TextSamples::~TextSamples() {
  *stopped_ = true;
  std::vector<std::thread> threads;
  {
    MutexLock lock(&mutex_);
    threads.swap(encoding_);
  }
  for (std::thread& thread : threads) thread.join();
}

void TextSamples::Add(std::shared_ptr<encoder::Encoder> encoder) {
  if (Read(encoder->model(), PathOf(encoder->model()))) return;
  MutexLock lock(&mutex_);
  if (*stopped_) return;
  encoding_.emplace_back([this, encoder = std::move(encoder)] { Encode(*encoder); });
}

std::vector<float> TextSamples::Of(const std::string& model_fingerprint) const {
  MutexLock lock(&mutex_);
  const auto found = samples_.find(model_fingerprint);
  return found == samples_.end() ? std::vector<float>() : found->second;
}

void TextSamples::Keep(const std::string& fingerprint, std::vector<float> vectors) {
  MutexLock lock(&mutex_);
  samples_[fingerprint] = std::move(vectors);
}

std::string TextSamples::PathOf(const encoder::ModelInfo& model) const {
  const std::string key =
      Sha256(absl::StrCat(model.fingerprint, "\n", text_files::kFiles[0].sha256));
  return absl::StrCat(folder_, "/", absl::BytesToHexString(key.substr(0, 16)), ".f32");
}

bool TextSamples::Read(const encoder::ModelInfo& model, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  const size_t row = static_cast<size_t>(model.dimension) * sizeof(float);
  if (bytes.size() != SampleTexts().size() * row + SHA256_DIGEST_LENGTH) return false;
  const absl::string_view payload(bytes.data(), bytes.size() - SHA256_DIGEST_LENGTH);
  if (Sha256(payload) != bytes.substr(payload.size())) return false;
  std::vector<float> vectors(payload.size() / sizeof(float));
  std::memcpy(vectors.data(), payload.data(), payload.size());
  Keep(model.fingerprint, std::move(vectors));
  return true;
}

void TextSamples::Encode(encoder::Encoder& encoder) {
  encoder::EncodeOptions options;
  options.priority = encoder::Priority::kBulk;
  options.wait_for_room = true;
  options.cancelled = stopped_;
  const std::vector<std::string>& texts = SampleTexts();
  std::vector<float> vectors;
  for (size_t at = 0; at < texts.size(); at += kBatch) {
    std::vector<encoder::Input> inputs;
    for (size_t i = at; i < std::min(at + kBatch, texts.size()); ++i) {
      inputs.push_back(encoder::Input::Text(texts[i]));
    }
    for (const auto& embedding : encoder.Encode(std::move(inputs), options)) {
      if (*stopped_) return;
      if (!embedding.ok()) {  // indexes do without
        Log(LogLevel::kWarn, "no sample of texts",
            {{"cause", std::string(embedding.status().message())}});
        return;
      }
      vectors.insert(vectors.end(), embedding->values.begin(), embedding->values.end());
    }
  }
  std::string bytes(reinterpret_cast<const char*>(vectors.data()), vectors.size() * sizeof(float));
  bytes += Sha256(bytes);
  Keep(encoder.model().fingerprint, std::move(vectors));
  // Not synced: a file that was cut short is made anew.
  std::error_code error;
  fs::create_directories(folder_, error);
  const std::string path = PathOf(encoder.model());
  const std::string draft = absl::StrCat(path, ".", getpid());
  std::ofstream file(draft, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (file) fs::rename(draft, path, error);
  if (!file || error) {
    fs::remove(draft, error);
    Log(LogLevel::kWarn, "the sample of texts is not kept", {{"path", path}});
  }
}

}  // namespace imagesearch::server
