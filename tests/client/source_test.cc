// What sources find: folders, archives, manifests, side files.
#include "client/bulk/source.h"

#include <archive.h>
#include <archive_entry.h>

#include <filesystem>

#include "base/error.h"
#include "client/bulk/struct_json.h"
#include "client/bulk/table_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/temp_folder.h"

namespace imagesearch::client {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Walked {
  std::vector<SourceItem> items;
  WalkReport report;

  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& item : items) {
      names.push_back(std::filesystem::path(item.path).filename().string());
    }
    return names;
  }
};

Walked WalkAll(Source* source) {
  Walked walked;
  walked.report = source->Walk([&](SourceItem item) {
    walked.items.push_back(std::move(item));
    return true;
  });
  return walked;
}

Walked WalkAll(const std::string& name, const SourceOptions& options = {}) {
  auto source = OpenSource(name, options);
  EXPECT_TRUE(source.ok()) << source.status();
  return WalkAll(source->get());
}

TEST(FolderSourceTest, FindsPicturesInFoldersInAStableOrder) {
  TempFolder folder;
  folder.Write("b.png", "1");
  folder.Write("a/z.JPG", "22");
  folder.Write("a/y.webp", "3");
  const Walked walked = WalkAll(folder.path());
  EXPECT_THAT(walked.names(), ElementsAre("y.webp", "z.JPG", "b.png"));
  EXPECT_EQ(walked.items[1].size, 2u);
  EXPECT_GT(walked.items[1].modified_ns, 0);
  EXPECT_EQ(walked.items[1].path, folder / "a/z.JPG");
}

TEST(FolderSourceTest, OtherFilesAreCountedNotPassedOverInSilence) {
  TempFolder folder;
  folder.Write("notes.txt", "text");
  folder.Write("no_extension", "\xFF\xD8\xFF\xE0 a JPEG by its first bytes");
  folder.Write("drawing.tiff", "a format that the server will refuse by name");
  const Walked walked = WalkAll(folder.path());
  EXPECT_THAT(walked.names(), ElementsAre("drawing.tiff", "no_extension"));
  EXPECT_EQ(walked.report.other_files, 1u);
}

TEST(FolderSourceTest, GlobsChooseByNameAndByPath) {
  TempFolder folder;
  folder.Write("a/1.png", "");
  folder.Write("a/2.jpg", "");
  folder.Write("b/3.png", "");
  EXPECT_THAT(WalkAll(folder.path(), {.include = {"*.png"}, .exclude = {}}).names(),
              ElementsAre("1.png", "3.png"));
  const Walked walked = WalkAll(folder.path(), {.include = {}, .exclude = {"a/*"}});
  EXPECT_THAT(walked.names(), ElementsAre("3.png"));
  EXPECT_EQ(walked.report.other_files, 2u);
}

TEST(FolderSourceTest, ALinkToNothingFailsByName) {
  TempFolder folder;
  std::filesystem::create_symlink(folder / "gone.png", folder / "link.png");
  const Walked walked = WalkAll(folder.path());
  ASSERT_EQ(walked.items.size(), 1u);
  EXPECT_EQ(ReasonOf(walked.items[0].error), "LOCAL_FILE");
}

TEST(FolderSourceTest, ALoopOfLinksEnds) {
  TempFolder folder;
  folder.Write("a/1.png", "");
  std::filesystem::create_directory_symlink(folder.path(), folder / "a/up");
  EXPECT_THAT(WalkAll(folder.path(), {.include = {}, .exclude = {}, .follow_links = true}).names(),
              ElementsAre("1.png"));
}

TEST(OpenSourceTest, AMissingSourceIsRefused) {
  EXPECT_EQ(ReasonOf(OpenSource("/nonexistent/folder", {}).status()), "LOCAL_FILE");
}

// Writes NAME -> CONTENT in order.
void WriteTar(const std::string& path,
              const std::vector<std::pair<std::string, std::string>>& members) {
  archive* out = archive_write_new();
  archive_write_set_format_ustar(out);
  archive_write_open_filename(out, path.c_str());
  for (const auto& [name, content] : members) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, name.c_str());
    archive_entry_set_size(entry, static_cast<la_int64_t>(content.size()));
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    archive_write_header(out, entry);
    archive_write_data(out, content.data(), content.size());
    archive_entry_free(entry);
  }
  archive_write_close(out);
  archive_write_free(out);
}

TEST(ArchiveSourceTest, AWebDatasetShardCarriesMetadataAndCaptions) {
  TempFolder folder;
  WriteTar(folder / "shard.tar", {{"000.jpg", "picture 0"},
                                  {"000.json", R"({"year": 2020, "tags": ["a"]})"},
                                  {"000.txt", "a caption\n"},
                                  {"001.txt", "the caption comes first"},
                                  {"001.png", "picture 1"},
                                  {"readme.txt", "alone"}});
  const Walked walked = WalkAll(folder / "shard.tar");
  ASSERT_EQ(walked.items.size(), 2u);
  EXPECT_EQ(walked.items[0].path, folder / "shard.tar/000.jpg");
  EXPECT_EQ(walked.items[0].bytes, "picture 0");
  EXPECT_EQ(ToJson(walked.items[0].metadata).dump(),
            R"({"caption":"a caption","tags":["a"],"year":2020})");
  EXPECT_EQ(ToJson(walked.items[1].metadata).dump(), R"({"caption":"the caption comes first"})");
  EXPECT_EQ(walked.report.other_files, 1u);
  EXPECT_TRUE(walked.report.unreadable.empty());
}

TEST(ArchiveSourceTest, ACutArchiveIsReportedAfterItsGoodPart) {
  TempFolder folder;
  WriteTar(folder / "whole.tar",
           {{"0.jpg", std::string(600, 'x')}, {"1.jpg", std::string(9000, 'y')}});
  const std::string whole = folder.Read("whole.tar");
  folder.Write("cut.tar", whole.substr(0, 4000));
  const Walked walked = WalkAll(folder / "cut.tar");
  ASSERT_FALSE(walked.items.empty());
  EXPECT_TRUE(walked.items[0].error.ok());
  EXPECT_FALSE(walked.report.unreadable.empty());
}

TEST(ManifestSourceTest, JsonLinesNameFilesWithIdAndMetadata) {
  TempFolder folder;
  folder.Write("pics/a.png", "abc");
  folder.Write("list.jsonl",
               "{\"path\": \"pics/a.png\", \"id\": \"A\", \"year\": 2020}\n\n"
               "not json\n"
               "{\"title\": \"no path\"}\n"
               "{\"file\": \"pics/missing.png\"}\n");
  const Walked walked = WalkAll(folder / "list.jsonl");
  ASSERT_EQ(walked.items.size(), 4u);
  EXPECT_EQ(walked.items[0].path, folder / "pics/a.png");
  EXPECT_EQ(walked.items[0].id, "A");
  EXPECT_EQ(ToJson(walked.items[0].metadata).dump(), R"({"year":2020})");
  EXPECT_EQ(ReasonOf(walked.items[1].error), "BAD_TABLE_ROW");
  EXPECT_THAT(std::string(walked.items[1].error.message()), HasSubstr("list.jsonl:3"));
  EXPECT_EQ(ReasonOf(walked.items[2].error), "BAD_TABLE_ROW");
  EXPECT_EQ(ReasonOf(walked.items[3].error), "LOCAL_FILE");
}

TEST(ManifestSourceTest, CsvKeepsQuotedCellsAndReadsNumbers) {
  TempFolder folder;
  folder.Write("a.png", "abc");
  folder.Write("list.csv",
               "path,title,year,code,empty\r\n"
               "a.png,\"red, \"\"big\"\"\nbicycle\",2020,007,\r\n"
               "a.png,too,few\n");
  const Walked walked = WalkAll(folder / "list.csv");
  ASSERT_EQ(walked.items.size(), 2u);
  EXPECT_EQ(ToJson(walked.items[0].metadata).dump(),
            R"({"code":"007","title":"red, \"big\"\nbicycle","year":2020})");
  EXPECT_EQ(ReasonOf(walked.items[1].error), "BAD_TABLE_ROW");
}

TEST(SideFileTest, RowsAreFoundByPathAndByBareName) {
  TempFolder folder;
  folder.Write("side.jsonl",
               "{\"path\": \"a.png\", \"year\": 1}\n{\"path\": \"sub/b.png\", \"year\": 2}\n");
  auto side = ReadSideFile(folder / "side.jsonl");
  ASSERT_TRUE(side.ok()) << side.status();
  EXPECT_EQ(side->count("a.png"), 1u);
  EXPECT_EQ(side->count(folder / "sub/b.png"), 1u);
}

TEST(SideFileTest, ABadRowIsAnError) {
  TempFolder folder;
  folder.Write("side.jsonl", "{\"year\": 1}\n");
  EXPECT_EQ(ReasonOf(ReadSideFile(folder / "side.jsonl").status()), "BAD_TABLE_ROW");
}

}  // namespace
}  // namespace imagesearch::client
