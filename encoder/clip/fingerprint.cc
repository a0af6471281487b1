// SHA-256 through OpenSSL.
#include "encoder/clip/fingerprint.h"

#include <openssl/evp.h>

#include <filesystem>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace imagesearch::encoder {
namespace {

constexpr const char* kTokenizerFiles[] = {"vocab.json",
                                           "merges.txt",
                                           "tokenizer.json",
                                           "tokenizer_config.json",
                                           "special_tokens_map.json",
                                           "added_tokens.json"};

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new()) {
    ok_ = context_ != nullptr && EVP_DigestInit_ex(context_, EVP_sha256(), nullptr) == 1;
  }
  ~Sha256() { EVP_MD_CTX_free(context_); }
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void Add(const void* data, size_t size) {
    ok_ = ok_ && EVP_DigestUpdate(context_, data, size) == 1;
  }
  // Length first, so that two parts can't be mistaken for two others.
  void AddPart(const std::string& name, const void* data, uint64_t size) {
    const std::string head = absl::StrCat(name, "\n", size, "\n");
    Add(head.data(), head.size());
    Add(data, size);
  }
  absl::StatusOr<std::string> Hex() {
    unsigned char digest[32];
    unsigned int size = 0;
    if (!ok_ || EVP_DigestFinal_ex(context_, digest, &size) != 1 || size != sizeof digest)
      return absl::InternalError("OpenSSL could not compute a SHA-256");
    return absl::BytesToHexString(
        absl::string_view(reinterpret_cast<const char*>(digest), sizeof digest));
  }

 private:
  EVP_MD_CTX* const context_;
  bool ok_;
};

}  // namespace

absl::StatusOr<std::string> Fingerprint(const std::string& dir, const Safetensors& weights,
                                        const std::vector<std::string>& config_files,
                                        const std::string& precision_class) {
  Sha256 sha;
  for (const auto& file : weights.files()) {
    sha.AddPart(std::filesystem::path(file->path()).filename().string(), file->data(),
                file->size());
  }
  const auto add_file = [&](const std::string& name) -> absl::Status {
    absl::StatusOr<std::unique_ptr<MappedFile>> file = MappedFile::Open(dir + "/" + name);
    if (!file.ok()) return file.status();
    sha.AddPart(name, (*file)->data(), (*file)->size());
    return absl::OkStatus();
  };
  for (const std::string& name : config_files) {
    if (absl::Status status = add_file(name); !status.ok()) return status;
  }
  for (const char* name : kTokenizerFiles) {
    std::error_code ignored;
    if (!std::filesystem::exists(dir + "/" + name, ignored)) continue;
    if (absl::Status status = add_file(name); !status.ok()) return status;
  }
  sha.AddPart("precision", precision_class.data(), precision_class.size());
  return sha.Hex();
}

}  // namespace imagesearch::encoder
