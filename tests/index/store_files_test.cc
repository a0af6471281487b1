// The containers of index files, byte by byte; CRC-32C; page tokens; merge policy.
#include <filesystem>
#include <fstream>

#include "gtest/gtest.h"
#include "index/store/checked_file.h"
#include "index/store/crc32c.h"
#include "index/store/merge_policy.h"
#include "index/store/row_file.h"
#include "rocksdb/env.h"
#include "tests/index/temp_dir.h"

namespace imagesearch::index {
namespace {

TEST(Crc32cTest, KnownAnswers) {
  // RFC 3720, appendix B.4.
  EXPECT_EQ(Crc32c("123456789", 9), 0xE3069283u);
  const std::string zeros(32, '\0'), ones(32, '\xff');
  EXPECT_EQ(Crc32c(zeros.data(), 32), 0x8A9136AAu);
  EXPECT_EQ(Crc32c(ones.data(), 32), 0x62A8AB43u);
  EXPECT_EQ(Crc32c("6789", 4, Crc32c("12345", 5)), 0xE3069283u);
}

class RowFileTest : public ::testing::Test {
 protected:
  RowFileTest() : path_(directory_.path() + "/a.rows"), identity_{"instance", 7, 3, "model"} {}

  void Write() {
    auto writer = RowFileWriter::Create(rocksdb::Env::Default(), path_, identity_);
    ASSERT_TRUE(writer.ok()) << writer.status();
    const float vector[] = {1, 0, 0};
    (*writer)->Add(2, "two", vector);
    (*writer)->Add(5, "five", vector);
    (*writer)->Add(6, "", vector);
    ASSERT_TRUE((*writer)->Finish(1, 9).ok());
  }
  std::string Read() {
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void Put(const std::string& bytes) { std::ofstream(path_, std::ios::binary) << bytes; }

  TempDir directory_;
  const std::string path_;
  const FileIdentity identity_;
};

TEST_F(RowFileTest, RoundTrip) {
  Write();
  auto file = RowFile::Open(path_, identity_);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->rows(), 3u);
  EXPECT_EQ((*file)->id(1), "five");
  EXPECT_EQ((*file)->id(2), "");
  EXPECT_EQ((*file)->first_slot(), 1u);
  EXPECT_EQ((*file)->end_slot(), 9u);
  EXPECT_EQ((*file)->RowOfSlot(5), 1u);
  for (uint32_t absent : {0u, 1u, 3u, 4u, 7u, 8u, 9u, 100u}) {
    EXPECT_EQ((*file)->RowOfSlot(absent), std::nullopt) << absent;
  }
  EXPECT_EQ(reinterpret_cast<uintptr_t>((*file)->Row(0)) % 64, 0u);
  EXPECT_FALSE(std::filesystem::exists(path_ + ".tmp"));
}

TEST_F(RowFileTest, AFlippedBitInAnyByteIsNoticed) {
  Write();
  const std::string whole = Read();
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string damaged = whole;
    damaged[i] ^= static_cast<char>(1 << i % 8);
    Put(damaged);
    EXPECT_FALSE(RowFile::Open(path_, identity_).ok()) << "byte " << i;
  }
}

TEST_F(RowFileTest, EveryCutIsNoticed) {
  Write();
  const std::string whole = Read();
  for (size_t size = 0; size < whole.size(); ++size) {
    Put(whole.substr(0, size));
    EXPECT_FALSE(RowFile::Open(path_, identity_).ok()) << size;
  }
  Put(whole + "x");
  EXPECT_FALSE(RowFile::Open(path_, identity_).ok());
}

TEST_F(RowFileTest, AFileOfAnotherCollectionOrKindIsRefused) {
  Write();
  FileIdentity other = identity_;
  other.collection = 8;
  EXPECT_FALSE(RowFile::Open(path_, other).ok());
  other = identity_;
  other.model_fingerprint = "another model";
  EXPECT_FALSE(RowFile::Open(path_, other).ok());
  EXPECT_FALSE(CheckedFile::Open(path_, FileKind::kAnn).ok());
}

TEST_F(RowFileTest, AnUnfinishedFileLeavesNothing) {
  {
    auto writer = RowFileWriter::Create(rocksdb::Env::Default(), path_, identity_);
    ASSERT_TRUE(writer.ok());
  }
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

TEST(CheckedFileTest, PayloadsAroundTheBlockSize) {
  TempDir directory;
  const std::string path = directory.path() + "/f";
  for (size_t size : {size_t{0}, size_t{1}, (size_t{1} << 20) - 1, size_t{1} << 20,
                      (size_t{1} << 20) + 1, size_t{3} << 20}) {
    auto writer = CheckedFileWriter::Create(rocksdb::Env::Default(), path, FileKind::kAnn);
    ASSERT_TRUE(writer.ok());
    std::string payload(size, '\0');
    for (size_t i = 0; i < size; ++i) payload[i] = static_cast<char>(i * 2654435761u >> 24);
    for (size_t at = 0; at < size; at += 70'001) {
      (*writer)->Write(payload.data() + at, std::min<size_t>(70'001, size - at));
    }
    ASSERT_TRUE((*writer)->Finish("about").ok());
    auto file = CheckedFile::Open(path, FileKind::kAnn);
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ((*file)->payload(), payload);
    EXPECT_EQ((*file)->description(), "about");
  }
}

PartSize Part(uint64_t rows, uint64_t live, IndexKind requested = IndexKind::kHnsw) {
  return {rows, live, requested};
}

TEST(MergePolicyTest, SizesGrowGeometricallyWhileWriting) {
  const MergePolicy policy{IndexKind::kHnsw, 1000, 100};
  std::vector<PartSize> segments;
  uint64_t built = 0;
  for (int i = 0; i < 1000; ++i) {
    auto plan = PlanMerge(policy, MergeOccasion::kWriting, segments, Part(1000, 1000));
    ASSERT_TRUE(plan && plan->with_tail);
    uint64_t rows = 1000;
    for (size_t s = plan->first_segment; s < segments.size(); ++s) rows += segments[s].live;
    segments.resize(plan->first_segment);
    segments.push_back(Part(rows, rows));
    built += rows;
    EXPECT_LE(segments.size(), 40u);
    EXPECT_LE(rows, std::max<uint64_t>(8000, uint64_t(i + 1) * 1000 / 8));  // short merges
  }
  EXPECT_LE(built, uint64_t{1000} * 1000 * 16);  // each row a few times
}

TEST(MergePolicyTest, ASettledCollectionIsLeftAlone) {
  const MergePolicy policy{IndexKind::kHnsw, 1000, 100};
  for (MergeOccasion occasion : {MergeOccasion::kWriting, MergeOccasion::kIdle}) {
    EXPECT_FALSE(PlanMerge(policy, occasion, {}, Part(50, 50)));
    EXPECT_FALSE(PlanMerge(policy, occasion, {Part(5000, 5000)}, Part(0, 0)));
    EXPECT_FALSE(PlanMerge(policy, occasion, {Part(5000, 4500)}, Part(100, 100)));
  }
  EXPECT_FALSE(PlanMerge(policy, MergeOccasion::kForced, {Part(5000, 5000)}, Part(0, 0)));
}

TEST(MergePolicyTest, DeadRowsAndWrongKindsAreRebuilt) {
  const MergePolicy policy{IndexKind::kHnsw, 1000, 100};
  auto plan = PlanMerge(policy, MergeOccasion::kWriting, {Part(5000, 5000), Part(2000, 1200)},
                        Part(10, 10));
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->first_segment, 1u);
  EXPECT_FALSE(plan->with_tail);
  plan =
      PlanMerge(policy, MergeOccasion::kWriting, {Part(5000, 5000, IndexKind::kFlat)}, Part(0, 0));
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->end_segment, 1u);
  // Small ones are scanned whatever the kind.
  EXPECT_FALSE(
      PlanMerge(policy, MergeOccasion::kWriting, {Part(50, 50, IndexKind::kFlat)}, Part(0, 0)));
}

TEST(MergePolicyTest, AShortTailIsMergedWhenASnapshotIsDue) {
  const MergePolicy policy{IndexKind::kHnsw, 1000, 100};
  EXPECT_FALSE(PlanMerge(policy, MergeOccasion::kWriting, {Part(5000, 5000)}, Part(300, 300)));
  auto plan = PlanMerge(policy, MergeOccasion::kInterval, {Part(5000, 5000)}, Part(300, 300));
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->first_segment, 1u);
  EXPECT_TRUE(plan->with_tail);
  EXPECT_FALSE(PlanMerge(policy, MergeOccasion::kInterval, {Part(5000, 5000)}, Part(200, 200)));
}

TEST(MergePolicyTest, IdleBringsPartsTogether) {
  const MergePolicy policy{IndexKind::kHnsw, 1000, 100};
  auto plan =
      PlanMerge(policy, MergeOccasion::kIdle, {Part(5000, 5000), Part(900, 900)}, Part(100, 100));
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->first_segment, 0u);
  EXPECT_TRUE(plan->with_tail);
}

}  // namespace
}  // namespace imagesearch::index
