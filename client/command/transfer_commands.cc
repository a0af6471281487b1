// `imagesearch export` and `import`: vectors and metadata out of a collection and into one.
#include <fstream>
#include <iostream>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/error.h"
#include "client/bulk/npy.h"
#include "client/bulk/table_file.h"
#include "client/command/context.h"
#include "client/command/output.h"
#include "client/uploader.h"

namespace imagesearch::client {
namespace {

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

// One line of an export as an image to store; `vector` comes from the line or from the .npy row.
absl::StatusOr<v1::Image> ImageOf(const TransferOptions& options, const TableRow& row,
                                  NpyReader* npy) {
  if (!row.error.ok()) return row.error;
  const auto bad = [&](absl::string_view what) {
    return InvalidArgument("BAD_TABLE_ROW", absl::StrCat(options.file, ":", row.line, ": ", what));
  };
  v1::Image image;
  Json rest = row.object;
  const auto id = rest.find("id");
  if (id == rest.end() || !id->is_string()) return bad("has no id");
  image.set_id(id->get<std::string>());
  if (npy != nullptr) {
    auto values = npy->Read();
    if (!values.ok()) return values.status();
    image.mutable_vector()->mutable_values()->Assign(values->begin(), values->end());
  } else {
    const auto vector = rest.find("vector");
    if (vector == rest.end() || !vector->is_array()) return bad("has no vector");
    for (const Json& value : *vector) {
      if (!value.is_number()) return bad("has a vector that is not all numbers");
      image.mutable_vector()->add_values(value.get<float>());
    }
  }
  if (const auto time = rest.find("expire_time"); time != rest.end() && time->is_string()) {
    absl::Time expires;
    std::string error;
    if (!absl::ParseTime(absl::RFC3339_full, time->get<std::string>(), &expires, &error)) {
      return bad("has an expire_time that is not RFC 3339");
    }
    image.mutable_expire_time()->set_seconds(absl::ToUnixSeconds(expires));
  }
  // An export keeps metadata apart; a table of another tool has them as columns.
  if (const auto metadata = rest.find("metadata"); metadata != rest.end()) {
    if (!FromJson(*metadata, image.mutable_metadata()))
      return bad("has metadata that are no object");
  } else {
    for (const char* own : {"id", "vector", "expire_time", "content_hash", "version"})
      rest.erase(own);
    FromJson(rest, image.mutable_metadata());
  }
  return image;
}

int RunImport(const Context& context, const TransferOptions& options) {
  Context bulk = context;
  bulk.client.bulk = true;
  auto client = bulk.Connect();
  if (!client.ok()) return Fail(context, client.status());
  std::unique_ptr<NpyReader> npy;
  if (!options.npy.empty()) {
    auto reader = NpyReader::Open(options.npy);
    if (!reader.ok()) return Fail(context, reader.status());
    npy = *std::move(reader);
  }
  uint64_t seen = 0, sent = 0, failed = 0;
  Mutex mutex;
  const auto fail = [&](absl::string_view what, const absl::Status& status) {
    MutexLock lock(&mutex);
    if (++failed > kFailuresShown) return;
    std::cerr << "failed: " << what << ": " << status.message() << " [" << ReasonOf(status)
              << "]\n";
  };
  UploaderOptions uploader_options;
  uploader_options.collection = context.collection;
  Uploader uploader(client->get(), uploader_options, [&](const Uploader::Outcome& outcome) {
    if (!outcome.status.ok()) return fail(outcome.id, outcome.status);
    MutexLock lock(&mutex);
    ++sent;
  });
  absl::Status broken;  // the two files no longer match
  const absl::Status read = ReadTable(options.file, [&](TableRow row) {
    ++seen;
    auto image = ImageOf(options, row, npy.get());
    if (!image.ok() && npy != nullptr) {
      broken = image.status();
      return false;
    }
    if (!image.ok()) {
      fail(absl::StrCat("line ", row.line), image.status());
      return true;
    }
    return uploader.Add(seen, *std::move(image)).ok();
  });
  const absl::Status finished = uploader.Finish();
  for (const absl::Status& status : {read, broken, finished}) {
    if (!status.ok()) return Fail(context, status);
  }
  if (npy != nullptr && npy->rows() != seen) {
    return Fail(context, LocalFileError(options.npy, absl::StrCat("has ", npy->rows(), " rows, ",
                                                                  options.file, " has ", seen)));
  }
  if (context.json) {
    PrintJson({{"seen", seen}, {"sent", sent}, {"failed", failed}});
  } else {
    std::cout << HumanCount(seen) << " lines seen: " << HumanCount(sent) << " sent, "
              << HumanCount(failed) << " failed\n";
  }
  return failed > 0 ? kExitSomeFailed : kExitOk;
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
        ->add_option("FILE", options->file,
                     "JSON Lines or CSV with id, metadata (or columns) and vector")
        ->required();
    command
        ->add_option("--npy", options->npy,
                     "NumPy array of the vectors, float32 or float16, one row for each line")
        ->type_name("FILE");
    OnRun(command, context, [context, options] { return RunImport(*context, *options); });
  }
}

}  // namespace imagesearch::client
