// A collection that is large for its machine: loads ROWS CLIP-like vectors with metadata into DIR
// once, then starts on them in a process of its own, as after a reboot of the server, and prints
// time to ready, memory, and latency and recall of searches.
// Usage: million_bench DIR [ROWS] [DIMENSION] [drop]   (drop: as root, empties the page cache
// first) An existing DIR is measured again without loading. Loading takes minutes.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "index/embedded_database.h"
#include "tests/index/ann_data.h"

namespace imagesearch::index {
namespace {

using Clock = std::chrono::steady_clock;
constexpr uint32_t kQueries = 1000;
constexpr size_t kBatch = 500;

double Since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "million_bench: %s\n", what.c_str());
  std::_Exit(1);
}

// MiB of a line of /proc/self/status.
double StatusMiB(const std::string& name) {
  std::ifstream file("/proc/self/status");
  std::string line;
  while (std::getline(file, line)) {
    if (line.rfind(name + ":", 0) == 0) return std::atof(line.c_str() + name.size() + 1) / 1024;
  }
  return 0;
}

void WriteFloats(const std::string& path, const std::vector<float>& values) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(values.data()),
             static_cast<std::streamsize>(values.size() * sizeof(float)));
  if (!file.flush()) Die("can't write " + path);
}

std::vector<float> ReadFloats(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  std::vector<float> values(static_cast<size_t>(file.tellg()) / sizeof(float));
  file.seekg(0);
  file.read(reinterpret_cast<char*>(values.data()),
            static_cast<std::streamsize>(values.size() * sizeof(float)));
  if (!file) Die("can't read " + path);
  return values;
}

EmbeddedOptions OptionsOf(const std::string& folder) {
  EmbeddedOptions options;
  options.data_dir = folder + "/data";
  options.merge_tail_rows = 1024;  // the server's default
  return options;
}

void Load(const std::string& folder, uint32_t rows, int dimension) {
  testing::ClipLikeOptions clip;
  clip.images = rows;
  clip.queries = kQueries;
  clip.dimension = dimension;
  clip.clusters = 2000;
  testing::ClipLikeData data = testing::MakeClipLike(clip);
  EmbeddedOptions options = OptionsOf(folder);
  options.text_sample = [&](const CollectionOptions&) { return data.text_sample; };
  auto database = OpenEmbedded(options);
  if (!database.ok()) Die(std::string(database.status().message()));
  CollectionOptions wanted;
  wanted.name = "million";
  wanted.dimension = dimension;
  if (!(*database)->CreateCollection(wanted).ok()) Die("no collection");
  auto collection = *(*database)->GetCollection("million");
  const auto start = Clock::now();
  for (uint32_t i = 0; i < rows;) {
    std::vector<UpsertItem> items;
    for (; i < rows && items.size() < kBatch; ++i) {
      UpsertItem& item = items.emplace_back();
      item.id = absl::StrCat("photos/", i % 1000, "/", i, ".jpg");
      const float* vector = data.images.data() + size_t{i} * dimension;
      item.vector.emplace(vector, vector + dimension);
      auto& fields = *item.metadata.emplace().mutable_fields();
      fields["album"].set_string_value(absl::StrCat("album ", i % 500));
      fields["year"].set_number_value(2000 + i % 25);
      fields["rating"].set_number_value(i % 6);
    }
    if (!collection->Upsert(std::move(items), {}).ok()) Die("upsert failed");
  }
  std::printf("loaded %u x %d in %.1f s (%.0f a second)\n", rows, dimension, Since(start),
              rows / Since(start));
  const auto optimize = Clock::now();
  if (!collection->Optimize().ok()) Die("Optimize failed");
  std::printf("Optimize: %.1f s\n", Since(optimize));
  std::fflush(stdout);
  WriteFloats(folder + "/text.f32", data.text_queries);
  WriteFloats(folder + "/image.f32", data.image_queries);
  collection.reset();
  if (!(*database)->Close(absl::InfiniteFuture()).ok()) Die("Close failed");
}

void Measure(Collection* collection, const std::vector<float>& vectors, QueryKind kind,
             const std::string& filter, const char* name) {
  const auto d = static_cast<size_t>(collection->options().dimension);
  const auto query_of = [&](size_t i) {
    Query query;
    query.vector.assign(vectors.begin() + static_cast<ptrdiff_t>(i * d),
                        vectors.begin() + static_cast<ptrdiff_t>((i + 1) * d));
    query.kind = kind;
    query.filter = filter;
    return query;
  };
  // Times first: an exact search empties the processor's caches for the next.
  std::vector<double> ms;
  for (size_t i = 0; i < vectors.size() / d; ++i) {
    const Query query = query_of(i);
    const auto start = Clock::now();
    if (!collection->Search(query).ok()) Die("search failed");
    ms.push_back(1e3 * Since(start));
  }
  double found = 0, wanted = 0;
  for (size_t i = 0; i < vectors.size() / d; i += 10) {
    Query query = query_of(i);
    const auto result = collection->Search(query);
    query.exact = true;
    const auto exact = collection->Search(query);
    if (!result.ok() || !exact.ok()) Die("search failed");
    std::set<std::string> ids;
    for (const Hit& hit : result->hits) ids.insert(hit.id);
    for (const Hit& hit : exact->hits) found += static_cast<double>(ids.count(hit.id));
    wanted += static_cast<double>(exact->hits.size());
  }
  std::sort(ms.begin(), ms.end());
  std::printf("%-20s p50 %.3f ms, p99 %.3f ms, recall@10 %.4f\n", name, ms[ms.size() / 2],
              ms[ms.size() * 99 / 100], wanted == 0 ? 1 : found / wanted);
}

void Serve(const std::string& folder) {
  const auto start = Clock::now();
  auto database = OpenEmbedded(OptionsOf(folder));
  if (!database.ok()) Die(std::string(database.status().message()));
  auto collection = *(*database)->GetCollection("million");
  Query query;
  const std::vector<float> images = ReadFloats(folder + "/image.f32");
  query.vector.assign(images.begin(), images.begin() + collection->options().dimension);
  if (!collection->Search(query).ok()) Die("search failed");
  std::printf("start to first answer: %.2f s\n", Since(start));
  const CollectionInfo info = collection->Info();
  std::printf("images %lu, segments %u, tail %lu, index memory %lu B an image\n",
              static_cast<unsigned long>(info.image_count), info.segments,
              static_cast<unsigned long>(info.tail_rows),
              static_cast<unsigned long>(info.memory_bytes / info.image_count));
  const auto memory = [](const char* when) {
    std::printf("memory %s: resident %.0f MiB (own %.0f, mapped files %.0f), peak %.0f MiB\n", when,
                StatusMiB("VmRSS"), StatusMiB("RssAnon"), StatusMiB("RssFile"), StatusMiB("VmHWM"));
  };
  memory("after the start");
  const std::vector<float> texts = ReadFloats(folder + "/text.f32");
  Measure(collection.get(), texts, QueryKind::kText, "", "text, just started");
  Measure(collection.get(), texts, QueryKind::kText, "", "text");
  Measure(collection.get(), images, QueryKind::kImage, "", "image");
  Measure(collection.get(), texts, QueryKind::kText, "year >= 2020 AND rating = 5",
          "text, 3 % allowed");
  memory("after the searches");
  collection.reset();
  if (!(*database)->Close(absl::InfiniteFuture()).ok()) Die("Close failed");
}

// In a process of its own, so that each starts with nothing.
template <typename Work>
void InChild(const Work& work) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    work();
    std::fflush(stdout);
    std::_Exit(0);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0) std::exit(1);
}

}  // namespace
}  // namespace imagesearch::index

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: million_bench DIR [ROWS] [DIMENSION] [drop]\n");
    return 2;
  }
  const std::string folder = argv[1];
  const auto rows = static_cast<uint32_t>(argc > 2 ? std::atoi(argv[2]) : 1'000'000);
  const int dimension = argc > 3 ? std::atoi(argv[3]) : 512;
  if (!std::filesystem::exists(folder + "/text.f32")) {
    std::filesystem::remove_all(folder + "/data");
    std::filesystem::create_directories(folder);
    imagesearch::index::InChild([&] { imagesearch::index::Load(folder, rows, dimension); });
  }
  if (argc > 4) {
    sync();
    std::ofstream("/proc/sys/vm/drop_caches") << "3" << std::endl;
  }
  imagesearch::index::InChild([&] { imagesearch::index::Serve(folder); });
  return 0;
}
