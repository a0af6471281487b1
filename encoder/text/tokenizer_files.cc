// JSON and merges.txt into a vocabulary, merges and added tokens.
#include "encoder/text/tokenizer_files.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/error.h"
#include "nlohmann/json.hpp"

namespace imagesearch::encoder {
namespace {

using nlohmann::json;

constexpr uintmax_t kMaxFileBytes = 256u << 20;
constexpr int64_t kMaxId = 1 << 24;

absl::Status Bad(const std::string& path, absl::string_view what) {
  return InvalidArgument("BAD_TOKENIZER", absl::StrCat(path, ": ", what));
}

// The file's bytes; nullopt when there is none.
absl::StatusOr<std::optional<std::string>> ReadFile(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return std::nullopt;
  const uintmax_t size = std::filesystem::file_size(path, error);
  if (error) return Bad(path, "is not a readable file");
  if (size > kMaxFileBytes) return Bad(path, "is larger than 256 MiB");
  std::ifstream in(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (in.bad() || bytes.size() != size) {
    return absl::DataLossError(absl::StrCat(path, ": could not be read to its end"));
  }
  return bytes;
}

// The file as a JSON object; nullopt when there is none.
absl::StatusOr<std::optional<json>> ReadJson(const std::string& path) {
  absl::StatusOr<std::optional<std::string>> bytes = ReadFile(path);
  if (!bytes.ok()) return bytes.status();
  if (!bytes->has_value()) return std::nullopt;
  json parsed = json::parse(**bytes, nullptr, /*allow_exceptions=*/false);
  if (parsed.is_discarded()) {
    return absl::DataLossError(absl::StrCat(path, ": is damaged or cut: not valid JSON"));
  }
  if (!parsed.is_object()) return Bad(path, "is not a JSON object");
  return parsed;
}

absl::Status ReadVocabulary(const std::string& path, const json& vocab, Vocabulary& out) {
  if (vocab.is_array()) {  // token i has id i, maybe as [token, score]
    for (const json& entry : vocab) {
      const json& token = entry.is_array() && !entry.empty() ? entry[0] : entry;
      if (!token.is_string()) return Bad(path, "the vocabulary has an entry that is no string");
      out[token.get_ref<const std::string&>()] = static_cast<int32_t>(out.size());
    }
  } else if (vocab.is_object()) {
    out.reserve(vocab.size());
    for (const auto& [token, id] : vocab.items()) {
      if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > kMaxId) {
        return Bad(path,
                   absl::StrCat("the id of \"", token, "\" is not an integer in 0 to ", kMaxId));
      }
      out[token] = id.get<int32_t>();
    }
  } else {
    return Bad(path, "has no vocabulary");
  }
  return out.empty() ? Bad(path, "the vocabulary is empty") : absl::OkStatus();
}

absl::Status AddMerge(const std::string& path, absl::string_view line, MergeList& out) {
  const std::vector<absl::string_view> parts = absl::StrSplit(line, ' ');
  if (parts.size() != 2) {
    return Bad(path, absl::StrCat("merge ", out.size() + 1, " is not two tokens"));
  }
  out.emplace_back(parts[0], parts[1]);
  return absl::OkStatus();
}

absl::Status ReadTokenizerJson(const std::string& path, const json& file, TokenizerFiles& out) {
  const auto model = file.find("model");
  if (model == file.end() || !model->is_object() || !model->contains("vocab")) {
    return Bad(path, "has no model.vocab");
  }
  if (auto status = ReadVocabulary(path, (*model)["vocab"], out.vocabulary); !status.ok()) {
    return status;
  }
  const auto merges = model->find("merges");
  if (merges == model->end() || !merges->is_array()) {
    return Bad(path, "has no model.merges: not a BPE tokenizer");
  }
  for (const json& merge : *merges) {
    if (merge.is_string()) {
      if (auto status = AddMerge(path, merge.get_ref<const std::string&>(), out.merges);
          !status.ok()) {
        return status;
      }
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      out.merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
    } else {
      return Bad(path, absl::StrCat("merge ", out.merges.size() + 1, " is not two tokens"));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadMergesText(const std::string& path, absl::string_view text, MergeList& out) {
  std::vector<absl::string_view> lines = absl::StrSplit(text, '\n');
  if (!lines.empty() && lines.back().empty()) lines.pop_back();
  for (absl::string_view line : lines) {
    if (absl::EndsWith(line, "\r")) line.remove_suffix(1);
    if (absl::StartsWith(line, "#version")) continue;
    if (auto status = AddMerge(path, line, out); !status.ok()) return status;
  }
  return absl::OkStatus();
}

// A special token as a string or as an object with "content" and its flags.
std::optional<AddedToken> ParseAddedToken(const json& value, bool special) {
  AddedToken token;
  if (value.is_string()) {
    token.content = value.get<std::string>();
  } else if (value.is_object() && value.contains("content") && value["content"].is_string()) {
    const auto flag = [&value](const char* name, bool otherwise) {
      const auto found = value.find(name);
      return found != value.end() && found->is_boolean() ? found->get<bool>() : otherwise;
    };
    token.content = value["content"].get<std::string>();
    token.normalized = flag("normalized", !flag("special", special));
    token.left_strip = flag("lstrip", false);
    token.right_strip = flag("rstrip", false);
    token.single_word = flag("single_word", false);
  } else {
    return std::nullopt;
  }
  if (token.content.empty()) return std::nullopt;
  return token;
}

// What is known of special and added tokens, before they get ids.
class TokenCollector {
 public:
  // By place in the added vocabulary; a later token of the same place replaces the earlier one.
  void Place(int64_t place, AddedToken token) { by_place_[place] = std::move(token); }

  // Reads every "*_token" and list of special tokens of a settings object.
  void ReadNamed(const json& settings) {
    for (const auto& [key, value] : settings.items()) {
      if (key == "additional_special_tokens" || key == "extra_special_tokens") {
        if (!value.is_array()) continue;
        for (const json& entry : value) {
          if (auto token = ParseAddedToken(entry, true)) {
            extra_.push_back({*std::move(token), entry.is_string()});
          }
        }
      } else if (absl::EndsWith(key, "_token")) {
        if (auto token = ParseAddedToken(value, true)) {
          by_role_[key] = {*std::move(token), value.is_string()};
        }
      }
    }
  }

  void Finish(TokenizerFiles& out) && {
    std::vector<AddedToken> ordered;
    for (auto& [place, token] : by_place_) ordered.push_back(std::move(token));
    const size_t placed = ordered.size();

    // The reference compares named tokens by content, but a plain string never equals one that
    // has flags: of the two the later one holds.
    std::vector<Named> named;
    const auto add = [&](const Named& candidate) {
      for (size_t i = 0; i < placed; ++i) {
        if (ordered[i].content == candidate.token.content) return;
      }
      for (const Named& other : named) {
        if (other.token.content == candidate.token.content && other.plain == candidate.plain)
          return;
      }
      named.push_back(candidate);
      ordered.push_back(candidate.token);
    };
    const std::pair<const char*, std::string*> roles[] = {{"bos_token", &out.start},
                                                          {"eos_token", &out.end},
                                                          {"unk_token", &out.unknown},
                                                          {"pad_token", &out.pad}};
    for (const auto& [role, name] : roles) {
      const auto [known, is_default] = by_role_.try_emplace(role, Named{AddedToken{*name}, true});
      *name = known->second.token.content;
      add(known->second);
    }
    for (const auto& [role, token] : by_role_) add(token);
    for (const Named& token : extra_) add(token);

    auto next_id = static_cast<int32_t>(out.vocabulary.size());
    for (AddedToken& token : ordered) {
      const auto seen = std::find_if(out.added.begin(), out.added.end(), [&](const AddedToken& t) {
        return t.content == token.content;
      });
      if (seen != out.added.end()) {
        token.id = seen->id;
        *seen = std::move(token);
        continue;
      }
      const auto known = out.vocabulary.find(token.content);
      token.id = known != out.vocabulary.end() ? known->second : next_id++;
      out.added.push_back(std::move(token));
    }
  }

 private:
  struct Named {
    AddedToken token;
    bool plain = true;  // written as a string, not as an object
  };
  std::map<int64_t, AddedToken> by_place_;
  std::map<std::string, Named> by_role_;
  std::vector<Named> extra_;
};

absl::Status CollectTokens(const std::string& dir, const std::optional<json>& tokenizer,
                           TokenizerFiles& out) {
  TokenCollector collector;
  absl::StatusOr<std::optional<json>> config = ReadJson(dir + "/tokenizer_config.json");
  if (!config.ok()) return config.status();
  const bool has_decoder = *config && (*config)->contains("added_tokens_decoder");
  if (*config) collector.ReadNamed(**config);
  if (has_decoder) {
    const std::string path = dir + "/tokenizer_config.json";
    const json& decoder = (**config)["added_tokens_decoder"];
    if (!decoder.is_object()) return Bad(path, "added_tokens_decoder is not an object");
    for (const auto& [place, value] : decoder.items()) {
      int64_t index = 0;
      auto token = ParseAddedToken(value, false);
      if (!absl::SimpleAtoi(place, &index) || !token) {
        return Bad(path, "added_tokens_decoder has an entry that is no token");
      }
      collector.Place(index, *std::move(token));
    }
  } else {
    absl::StatusOr<std::optional<json>> special = ReadJson(dir + "/special_tokens_map.json");
    if (!special.ok()) return special.status();
    if (*special) collector.ReadNamed(**special);
    absl::StatusOr<std::optional<json>> added = ReadJson(dir + "/added_tokens.json");
    if (!added.ok()) return added.status();
    if (*added) {
      for (const auto& [content, index] : (*added)->items()) {
        if (!index.is_number_integer() || content.empty()) {
          return Bad(dir + "/added_tokens.json", "has an entry that is no token and id");
        }
        collector.Place(index.get<int64_t>(), AddedToken{content, 0, /*normalized=*/true});
      }
    }
    if (tokenizer && tokenizer->contains("added_tokens")) {
      for (const json& value : (*tokenizer)["added_tokens"]) {
        auto token = ParseAddedToken(value, false);
        if (!token || !value.contains("id") || !value["id"].is_number_integer()) {
          return Bad(dir + "/tokenizer.json", "added_tokens has an entry that is no token");
        }
        collector.Place(value["id"].get<int64_t>(), *std::move(token));
      }
    }
  }
  std::move(collector).Finish(out);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenizerFiles> ReadTokenizerFiles(const std::string& dir) {
  TokenizerFiles files;
  absl::StatusOr<std::optional<json>> tokenizer = ReadJson(dir + "/tokenizer.json");
  if (!tokenizer.ok()) return tokenizer.status();
  if (*tokenizer) {
    if (auto status = ReadTokenizerJson(dir + "/tokenizer.json", **tokenizer, files);
        !status.ok()) {
      return status;
    }
  } else {
    absl::StatusOr<std::optional<json>> vocab = ReadJson(dir + "/vocab.json");
    if (!vocab.ok()) return vocab.status();
    absl::StatusOr<std::optional<std::string>> merges = ReadFile(dir + "/merges.txt");
    if (!merges.ok()) return merges.status();
    if (!vocab->has_value() || !merges->has_value()) {
      return absl::NotFoundError(absl::StrCat(
          dir, ": no tokenizer: expected tokenizer.json, or vocab.json and merges.txt"));
    }
    if (auto status = ReadVocabulary(dir + "/vocab.json", **vocab, files.vocabulary);
        !status.ok()) {
      return status;
    }
    if (auto status = ReadMergesText(dir + "/merges.txt", **merges, files.merges); !status.ok()) {
      return status;
    }
  }
  if (auto status = CollectTokens(dir, *tokenizer, files); !status.ok()) return status;
  return files;
}

}  // namespace imagesearch::encoder
