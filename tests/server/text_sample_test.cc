// The sample of texts that indexes learn from: made once for a model, kept, and made anew when
// damaged.
#include "server/text_sample.h"

#include <filesystem>
#include <fstream>
#include <set>

#include "absl/time/clock.h"
#include "encoder/fake_encoder.h"
#include "gtest/gtest.h"

namespace imagesearch::server {
namespace {

namespace fs = std::filesystem;
using encoder::FakeEncoder;
using encoder::Input;

class TextSamplesTest : public ::testing::Test {
 protected:
  TextSamplesTest() {
    std::string pattern = ::testing::TempDir() + "/imagesearch_texts_XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    folder_ = pattern;
  }
  ~TextSamplesTest() override { fs::remove_all(folder_); }

  // The vectors, waited for.
  std::vector<float> Make(std::shared_ptr<FakeEncoder> encoder) {
    TextSamples samples(folder_ + "/texts");
    samples.Add(encoder);
    const absl::Time deadline = absl::Now() + absl::Seconds(30);
    while (samples.Of(encoder->model().fingerprint).empty() && absl::Now() < deadline) {
      absl::SleepFor(absl::Milliseconds(2));
    }
    EXPECT_TRUE(samples.Of("another model").empty());
    return samples.Of(encoder->model().fingerprint);
  }

  std::string folder_;
};

TEST(SampleTexts, AreManyDifferentAndPlain) {
  const std::vector<std::string>& texts = SampleTexts();
  EXPECT_GE(texts.size(), 100u);
  EXPECT_LE(texts.size(), 2000u);
  EXPECT_EQ(std::set<std::string>(texts.begin(), texts.end()).size(), texts.size());
  for (const std::string& text : texts) {
    EXPECT_LT(text.size(), 80u);
    EXPECT_EQ(text.find_first_not_of("abcdefghijklmnopqrstuvwxyz -"), std::string::npos) << text;
  }
}

TEST_F(TextSamplesTest, AreEncodedOnceAndKept) {
  auto encoder = std::make_shared<FakeEncoder>();
  const std::vector<float> made = Make(encoder);
  ASSERT_EQ(made.size(), SampleTexts().size() * encoder->model().dimension);
  const std::vector<float> first = encoder->VectorOf(Input::Text(SampleTexts()[0]));
  EXPECT_TRUE(std::equal(first.begin(), first.end(), made.begin()));
  const std::vector<float> last = encoder->VectorOf(Input::Text(SampleTexts().back()));
  EXPECT_TRUE(std::equal(last.rbegin(), last.rend(), made.rbegin()));

  auto again = std::make_shared<FakeEncoder>();
  EXPECT_EQ(Make(again), made);
  EXPECT_EQ(again->embedded(), 0);
}

TEST_F(TextSamplesTest, ADamagedFileIsMadeAnew) {
  const std::vector<float> made = Make(std::make_shared<FakeEncoder>());
  for (const auto& entry : fs::directory_iterator(folder_ + "/texts")) {
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(100);
    file.put('x');
  }
  auto encoder = std::make_shared<FakeEncoder>();
  EXPECT_EQ(Make(encoder), made);
  EXPECT_EQ(encoder->embedded(), static_cast<int64_t>(SampleTexts().size()));
}

TEST_F(TextSamplesTest, StoppingDoesNotWaitForAllTexts) {
  encoder::FakeEncoderOptions slow;
  slow.batch_time = absl::Milliseconds(50);
  auto encoder = std::make_shared<FakeEncoder>(slow);
  {
    TextSamples samples(folder_ + "/texts");
    samples.Add(encoder);
    ASSERT_TRUE(encoder->AwaitEmbedRunning(absl::Seconds(20)));
  }
  EXPECT_LT(encoder->embedded(), static_cast<int64_t>(SampleTexts().size()) / 2);
}

}  // namespace
}  // namespace imagesearch::server
