// Flipped bits and cut files, over every file of a data folder: what is damaged is noticed or
// rebuilt, and no answer is silently wrong. IMAGESEARCH_DAMAGES=12000 fault_damage_test runs the
// long form.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "index/embedded_database.h"
#include "index/store/unit_vector.h"
#include "tests/index/temp_dir.h"
#include "tests/index/write_history.h"

namespace imagesearch::index {
namespace {

namespace fs = std::filesystem;

constexpr int kDimension = 16, kImages = 400;

EmbeddedOptions Options(const std::string& data_dir) {
  EmbeddedOptions options;
  options.data_dir = data_dir;
  options.merge_tail_rows = 100;
  options.min_indexed_rows = 100;
  options.build_threads = 1;
  options.disk_reserve_bytes = 1;
  return options;
}

std::string Id(int i) { return absl::StrCat("image ", i); }

// A data folder with an index, snapshots, tables and a log that holds the newest writes.
void Write(const std::string& data_dir) {
  {
    auto database = OpenEmbedded(Options(data_dir));
    ASSERT_TRUE(database.ok()) << database.status();
    CollectionOptions options;
    options.name = "c";
    options.dimension = kDimension;
    options.index.kind = IndexKind::kHnsw;
    ASSERT_TRUE((*database)->CreateCollection(options).ok());
    auto collection = *(*database)->GetCollection("c");
    for (int i = 0; i < kImages - 20; ++i) {
      ASSERT_TRUE(collection->Upsert({ContentItem(Id(i), 1, kDimension)}, {}).ok());
    }
    // The index and its snapshot are there before the folder is closed, however fast the writes
    // were.
    ASSERT_TRUE(collection->Optimize().ok());
    collection.reset();
    ASSERT_TRUE((*database)->Close(absl::Now() + absl::Seconds(20)).ok());
  }
  // The last writes stay in the log: the folder is copied before it is closed.
  auto database = OpenEmbedded(Options(data_dir));
  ASSERT_TRUE(database.ok()) << database.status();
  auto collection = *(*database)->GetCollection("c");
  for (int i = kImages - 20; i < kImages; ++i) {
    ASSERT_TRUE(collection->Upsert({ContentItem(Id(i), 1, kDimension)}, {}).ok());
  }
  // A file that the store removes meanwhile ends the copy: then another is made.
  std::error_code error;
  for (int tries = 0; tries < 50; ++tries) {
    fs::remove_all(data_dir + ".open");
    fs::copy(data_dir, data_dir + ".open", fs::copy_options::recursive, error);
    if (!error) return;
    absl::SleepFor(absl::Milliseconds(50));
  }
  FAIL() << error.message();
}

enum Outcome { kRight = 0, kNoticed = 1, kWrong = 2 };

// What a program finds that opens the folder: exit code of a child, so that a crash is an outcome.
int Judge(const std::string& data_dir) {
  auto database = OpenEmbedded(Options(data_dir));
  if (!database.ok()) return kNoticed;
  auto found = (*database)->GetCollection("c");
  if (!found.ok()) {
    std::cerr << "the collection is silently gone: " << found.status() << "\n";
    return kWrong;
  }
  const auto& collection = *found;
  Outcome outcome = kRight;
  for (int i = 0; i < kImages; ++i) {
    const std::vector<std::string> ids = {Id(i)};
    auto got = collection->Get(ids, true);
    if (!got.ok()) {
      if (absl::IsDataLoss(got.status()) || absl::IsUnavailable(got.status())) {
        outcome = kNoticed;
        continue;
      }
      std::cerr << Id(i) << ": " << got.status() << "\n";
      return kWrong;
    }
    std::vector<float> expected = ContentVector(Id(i), 1, kDimension);
    if (!MakeUnitVector(kDimension, &expected).ok() || !(*got)[0] ||
        (*got)[0]->vector != expected ||
        (*got)[0]->metadata.fields().at("sequence").number_value() != 1) {
      std::cerr << Id(i) << " is silently gone or another\n";
      return kWrong;
    }
  }
  for (int i = 0; i < kImages; i += 13) {
    for (const bool exact : {true, false}) {
      Query query;
      query.vector = ContentVector(Id(i), 1, kDimension);
      query.limit = 1;
      query.exact = exact;
      auto result = collection->Search(query);
      if (!result.ok()) {
        outcome = kNoticed;
        continue;
      }
      if (result->hits.size() != 1 || result->hits[0].id != Id(i) ||
          std::abs(result->hits[0].score - 1) > 1e-4) {
        std::cerr << "a search does not find " << Id(i) << (exact ? " (exact)" : "") << "\n";
        return kWrong;
      }
    }
  }
  return outcome;
}

std::string KindOf(const fs::path& file) {
  const std::string name = file.filename();
  if (absl::StartsWith(name, "LOG")) return "note";  // with a time in its name once it is old
  if (absl::StartsWith(name, "MANIFEST")) return "manifest";
  if (absl::StartsWith(name, "OPTIONS")) return "options";
  if (absl::EndsWith(name, ".sst")) return "table";
  if (absl::EndsWith(name, ".log")) return "log";
  const std::string extension = file.extension();
  return extension.empty() ? name : extension.substr(1);
}

std::string ReadAll(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(DamageTest, FlippedBitsAndCutFilesAreNoticedOrRebuilt) {
  const char* text = std::getenv("IMAGESEARCH_DAMAGES");
  const int damages = text == nullptr ? 120 : std::atoi(text);
  TempDir folder;
  const std::string data_dir = folder.path() + "/data";
  Write(data_dir);
  if (HasFatalFailure()) return;
  const std::string whole = data_dir + ".open", copy = folder.path() + "/copy";
  std::map<std::string, std::vector<fs::path>> files;
  for (const auto& entry : fs::recursive_directory_iterator(whole)) {
    const std::string kind = entry.is_regular_file() ? KindOf(entry.path()) : "";
    // What RocksDB tells of itself, and its lock, hold no data.
    if (kind.empty() || entry.file_size() == 0 || kind == "note" || kind == "LOCK") continue;
    files[kind].push_back(fs::relative(entry.path(), whole));
  }
  for (const char* kind : {"table", "log", "manifest", "snapshot", "ann", "rows", "CURRENT"}) {
    EXPECT_EQ(files.count(kind), 1u) << "void: there is no " << kind;
  }
  std::vector<std::string> kinds;
  for (const auto& [kind, paths] : files) kinds.push_back(kind);
  std::mt19937_64 random(std::random_device{}());
  std::map<std::string, std::array<int, 2>> outcomes;
  for (int i = 0; i < damages; ++i) {
    const std::string& kind = kinds[static_cast<size_t>(i) % kinds.size()];
    const fs::path& path = files[kind][random() % files[kind].size()];
    fs::remove_all(copy);
    fs::copy(whole, copy, fs::copy_options::recursive);
    std::string content = ReadAll(whole / path);
    const size_t at = random() % content.size();
    const bool cut = i % 6 == 5;
    if (cut) {
      content.resize(at);
    } else {
      content[at] = static_cast<char>(content[at] ^ (1 << random() % 8));
    }
    std::ofstream(copy / path, std::ios::binary | std::ios::trunc) << content;
    const pid_t child = fork();
    if (child == 0) {
      alarm(120);  // outlives exec
      execl("/proc/self/exe", "judge", "--judge", copy.c_str(), nullptr);
      _exit(9);
    }
    int status = 0;
    waitpid(child, &status, 0);
    const std::string what = absl::StrCat(path.string(), cut ? " cut at " : " flipped at ", at);
    ASSERT_TRUE(WIFEXITED(status)) << what << ": ended by signal " << WTERMSIG(status);
    ASSERT_LT(WEXITSTATUS(status), kWrong) << what;
    ++outcomes[kind][static_cast<size_t>(WEXITSTATUS(status))];
  }
  int noticed = 0;
  for (const auto& [kind, counts] : outcomes) {
    std::cout << kind << ": " << counts[kRight] << " right answers all the same, "
              << counts[kNoticed] << " refused\n";
    noticed += counts[kNoticed];
  }
  EXPECT_GT(noticed, 0) << "void: no damage was ever noticed";
}

}  // namespace
}  // namespace imagesearch::index

// RocksDB's threads don't survive a fork: the judge is this program again.
int main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "--judge") return imagesearch::index::Judge(argv[2]);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
