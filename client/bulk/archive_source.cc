// Tar and zip archives, and WebDataset shards: members KEY.jpg, KEY.json and KEY.txt that follow
// each other are one picture with metadata and a caption.
#include <archive.h>
#include <archive_entry.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "client/bulk/source.h"
#include "client/bulk/struct_json.h"

namespace imagesearch::client {
namespace {

constexpr int64_t kLargestMember = int64_t{1} << 30;
constexpr size_t kBlock = 1 << 20;

using Reader = std::unique_ptr<archive, decltype(&archive_read_free)>;

// WebDataset's rule: the key is the path up to the first dot of the file name.
std::string KeyOf(const std::string& member) {
  const size_t slash = member.rfind('/');
  const size_t dot = member.find('.', slash == std::string::npos ? 0 : slash);
  return member.substr(0, dot);
}

class ArchiveSource final : public Source {
 public:
  ArchiveSource(const std::string& archive, const SourceOptions& options)
      : archive_(archive), options_(options) {}

  WalkReport Walk(const Emit& emit) override {
    WalkReport report;
    const Reader reader(archive_read_new(), archive_read_free);
    archive_read_support_filter_all(reader.get());
    archive_read_support_format_tar(reader.get());
    archive_read_support_format_zip(reader.get());
    if (archive_read_open_filename(reader.get(), archive_.c_str(), kBlock) != ARCHIVE_OK) {
      report.unreadable.push_back(ReadError(reader.get()));
      return report;
    }
    Sample sample;
    archive_entry* entry = nullptr;
    int result = ARCHIVE_OK;
    while ((result = archive_read_next_header(reader.get(), &entry)) == ARCHIVE_OK ||
           result == ARCHIVE_WARN) {
      if (archive_entry_filetype(entry) != AE_IFREG) continue;
      const char* raw_name = archive_entry_pathname(entry);
      const std::string name = raw_name == nullptr ? "?" : raw_name;
      if (KeyOf(name) != sample.key) {
        if (!Flush(emit, &sample, &report)) return report;
        sample.key = KeyOf(name);
      }
      std::string bytes;
      absl::Status error = ReadMember(reader.get(), entry, &bytes);
      Add(name, std::move(bytes), error, &sample);
    }
    if (result != ARCHIVE_EOF) report.unreadable.push_back(ReadError(reader.get()));
    Flush(emit, &sample, &report);
    return report;
  }

  std::vector<std::string> roots() const override { return {archive_}; }

 private:
  // The members of one key.
  struct Sample {
    std::string key;
    std::vector<SourceItem> pictures;
    std::optional<nlohmann::ordered_json> metadata;
    std::string caption;
    uint64_t companions = 0;  // .json, .txt, .cls
    uint64_t others = 0;
  };

  absl::Status ReadError(archive* reader) const {
    const char* what = archive_error_string(reader);
    return Error(absl::StatusCode::kInvalidArgument, "LOCAL_FILE",
                 absl::StrCat(archive_, ": ", what == nullptr ? "can't be read" : what));
  }

  absl::Status ReadMember(archive* reader, archive_entry* entry, std::string* bytes) const {
    const auto too_large = [&] {
      return Error(
          absl::StatusCode::kInvalidArgument, "LOCAL_FILE",
          absl::StrCat(archive_, "/", archive_entry_pathname(entry), ": is larger than 1 GiB"));
    };
    if (archive_entry_size_is_set(entry) && archive_entry_size(entry) > kLargestMember) {
      return too_large();
    }
    char buffer[1 << 16];
    la_ssize_t count = 0;
    while ((count = archive_read_data(reader, buffer, sizeof buffer)) > 0) {
      bytes->append(buffer, static_cast<size_t>(count));
      if (bytes->size() > static_cast<size_t>(kLargestMember)) return too_large();
    }
    return count < 0 ? ReadError(reader) : absl::OkStatus();
  }

  void Add(const std::string& name, std::string bytes, const absl::Status& error,
           Sample* sample) const {
    const std::string extension =
        absl::AsciiStrToLower(std::filesystem::path(name).extension().string());
    if (extension == ".json" && error.ok()) {
      auto json = nlohmann::ordered_json::parse(bytes, nullptr, false);
      if (json.is_object()) sample->metadata = std::move(json);
      ++sample->companions;
    } else if (extension == ".txt" && error.ok()) {
      sample->caption = std::string(absl::StripAsciiWhitespace(bytes));
      ++sample->companions;
    } else if (Included(options_, name) && IsPicture(name, bytes)) {
      SourceItem item;
      item.path = absl::StrCat(archive_, "/", name);
      item.bytes = std::move(bytes);
      item.error = error;
      sample->pictures.push_back(std::move(item));
    } else {
      ++sample->others;
    }
  }

  static bool Flush(const Emit& emit, Sample* sample, WalkReport* report) {
    report->other_files += sample->others;
    if (sample->pictures.empty()) report->other_files += sample->companions;
    for (SourceItem& item : sample->pictures) {
      if (sample->metadata) FromJson(*sample->metadata, &item.metadata);
      if (!sample->caption.empty()) {
        (*item.metadata.mutable_fields())["caption"].set_string_value(sample->caption);
      }
      if (!emit(std::move(item))) return false;
    }
    *sample = Sample();
    return true;
  }

  const std::string archive_;
  const SourceOptions options_;
};

}  // namespace

std::unique_ptr<Source> MakeArchiveSource(const std::string& archive,
                                          const SourceOptions& options) {
  return std::make_unique<ArchiveSource>(archive, options);
}

}  // namespace imagesearch::client
