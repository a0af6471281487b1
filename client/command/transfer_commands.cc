// `imagesearch export` and `import`: vectors and metadata out of a collection and into one.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "base/error.h"
#include "base/mutex.h"
#include "client/bulk/npy.h"
#include "client/bulk/table_file.h"
#include "client/command/context.h"
#include "client/command/output.h"
#include "client/uploader.h"

namespace imagesearch::client {
namespace {

namespace fs = std::filesystem;

constexpr int kPage = 200;
constexpr int kFailuresShown = 10;

struct TransferOptions {
  std::string file;
  std::string npy;
  std::string filter;
};

int RunExport(const Context& context, const TransferOptions& options) {
  auto client = context.Connect();
  if (!client.ok()) return Fail(context, client.status());
  std::ofstream out(options.file, std::ios::binary | std::ios::trunc);
  if (!out) return Fail(context, LocalFileError(options.file, "can't be written"));
  std::unique_ptr<NpyWriter> npy;
  uint64_t count = 0;
  v1::ListRequest request;
  request.set_collection(context.collection);
  request.set_filter(options.filter);
  request.set_page_size(kPage);
  do {
    auto page = (*client)->List(request);
    if (!page.ok()) return Fail(context, page.status());
    for (const v1::StoredImage& image : page->images()) {
      Json line = ToJson(image);
      if (!options.npy.empty()) {
        line.erase("vector");
        const std::vector<float> row(image.vector().values().begin(),
                                     image.vector().values().end());
        if (npy == nullptr) {
          auto writer = NpyWriter::Open(options.npy, static_cast<int>(row.size()));
          if (!writer.ok()) return Fail(context, writer.status());
          npy = *std::move(writer);
        }
        if (absl::Status status = npy->Write(row); !status.ok()) return Fail(context, status);
      }
      out << Dump(line) << "\n";
      ++count;
    }
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  if (npy != nullptr) {
    if (absl::Status status = npy->Close(); !status.ok()) return Fail(context, status);
  }
  out.close();
  if (!out) return Fail(context, LocalFileError(options.file, "can't be written"));
  if (context.json) {
    PrintJson({{"exported", count}});
  } else {
    std::cout << HumanCount(count) << " pictures exported to " << options.file
              << (options.npy.empty() ? "" : " and " + options.npy) << "\n";
  }
  return kExitOk;
}

// A table, and the array of its vectors where they are not in it.
struct Part {
  std::string table;
  std::string npy;
};

// What clip-retrieval wrote: img_emb/img_emb_N.npy, each with metadata/metadata_N.
absl::StatusOr<std::vector<Part>> PartsOf(const TransferOptions& options) {
  std::error_code error;
  if (!fs::is_directory(options.file, error)) {
    return std::vector<Part>{{options.file, options.npy}};
  }
  const fs::path folder = options.file;
  std::map<uint64_t, Part> parts;  // by N
  for (const auto& entry : fs::directory_iterator(folder / "img_emb", error)) {
    const std::string name = entry.path().stem().string();
    uint64_t number = 0;
    if (entry.path().extension() != ".npy" ||
        !absl::SimpleAtoi(absl::StripPrefix(name, "img_emb_"), &number)) {
      continue;
    }
    const std::string table = folder / "metadata" / absl::StrCat("metadata_", number);
    const std::string number_text = name.substr(name.rfind('_') + 1);  // it may have zeros before
    Part part{"", entry.path()};
    for (const std::string& stem :
         {table, std::string(folder / "metadata/metadata_") + number_text}) {
      for (const char* kind : {".jsonl", ".csv"}) {
        if (part.table.empty() && fs::exists(stem + kind, error)) part.table = stem + kind;
      }
      if (part.table.empty() && fs::exists(stem + ".parquet", error)) {
        return LocalFileError(
            stem + ".parquet",
            absl::StrCat("is Parquet, which is not read here; make JSON Lines of it: python3 -c "
                         "\"import pandas; pandas.read_parquet('",
                         stem, ".parquet').to_json('", stem,
                         ".jsonl', orient='records', lines=True)\""));
      }
    }
    if (part.table.empty()) {
      return LocalFileError(part.npy, absl::StrCat("has no ", table, ".jsonl or .csv beside it"));
    }
    parts[number] = std::move(part);
  }
  if (parts.empty()) {
    return LocalFileError(options.file, "is a folder without img_emb/img_emb_N.npy");
  }
  std::vector<Part> all;
  for (auto& [number, part] : parts) all.push_back(std::move(part));
  return all;
}

// The vector of a line: of the .npy row, else of the line itself.
absl::Status TakeVector(const Json& line, NpyReader* npy, v1::Vector* out) {
  if (npy != nullptr) {
    auto values = npy->Read();
    if (!values.ok()) return values.status();
    out->mutable_values()->Assign(values->begin(), values->end());
    return absl::OkStatus();
  }
  const auto vector = line.find("vector");
  if (vector == line.end() || !vector->is_array()) return absl::NotFoundError("has no vector");
  for (const Json& value : *vector) {
    if (!value.is_number()) return absl::NotFoundError("has a vector that is not all numbers");
    out->add_values(value.get<float>());
  }
  return absl::OkStatus();
}

// One line of an export, or of another tool's table, as an image without its vector.
absl::StatusOr<v1::Image> ImageOf(const std::string& table, const TableRow& row) {
  if (!row.error.ok()) return row.error;
  const auto bad = [&](absl::string_view what) {
    return InvalidArgument("BAD_TABLE_ROW", absl::StrCat(table, ":", row.line, ": ", what));
  };
  v1::Image image;
  Json rest = row.object;
  for (const char* name : {"id", "image_path", "path"}) {
    const auto id = rest.find(name);
    if (id == rest.end() || !id->is_string()) continue;
    image.set_id(id->get<std::string>());
    break;
  }
  if (image.id().empty()) return bad("has no id");
  if (const auto time = rest.find("expire_time"); time != rest.end() && time->is_string()) {
    absl::Time expires;
    std::string error;
    if (!absl::ParseTime(absl::RFC3339_full, time->get<std::string>(), &expires, &error)) {
      return bad("has an expire_time that is not RFC 3339");
    }
    image.mutable_expire_time()->set_seconds(absl::ToUnixSeconds(expires));
  }
  if (const auto uri = rest.find("source_uri"); uri != rest.end() && uri->is_string()) {
    image.set_source_uri(uri->get<std::string>());
  }
  // An export keeps metadata apart; a table of another tool has them as columns.
  const auto metadata = rest.find("metadata");
  if (metadata != rest.end() && metadata->is_object()) {
    if (!FromJson(*metadata, image.mutable_metadata())) {
      return bad("has metadata that can't be stored");
    }
  } else {
    for (const char* own : {"id", "vector", "expire_time", "content_hash", "version", "source_uri"})
      rest.erase(own);
    if (!FromJson(rest, image.mutable_metadata())) return bad("has columns that can't be stored");
  }
  return image;
}

// Sends parts, and counts what became of their lines.
class Importer {
 public:
  Importer(Client* client, const std::string& collection)
      : uploader_(client, OptionsFor(collection), [this](const Uploader::Outcome& outcome) {
          if (!outcome.status.ok()) return Failed(outcome.id, outcome.status);
          MutexLock lock(&mutex_);
          ++sent_;
        }) {}

  // The error of a part that can't be read, or whose files don't belong together.
  absl::Status Send(const Part& part) {
    std::unique_ptr<NpyReader> npy;
    if (!part.npy.empty()) {
      auto reader = NpyReader::Open(part.npy);
      if (!reader.ok()) return reader.status();
      npy = *std::move(reader);
    }
    uint64_t lines = 0;
    absl::Status broken;
    const absl::Status read = ReadTable(part.table, [&](TableRow row) {
      ++seen_;
      ++lines;
      v1::Vector vector;
      const absl::Status taken = TakeVector(row.object, npy.get(), &vector);
      if (!taken.ok() && npy != nullptr) {
        broken = absl::IsOutOfRange(taken) ? Unequal(part, *npy, "more lines") : taken;
        return false;
      }
      auto image = ImageOf(part.table, row);
      if (image.ok() && !taken.ok()) {
        image = InvalidArgument("BAD_TABLE_ROW",
                                absl::StrCat(part.table, ":", row.line, ": ", taken.message()));
      }
      if (!image.ok()) {
        Failed(absl::StrCat("line ", row.line), image.status());
        return true;
      }
      *image->mutable_vector() = std::move(vector);
      return uploader_.Add(seen_, *std::move(image)).ok();
    });
    if (!read.ok()) return read;
    if (!broken.ok()) return broken;
    if (npy != nullptr && npy->rows() != lines) return Unequal(part, *npy, absl::StrCat(lines));
    return absl::OkStatus();
  }
  absl::Status Finish() { return uploader_.Finish(); }

  int Print(const Context& context) {
    MutexLock lock(&mutex_);
    if (context.json) {
      PrintJson({{"seen", seen_}, {"sent", sent_}, {"failed", failed_}});
    } else {
      std::cout << HumanCount(seen_) << " lines seen: " << HumanCount(sent_) << " sent, "
                << HumanCount(failed_) << " failed\n";
    }
    return failed_ > 0 ? kExitSomeFailed : kExitOk;
  }

 private:
  static UploaderOptions OptionsFor(const std::string& collection) {
    UploaderOptions options;
    options.collection = collection;
    return options;
  }
  static absl::Status Unequal(const Part& part, const NpyReader& npy, const std::string& lines) {
    return LocalFileError(part.npy,
                          absl::StrCat("has ", npy.rows(), " rows, ", part.table, " has ", lines));
  }
  void Failed(absl::string_view what, const absl::Status& status) {
    MutexLock lock(&mutex_);
    if (++failed_ > kFailuresShown) return;
    std::cerr << "failed: " << what << ": " << status.message() << " [" << ReasonOf(status)
              << "]\n";
  }

  uint64_t seen_ = 0;
  Mutex mutex_;
  uint64_t sent_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t failed_ ABSL_GUARDED_BY(mutex_) = 0;
  Uploader uploader_;
};

int RunImport(const Context& context, const TransferOptions& options) {
  auto parts = PartsOf(options);
  if (!parts.ok()) return Fail(context, parts.status());
  Context bulk = context;
  bulk.client.bulk = true;
  auto client = bulk.Connect();
  if (!client.ok()) return Fail(context, client.status());
  Importer importer(client->get(), context.collection);
  absl::Status status;
  for (const Part& part : *parts) {
    if (status.ok()) status = importer.Send(part);
  }
  const absl::Status finished = importer.Finish();
  if (status.ok()) status = finished;
  if (!status.ok()) return Fail(context, status);
  return importer.Print(context);
}

}  // namespace

void AddTransferCommands(CLI::App* app, Context* context) {
  {
    auto options = std::make_shared<TransferOptions>();
    CLI::App* command = app->add_subcommand(
        "export", "Write ids, metadata and vectors of a collection as JSON Lines");
    command->fallthrough();
    command->add_option("FILE", options->file, "JSON Lines to write")->required();
    command->add_option("--npy", options->npy, "Write the vectors as a NumPy array instead")
        ->type_name("FILE");
    command->add_option("--filter", options->filter, "Only what matches this filter");
    OnRun(command, context, [context, options] { return RunExport(*context, *options); });
  }
  {
    auto options = std::make_shared<TransferOptions>();
    CLI::App* command =
        app->add_subcommand("import", "Store ready vectors: what export wrote, or .npy and JSONL");
    command->fallthrough();
    command
        ->add_option(
            "FILE", options->file,
            "JSON Lines or CSV with id, metadata (or columns) and vector; or a folder that "
            "clip-retrieval wrote, its metadata as .jsonl or .csv")
        ->required();
    command
        ->add_option("--npy", options->npy,
                     "NumPy array of the vectors, float32 or float16, one row for each line")
        ->type_name("FILE");
    OnRun(command, context, [context, options] { return RunImport(*context, *options); });
  }
}

}  // namespace imagesearch::client
