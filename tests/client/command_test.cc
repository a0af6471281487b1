// The `imagesearch` command as people and scripts run it: arguments, output, exit codes.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/bulk/content_hash.h"
#include "client/picture/jpeg.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/client/fake_server.h"
#include "tests/client/temp_folder.h"

namespace imagesearch::client {
namespace {

using testing::HasSubstr;
using testing::Not;

struct Ended {
  int exit_code = -1;
  std::string out;
  std::string err;
};

class CommandTest : public testing::Test {
 protected:
  Ended Run(const std::string& arguments) {
    const std::string line = absl::StrCat(
        "XDG_STATE_HOME=", state_.path(), " IMAGESEARCH_SERVER=", server_.address(), " ",
        IMAGESEARCH_COMMAND, " ", arguments, " 2>", state_ / "stderr", " </dev/null");
    Ended ended;
    FILE* pipe = popen(line.c_str(), "r");
    char buffer[4096];
    size_t count = 0;
    while ((count = fread(buffer, 1, sizeof buffer, pipe)) > 0) ended.out.append(buffer, count);
    const int status = pclose(pipe);
    ended.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    ended.err = state_.Read("stderr");
    return ended;
  }
  nlohmann::json RunJson(const std::string& arguments) {
    return nlohmann::json::parse(Run(arguments + " --output json").out);
  }

  FakeServer server_;
  TempFolder state_;
  TempFolder pictures_;
};

TEST_F(CommandTest, IndexThenSearchByTextFindsThePath) {
  pictures_.Write("c.png", "cat 1");
  pictures_.Write("d.png", "dog 1");
  const Ended index = Run("index " + pictures_.path());
  EXPECT_EQ(index.exit_code, 0) << index.err;
  EXPECT_THAT(index.out, HasSubstr("2 pictures seen: 2 sent, 0 skipped"));
  const auto hits = RunJson("search cat")["hits"];
  ASSERT_EQ(hits.size(), 2u);
  EXPECT_EQ(hits[0]["metadata"]["path"], pictures_ / "c.png");
  EXPECT_EQ(hits[0]["rank"], 1);
  EXPECT_THAT(Run("search cat -n 1").out, HasSubstr(pictures_ / "c.png"));
}

TEST_F(CommandTest, ControlCharactersOfNamesDoNotReachTheTerminal) {
  pictures_.Write("a\x1b[2Jb.png", "cat 1");
  Run("index " + pictures_.path());
  EXPECT_THAT(Run("search cat").out, HasSubstr("a?[2Jb.png"));
}

TEST_F(CommandTest, MixedQueriesReachTheServer) {
  pictures_.Write("c.png", "cat 1");
  pictures_.Write("d.png", "dog 1");
  Run("index " + pictures_.path());
  const std::string dog = ContentHash("dog 1");
  EXPECT_EQ(RunJson("search 2:cat + id:" + dog)["hits"][0]["id"], ContentHash("cat 1"));
  EXPECT_EQ(RunJson("search cat - 5:id:" + dog)["hits"][1]["id"], dog);
  EXPECT_EQ(RunJson("search --image " + (pictures_ / "d.png"))["hits"][0]["id"], dog);
  EXPECT_EQ(RunJson("search --id " + dog)["hits"][0]["id"], dog);
}

TEST_F(CommandTest, ACollectionIsTakenBeforeAndAfterTheVerb) {
  ASSERT_EQ(Run("collections create art").exit_code, 0);
  pictures_.Write("c.png", "cat 1");
  ASSERT_EQ(Run("index --collection art " + pictures_.path()).exit_code, 0);
  EXPECT_EQ(Run("--collection art count").out, "1\n");
  EXPECT_EQ(Run("count --collection art").out, "1\n");
  EXPECT_EQ(Run("count").out, "0\n");
}

TEST_F(CommandTest, AFailedPictureGivesExitCode1AndALineOfTheReport) {
  pictures_.Write("bad.png", "corrupt");
  pictures_.Write("good.png", "cat 1");
  const Ended ended =
      Run("index --failures " + (state_ / "failures.jsonl") + " " + pictures_.path());
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_THAT(
      ended.out,
      HasSubstr("2 pictures seen: 1 sent, 0 skipped (0 unchanged, 0 duplicates), 1 failed"));
  const auto line = nlohmann::json::parse(state_.Read("failures.jsonl"));
  EXPECT_EQ(line["path"], pictures_ / "bad.png");
  EXPECT_EQ(line["reason"], "CORRUPT_IMAGE");
}

TEST_F(CommandTest, ExitCodesTellWhatWentWrong) {
  EXPECT_EQ(Run("search").exit_code, 2);
  EXPECT_EQ(Run("bogus").exit_code, 2);
  EXPECT_EQ(Run("search cat --limit").exit_code, 2);
  EXPECT_EQ(Run("").exit_code, 2);
  EXPECT_EQ(Run("--help").exit_code, 0);
  EXPECT_EQ(Run("count --server 127.0.0.1:1 --timeout 2").exit_code, 3);
  const Ended refused = Run("count --collection absent");
  EXPECT_EQ(refused.exit_code, 4);
  EXPECT_THAT(refused.err, HasSubstr("COLLECTION_NOT_FOUND"));
  EXPECT_EQ(Run("search --image /nonexistent.png").exit_code, 6);
  EXPECT_EQ(Run("index /nonexistent").exit_code, 6);
  EXPECT_EQ(Run("get no-such-id").exit_code, 1);
}

TEST_F(CommandTest, ErrorsAreJsonForPrograms) {
  const Ended ended = Run("count --collection absent --output json");
  EXPECT_EQ(nlohmann::json::parse(ended.err)["error"]["reason"], "COLLECTION_NOT_FOUND");
}

TEST_F(CommandTest, GetCountListAndDelete) {
  pictures_.Write("c.png", "cat 1");
  pictures_.Write("d.png", "dog 1");
  Run("index " + pictures_.path());
  const std::string id = ContentHash("cat 1");
  EXPECT_EQ(RunJson("get " + id)["images"][0]["metadata"]["path"], pictures_ / "c.png");
  EXPECT_EQ(RunJson("get --with-vector " + id)["images"][0]["vector"].size(),
            size_t{kFakeDimension});
  EXPECT_EQ(RunJson("list")["images"].size(), 2u);
  EXPECT_EQ(RunJson("list -n 1")["images"].size(), 1u);
  EXPECT_EQ(Run("delete").exit_code, 2);
  EXPECT_EQ(RunJson("delete " + id)["deleted"], 1);
  EXPECT_EQ(RunJson("count")["count"], 1);
}

TEST_F(CommandTest, CollectionsInfoHealthAndEncode) {
  EXPECT_EQ(Run("collections create vectors --dimension 8 --index flat").exit_code, 0);
  EXPECT_EQ(RunJson("collections")["collections"].size(), 2u);
  EXPECT_EQ(RunJson("collections show vectors")["collections"][0]["dimension"], 8);
  EXPECT_EQ(Run("collections delete vectors").exit_code, 0);
  EXPECT_EQ(Run("collections show vectors").exit_code, 4);
  EXPECT_EQ(RunJson("info")["model"]["id"], "fake@1");
  EXPECT_EQ(Run("health").out, "ready: SERVING\n");
  EXPECT_EQ(RunJson("encode cat dog")["results"].size(), 2u);
}

TEST_F(CommandTest, AContactSheetStandsAlone) {
  encoder::RgbImage image(32, 32);
  pictures_.Write("<b>.jpg", WriteJpeg(image, 90));
  Run("index " + pictures_.path());
  const std::string page = state_ / "hits.html";
  ASSERT_EQ(Run("search 'a <script>' --html " + page).exit_code, 0);
  ASSERT_EQ(Run("search second --html-append --html " + page).exit_code, 0);
  const std::string html = state_.Read("hits.html");
  EXPECT_THAT(html, HasSubstr("data:image/jpeg;base64,"));
  EXPECT_THAT(html, HasSubstr("a &lt;script&gt;"));
  EXPECT_THAT(html, HasSubstr("second"));
  EXPECT_THAT(html, Not(HasSubstr("<b>.jpg")));
  EXPECT_THAT(html, Not(HasSubstr("http://")));
  EXPECT_THAT(html, Not(HasSubstr("https://")));
}

TEST_F(CommandTest, AContactSheetNeverReplacesAnotherFile) {
  const std::string file = state_.Write("thesis.html", "years of work");
  EXPECT_EQ(Run("search cat --html " + file).exit_code, 4);
  EXPECT_EQ(state_.Read("thesis.html"), "years of work");
}

TEST_F(CommandTest, ExportAndImportCarryACollectionOver) {
  pictures_.Write("c.png", "cat 1");
  pictures_.Write("d.png", "dog 1");
  Run("index " + pictures_.path());
  const std::string lines = state_ / "out.jsonl";
  const std::string npy = state_ / "out.npy";
  for (const std::string& extra : {std::string(), " --npy " + npy}) {
    ASSERT_EQ(Run("export " + lines + extra).exit_code, 0);
    ASSERT_EQ(Run("collections create copy").exit_code, 0);
    const Ended import = Run("import --collection copy " + lines + extra);
    EXPECT_EQ(import.exit_code, 0) << import.err;
    EXPECT_EQ(import.out, "2 lines seen: 2 sent, 0 failed\n");
    const auto hit = RunJson("search cat --collection copy")["hits"][0];
    EXPECT_EQ(hit["metadata"]["path"], pictures_ / "c.png");
    ASSERT_EQ(Run("collections delete copy").exit_code, 0);
  }
}

TEST_F(CommandTest, ImportReadsTheFoldersOfClipRetrieval) {
  pictures_.Write("c.png", "cat 1");
  pictures_.Write("d.png", "dog 1");
  Run("index " + pictures_.path());
  const std::string npy = state_ / "out.npy";
  ASSERT_EQ(Run("export " + (state_ / "out.jsonl") + " --npy " + npy).exit_code, 0);
  const std::string folder = state_ / "laion";
  for (const char* number : {"0", "1"}) {
    state_.Write(std::string("laion/img_emb/img_emb_") + number + ".npy", state_.Read("out.npy"));
  }
  state_.Write("laion/metadata/metadata_0.jsonl",
               "{\"image_path\": \"0/a.jpg\", \"caption\": \"one\"}\n"
               "{\"image_path\": \"0/b.jpg\", \"caption\": \"two\"}\n");
  state_.Write("laion/metadata/metadata_1.parquet", "PAR1");
  Ended import = Run("import " + folder);
  EXPECT_EQ(import.exit_code, 6) << import.err;
  EXPECT_THAT(import.err, HasSubstr("pandas.read_parquet"));
  state_.Write("laion/metadata/metadata_1.csv", "image_path,caption\n1/a.jpg,three\n");
  import = Run("import " + folder);
  EXPECT_EQ(import.exit_code, 6) << import.err;
  EXPECT_THAT(import.err, HasSubstr("has 2 rows"));
  state_.Write("laion/metadata/metadata_1.csv",
               "image_path,caption\n1/a.jpg,three\n1/b.jpg,four\n");
  import = Run("import " + folder);
  EXPECT_EQ(import.exit_code, 0) << import.err;
  EXPECT_EQ(import.out, "4 lines seen: 4 sent, 0 failed\n");
  EXPECT_THAT(Run("get 1/b.jpg").out, HasSubstr("\"caption\":\"four\""));
}

// They were sent as metadata or lost.
TEST_F(CommandTest, ExportAndImportCarrySourceUrisOver) {
  const std::string file =
      state_.Write("in.jsonl",
                   "{\"id\": \"a\", \"vector\": [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1], \"source_uri\": "
                   "\"file:///a\"}\n");
  ASSERT_EQ(Run("import " + file).exit_code, 0);
  ASSERT_EQ(Run("export " + (state_ / "out.jsonl")).exit_code, 0);
  EXPECT_THAT(state_.Read("out.jsonl"), HasSubstr("\"source_uri\":\"file:///a\""));
  EXPECT_THAT(state_.Read("out.jsonl"), HasSubstr("\"metadata\":{}"));
}

TEST_F(CommandTest, AJobTellsTheVersionOfItsNewestWrite) {
  pictures_.Write("c.png", "cat 1");
  const auto version = RunJson("index " + pictures_.path())["version"].get<uint64_t>();
  EXPECT_GT(version, 0u);
  EXPECT_EQ(RunJson("search cat")["version"].get<uint64_t>(), version);
}

TEST_F(CommandTest, EncodeNamesItsModel) {
  EXPECT_EQ(RunJson("encode cat")["results"].size(), 1u);
  const Ended ended = Run("encode cat --model nobody");
  EXPECT_EQ(ended.exit_code, 4);
  EXPECT_THAT(ended.err, HasSubstr("NO_SUCH_MODEL"));
}

TEST_F(CommandTest, ImportNamesTheLineThatIsWrong) {
  const std::string file = state_.Write("in.jsonl", "{\"id\": \"a\", \"vector\": [1, 2]}\n{}\n");
  const Ended import = Run("import " + file);
  EXPECT_EQ(import.exit_code, 1);
  EXPECT_THAT(import.err, HasSubstr("DIM_MISMATCH"));
  EXPECT_THAT(import.err, HasSubstr("in.jsonl:2: has no id"));
}

TEST_F(CommandTest, EvaluateMeasuresASetAndLeavesNothingBehind) {
  pictures_.Write("c.png", "cat 1");
  pictures_.Write("d.png", "dog 1");
  pictures_.Write("set.jsonl",
                  "{\"image\": \"c.png\", \"captions\": [\"cat\"]}\n"
                  "{\"image\": \"d.png\", \"captions\": [\"dog\"]}\n");
  const auto report = RunJson("evaluate " + (pictures_ / "set.jsonl"));
  EXPECT_EQ(report["results"][0]["task"], "text -> image");
  EXPECT_EQ(report["results"][0]["at1"], 100.0);
  EXPECT_EQ(report["results"][1]["at1"], 100.0);
  EXPECT_THAT(server_.Collections(), testing::ElementsAre("default"));
}

class StoppedEvaluationTest : public CommandTest {
 protected:
  // Starts an evaluation that waits for an ack that never comes.
  pid_t StartStuckEvaluation() {
    server_.faults().swallow_uploads = true;
    pictures_.Write("c.png", "cat 1");
    const std::string set =
        pictures_.Write("set.jsonl", "{\"image\": \"c.png\", \"captions\": [\"cat\"]}\n");
    const pid_t child = fork();
    if (child == 0) {
      setenv("XDG_STATE_HOME", state_.path().c_str(), 1);
      execl(IMAGESEARCH_COMMAND, IMAGESEARCH_COMMAND, "--server", server_.address().c_str(),
            "evaluate", set.c_str(), nullptr);
      _exit(127);
    }
    for (int i = 0; i < 600 && server_.Collections().size() < 2; ++i) usleep(50'000);
    return child;
  }
  static int Await(pid_t child) {
    int how = 0;
    return waitpid(child, &how, 0) == child ? how : -1;
  }
};

TEST_F(StoppedEvaluationTest, ASignalTakesItsCollectionsAway) {
  for (const int signal : {SIGTERM, SIGINT}) {
    const pid_t child = StartStuckEvaluation();
    ASSERT_EQ(server_.Collections().size(), 2u);
    kill(child, signal);
    const int how = Await(child);
    EXPECT_TRUE(WIFEXITED(how));
    EXPECT_EQ(WEXITSTATUS(how), 128 + signal);
    EXPECT_THAT(server_.Collections(), testing::ElementsAre("default"));
  }
}

TEST_F(StoppedEvaluationTest, WhatAKilledOneLeftGoesWhenTheNextStarts) {
  const pid_t child = StartStuckEvaluation();
  ASSERT_EQ(server_.Collections().size(), 2u);
  kill(child, SIGKILL);
  Await(child);
  ASSERT_EQ(server_.Collections().size(), 2u);
  server_.faults().swallow_uploads = false;
  const Ended next = Run("evaluate " + (pictures_ / "set.jsonl"));
  EXPECT_EQ(next.exit_code, 0);
  EXPECT_THAT(next.err, HasSubstr("deleted 1 collections"));
  EXPECT_THAT(server_.Collections(), testing::ElementsAre("default"));
}

}  // namespace
}  // namespace imagesearch::client
