// System calls that fail: the N-th write, sync, rename or open of each thread, for many N, by
// strace's fault injection into a real process. No acknowledged write is lost, none is wrong, and
// the folder opens again. IMAGESEARCH_IO_ERRORS=2000 fault_io_error_test runs N = 1 to 2000 of each
// call.
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "index/embedded_database.h"
#include "tests/index/temp_dir.h"
#include "tests/index/write_history.h"

namespace imagesearch::index {
namespace {

constexpr int kDimension = 16, kWriters = 4, kIds = 200;
constexpr int kJournal = 3;  // the child's end of the pipe

EmbeddedOptions Options(const std::string& data_dir) {
  EmbeddedOptions options;
  options.data_dir = data_dir;
  options.merge_tail_rows = 50;
  options.min_indexed_rows = 100;
  options.build_threads = 1;
  options.snapshot_interval = absl::Seconds(1);
  options.disk_reserve_bytes = 1;
  return options;
}

// send(2), so that the journal is not among the writes that fail.
void Journal(const std::string& line) {
  if (send(kJournal, line.data(), line.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(line.size())) {
    _exit(2);
  }
}

// Writes each id once or, while the store refuses, gives the id up: nobody knows what became of it.
// 0: all went its way; 3: the folder could not be opened.
int RunChild(const std::string& data_dir) {
  auto database = OpenEmbedded(Options(data_dir));
  if (!database.ok()) return 3;
  if (!(*database)->GetCollection("c").ok()) {
    CollectionOptions collection;
    collection.name = "c";
    collection.dimension = kDimension;
    collection.index.kind = IndexKind::kHnsw;
    if (!(*database)->CreateCollection(collection).ok()) return 0;
  }
  auto collection = *(*database)->GetCollection("c");
  const uint64_t sequence = (*database)->version() + 1;
  std::vector<std::thread> writers;
  for (int writer = 0; writer < kWriters; ++writer) {
    writers.emplace_back([&, writer] {
      for (int i = 0; i < kIds; ++i) {
        const std::string id = absl::StrCat("w", writer, "-", i);
        Journal(absl::StrCat("B ", id, " ", sequence, "\n"));
        auto result = collection->Upsert({ContentItem(id, sequence, kDimension)}, {});
        if (result.ok() && result->items[0].status.ok()) {
          Journal(absl::StrCat("A ", id, " ", result->version, "\n"));
        } else if (result.ok() || (!absl::IsUnavailable(result.status()) &&
                                   !absl::IsResourceExhausted(result.status()))) {
          Journal(absl::StrCat("X ", id, " 0\n"));  // a failing disk has another name
        } else {
          absl::SleepFor(absl::Milliseconds(5));
        }
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  collection.reset();
  (*database)->Close(absl::Now() + absl::Seconds(5)).IgnoreError();
  return 0;
}

struct TracedRun {
  int status = 0;       // as of waitpid
  bool fired = false;   // a call was made to fail
  int badly_named = 0;  // failures that were not told as such
};

// One child with the N-th `call` of each of its threads failing with `error`.
TracedRun RunUnderStrace(const std::string& data_dir, const std::string& call,
                         const std::string& error, int n, WriteHistory* history) {
  TracedRun run;
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) std::abort();
  const std::string program = std::filesystem::read_symlink("/proc/self/exe");
  const std::string trace = data_dir + ".trace";
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], kJournal);
    for (int fd = kJournal + 1; fd < 64; ++fd) close(fd);
    const std::string inject = absl::StrCat("inject=", call, ":error=", error, ":when=", n);
    execlp("strace", "strace", "-f", "-qq", "-o", trace.c_str(), "-e",
           absl::StrCat("trace=", call).c_str(), "-e", inject.c_str(), program.c_str(), "--child",
           data_dir.c_str(), nullptr);
    _exit(9);
  }
  close(ends[1]);
  std::string journal;
  char buffer[1 << 16];
  ssize_t got;
  while ((got = read(ends[0], buffer, sizeof(buffer))) > 0) journal.append(buffer, got);
  close(ends[0]);
  waitpid(child, &run.status, 0);
  std::istringstream lines(journal);
  std::string what, id;
  uint64_t number;
  while (lines >> what >> id >> number) {
    if (what == "B") history->Begin(id, number);
    if (what == "A") history->Acknowledge(id, number);
    if (what == "X") ++run.badly_named;
  }
  std::ifstream file(trace);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  run.fired = absl::StrContains(text, "(INJECTED)");
  return run;
}

TEST(IoErrorTest, TheNthFailingSystemCallLosesNothingAcknowledged) {
  if (std::system("strace -f -qq -o /dev/null true") != 0) {
    GTEST_SKIP() << "strace is not installed, or may not trace here";
  }
  const char* text = std::getenv("IMAGESEARCH_IO_ERRORS");
  const bool all = text != nullptr;
  const int last = all ? std::atoi(text) : 0;
  std::mt19937 random(std::random_device{}());
  TempDir directory;
  const std::string data_dir = directory.path() + "/data";
  WriteHistory history(kDimension);
  int fired = 0, runs = 0, refused_starts = 0;
  for (const auto& [call, error] :
       {std::pair{"write", "ENOSPC"}, std::pair{"write", "EIO"}, std::pair{"fdatasync", "EIO"},
        std::pair{"fsync", "EIO"}, std::pair{"rename", "EIO"}, std::pair{"openat", "EMFILE"}}) {
    std::vector<int> numbers;
    for (int n = 1; n <= last; ++n) numbers.push_back(n);
    if (!all) numbers = {1 + static_cast<int>(random() % 5), 6 + static_cast<int>(random() % 100)};
    for (const int n : numbers) {
      SCOPED_TRACE(absl::StrCat(call, " fails with ", error, " at call ", n, " of each thread"));
      const TracedRun run = RunUnderStrace(data_dir, call, error, n, &history);
      // RocksDB asserts when a file that it is creating can't be written: that ends the process, as
      // a kill would, and must cost nothing either.
      const bool gave_up = WIFSIGNALED(run.status) && WTERMSIG(run.status) == SIGABRT;
      ASSERT_FALSE(WIFSIGNALED(run.status) && !gave_up)
          << "ended by signal " << WTERMSIG(run.status);
      EXPECT_EQ(run.badly_named, 0) << "a failing disk was told as something else";
      fired += run.fired;
      refused_starts += gave_up || (WIFEXITED(run.status) && WEXITSTATUS(run.status) != 0);
      ++runs;
      // The injection may have come before there was anything.
      auto database = OpenEmbedded(Options(data_dir));
      ASSERT_TRUE(database.ok()) << database.status();
      auto collection = (*database)->GetCollection("c");
      if (!collection.ok()) {
        EXPECT_EQ(history.acknowledged(), 0u);
        continue;
      }
      history.Check(collection->get());
      EXPECT_GE((*database)->version(), history.newest_version());
      collection->reset();
      if (HasFailure()) return;
    }
  }
  std::cout << runs << " runs, " << fired << " with a failed call, " << refused_starts
            << " that could not start, " << history.acknowledged() << " writes acknowledged"
            << std::endl;
  EXPECT_GE(fired, runs / 2) << "void: the fault hardly ever fired";
  // A fault among the first calls stops the start, as it should; one later leaves room for writes.
  EXPECT_GE(history.acknowledged(), static_cast<uint64_t>(runs - refused_starts) * kIds)
      << "void: too few writes";
}

}  // namespace
}  // namespace imagesearch::index

int main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "--child") return imagesearch::index::RunChild(argv[2]);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
