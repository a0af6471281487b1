// A disk that really fills up: reads go on, writes are refused by name, nothing acknowledged is
// lost, and writes come back without a restart once there is room. Needs root, for a tmpfs; skipped
// without. IMAGESEARCH_FILL_CYCLES=100 fault_disk_full_test runs the long form.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "gtest/gtest.h"
#include "index/embedded_database.h"
#include "tests/index/temp_dir.h"
#include "tests/index/write_history.h"

namespace imagesearch::index {
namespace {

constexpr int kDimension = 256;

// A tmpfs of 48 MiB, until destruction.
class SmallDisk {
 public:
  SmallDisk() {
    mkdir(path().c_str(), 0700);
    mounted_ = mount("tmpfs", path().c_str(), "tmpfs", 0, "size=48m") == 0;
  }
  ~SmallDisk() {
    if (mounted_) umount2(path().c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }
  std::string path() const { return folder_.path() + "/disk"; }

  // Takes everything that is left.
  void Fill() {
    const int file = open(ballast().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const std::string block(4096, 'x');
    while (write(file, block.data(), block.size()) > 0) {
    }
    close(file);
  }
  void Free() { unlink(ballast().c_str()); }

 private:
  std::string ballast() const { return path() + "/ballast"; }

  TempDir folder_;
  bool mounted_ = false;
};

EmbeddedOptions Options(const SmallDisk& disk, uint64_t reserve) {
  EmbeddedOptions options;
  options.data_dir = disk.path() + "/data";
  options.disk_reserve_bytes = reserve;
  options.merge_tail_rows = 200;
  options.min_indexed_rows = 100;
  options.build_threads = 1;
  options.snapshot_interval = absl::Seconds(1);
  return options;
}

// Fills and frees the disk `cycles` times under a writer and a searcher.
void FillAndFree(uint64_t reserve, int cycles) {
  SmallDisk disk;
  if (!disk.mounted()) GTEST_SKIP() << "mounting a tmpfs needs root";
  auto database = OpenEmbedded(Options(disk, reserve));
  ASSERT_TRUE(database.ok()) << database.status();
  CollectionOptions options;
  options.name = "c";
  options.dimension = kDimension;
  options.index.kind = IndexKind::kHnsw;
  ASSERT_TRUE((*database)->CreateCollection(options).ok());
  auto collection = *(*database)->GetCollection("c");
  WriteHistory history(kDimension);
  std::atomic<bool> stop{false};
  std::atomic<int> searches{0}, failed_searches{0};
  std::thread searcher([&] {
    while (!stop) {
      Query query;
      query.vector = ContentVector("i1", 1, kDimension);
      query.limit = 5;
      if (!collection->Search(query).ok()) ++failed_searches;
      ++searches;
      absl::SleepFor(absl::Milliseconds(2));
    }
  });
  uint64_t sequence = 0;
  int refusals = 0;
  absl::Duration slowest_refusal, slowest_return;
  // One write, judged: true when it was acknowledged.
  const auto write_one = [&](absl::Duration* took) {
    const std::string id = absl::StrCat("i", sequence % 300);
    ++sequence;
    history.Begin(id, sequence);
    const absl::Time start = absl::Now();
    auto result = collection->Upsert({ContentItem(id, sequence, kDimension)}, {});
    *took = absl::Now() - start;
    if (result.ok()) {
      history.Acknowledge(id, result->version);
      return true;
    }
    EXPECT_EQ(ReasonOf(result.status()), "DISK_FULL") << result.status();
    // What became of it is looked up at once: the next write to this id must not hide it.
    history.Check(collection.get());
    return false;
  };
  for (int cycle = 0; cycle < cycles && !::testing::Test::HasFailure(); ++cycle) {
    absl::Duration took;
    // What the store did in the background while the disk was full may fail now, after a write went
    // well again: writes are refused until it has recovered, without a restart.
    for (int i = 0; i < 300; ++i) {
      const absl::Time give_up = absl::Now() + absl::Seconds(15);
      while (!write_one(&took)) {
        if (cycle == 0 || absl::Now() > give_up) {
          ADD_FAILURE() << "refused for 15 s on a disk with room, or before it was ever full";
          break;
        }
        absl::SleepFor(absl::Milliseconds(20));
      }
    }
    disk.Fill();
    // With the log's last block there may be room for a few more.
    int refused = 0;
    const absl::Time give_up = absl::Now() + absl::Seconds(60);
    while (refused < 5 && absl::Now() < give_up) {
      if (write_one(&took)) continue;
      ++refused;
      slowest_refusal = std::max(slowest_refusal, took);
    }
    refusals += refused;
    EXPECT_EQ(refused, 5) << "void: the disk never was full";
    EXPECT_FALSE((*database)->WriteHealth().ok());
    disk.Free();
    const absl::Time freed = absl::Now();
    while (!write_one(&took) && absl::Now() < freed + absl::Seconds(30)) {
      absl::SleepFor(absl::Milliseconds(20));
    }
    slowest_return = std::max(slowest_return, absl::Now() - freed);
    EXPECT_TRUE((*database)->WriteHealth().ok());
  }
  stop = true;
  searcher.join();
  EXPECT_EQ(failed_searches, 0);
  EXPECT_GE(searches, cycles * 10) << "void: hardly any search ran";
  EXPECT_LE(slowest_return, absl::Seconds(15));
  collection.reset();
  database->reset();
  auto again = OpenEmbedded(Options(disk, reserve));
  ASSERT_TRUE(again.ok()) << again.status();
  history.Check((*again)->GetCollection("c")->get());
  std::cout << cycles << " cycles with reserve " << reserve << ": " << history.acknowledged()
            << " acknowledged, " << refusals << " refused (slowest " << slowest_refusal << "), "
            << searches << " searches (" << failed_searches
            << " failed), writes back after at most " << slowest_return << std::endl;
}

int Cycles() {
  const char* text = std::getenv("IMAGESEARCH_FILL_CYCLES");
  return text == nullptr ? 3 : std::atoi(text);
}

TEST(DiskFullTest, WithAReserveNothingFailsInTheMiddle) { FillAndFree(2 << 20, Cycles()); }

// The reserve is what free space is compared with before a write; without it the write itself
// fails.
TEST(DiskFullTest, WithoutAReserveAFailedWriteIsNeverAcknowledged) { FillAndFree(1, Cycles()); }

}  // namespace
}  // namespace imagesearch::index
