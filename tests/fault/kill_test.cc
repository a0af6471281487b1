// SIGKILL under eight writers with deletes: no acknowledged write lost, none phantom or wrong.
// IMAGESEARCH_KILL_CYCLES=1000 fault_kill_test runs the long form.
//
// The child is this program again: it writes through the embedded database and journals each write
// before and after on a pipe, which outlives it.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "index/embedded_database.h"
#include "tests/index/temp_dir.h"
#include "tests/index/write_history.h"

namespace imagesearch::index {
namespace {

constexpr int kDimension = 16;
constexpr int kWriters = 8;
constexpr int kJournal = 3;  // the child's end of the pipe

std::string program;

EmbeddedOptions Options(const std::string& data_dir) {
  EmbeddedOptions options;
  options.data_dir = data_dir;
  options.merge_tail_rows = 50;
  options.min_indexed_rows = 100;
  options.build_threads = 1;
  options.disk_reserve_bytes = 1;
  return options;
}

void Journal(const std::string& line) {
  // At most PIPE_BUF bytes, so lines of several writers do not mix.
  if (write(kJournal, line.data(), line.size()) != static_cast<ssize_t>(line.size())) _exit(2);
}

int RunChild(const std::string& data_dir, uint32_t seed) {
  auto database = OpenEmbedded(Options(data_dir));
  if (!database.ok()) {
    std::cerr << database.status() << std::endl;
    return 3;
  }
  if (!(*database)->GetCollection("c").ok()) {
    CollectionOptions collection;
    collection.name = "c";
    collection.dimension = kDimension;
    collection.index.kind = IndexKind::kHnsw;
    if (!(*database)->CreateCollection(collection).ok()) return 4;
  }
  auto collection = *(*database)->GetCollection("c");
  Journal("R\n");
  std::vector<std::thread> writers;
  for (int writer = 0; writer < kWriters; ++writer) {
    writers.emplace_back([&, writer] {
      std::mt19937 random(seed * kWriters + writer);
      while (true) {
        const std::string id = absl::StrCat("w", writer, "-", random() % 100);
        const uint64_t sequence = random() % 4 == 0 ? 0 : 1 + random() % 1'000'000;
        Journal(absl::StrCat("B ", id, " ", sequence, "\n"));
        uint64_t version = 0;
        if (sequence == 0) {
          auto result = collection->Delete(std::vector<std::string>{id});
          if (!result.ok()) _exit(5);
          version = result->version;
        } else {
          auto result = collection->Upsert({ContentItem(id, sequence, kDimension)}, {});
          if (!result.ok() || !result->items[0].status.ok()) _exit(6);
          version = result->version;
        }
        Journal(absl::StrCat("A ", id, " ", version, "\n"));
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  return 0;
}

// Lets a child write for a while, kills it and takes its journal into `history`. False: it ended by
// itself.
bool RunAndKill(const std::string& data_dir, std::mt19937* random, WriteHistory* history) {
  int ends[2];
  if (pipe(ends) != 0) return false;
  const std::string seed = absl::StrCat((*random)());
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], kJournal);
    for (int fd = kJournal + 1; fd < 64; ++fd) close(fd);
    execl(program.c_str(), program.c_str(), "--child", data_dir.c_str(), seed.c_str(), nullptr);
    _exit(9);
  }
  close(ends[1]);
  std::thread killer;
  std::string journal;
  char buffer[1 << 16];
  ssize_t got;
  while ((got = read(ends[0], buffer, sizeof(buffer))) > 0) {
    if (journal.empty()) {
      // It has started ("R"): kill it after a random time from now.
      const int after = std::uniform_int_distribution<int>(20, 400)(*random);
      killer = std::thread([=] {
        std::this_thread::sleep_for(std::chrono::milliseconds(after));
        kill(child, SIGKILL);
      });
    }
    journal.append(buffer, got);
  }
  close(ends[0]);
  if (killer.joinable()) killer.join();
  int status = 0;
  waitpid(child, &status, 0);
  std::istringstream lines(journal);
  std::string what, id;
  uint64_t number;
  lines >> what;  // R
  while (lines >> what >> id >> number) {
    if (what == "B") history->Begin(id, number);
    if (what == "A") history->Acknowledge(id, number);
  }
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

TEST(KillTest, NothingAcknowledgedIsLostOverManyKills) {
  const char* cycles_text = std::getenv("IMAGESEARCH_KILL_CYCLES");
  const int cycles = cycles_text != nullptr ? std::atoi(cycles_text) : 50;
  std::mt19937 random(std::random_device{}());
  TempDir directory;
  const std::string data_dir = directory.path() + "/data";
  WriteHistory history(kDimension);
  for (int cycle = 0; cycle < cycles && !testing::Test::HasFailure(); ++cycle) {
    SCOPED_TRACE(absl::StrCat("cycle ", cycle));
    ASSERT_TRUE(RunAndKill(data_dir, &random, &history))
        << "the child was not killed while writing";
    auto database = OpenEmbedded(Options(data_dir));
    ASSERT_TRUE(database.ok()) << database.status();
    auto collection = (*database)->GetCollection("c");
    ASSERT_TRUE(collection.ok()) << collection.status();
    history.Check(collection->get());
    EXPECT_GE((*database)->version(), history.newest_version());
    collection->reset();
  }
  // A run without load proves nothing.
  EXPECT_GE(history.acknowledged(), static_cast<uint64_t>(cycles) * 20);
  std::cout << cycles << " kills, " << history.acknowledged() << " writes acknowledged"
            << std::endl;
}

}  // namespace
}  // namespace imagesearch::index

int main(int argc, char** argv) {
  if (argc == 4 && std::string(argv[1]) == "--child") {
    return imagesearch::index::RunChild(argv[2],
                                        static_cast<uint32_t>(std::strtoul(argv[3], nullptr, 10)));
  }
  imagesearch::index::program = "/proc/self/exe";
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
