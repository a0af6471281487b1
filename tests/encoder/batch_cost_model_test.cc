// The cost model: lines between measured sizes, the best size, limits.
#include "encoder/batch_cost_model.h"

#include <gtest/gtest.h>

#include "encoder/fake_encoder.h"

namespace imagesearch::encoder {
namespace {

constexpr auto kImage = Input::Kind::kImage;
constexpr auto kText = Input::Kind::kText;

TEST(BatchCostModelTest, KnowsNothingBeforeItsFirstBatch) {
  BatchCostModel costs(32, 64);
  EXPECT_EQ(costs.Seconds(kImage, 4), 0);
  EXPECT_EQ(costs.BestSize(kImage), 32);
  EXPECT_EQ(costs.BestSize(kText), 64);
}

TEST(BatchCostModelTest, DrawsLinesBetweenAndBeyondKnownSizes) {
  BatchCostModel costs(32, 64);
  costs.Observe(kImage, 1, 1.0);
  EXPECT_DOUBLE_EQ(costs.Seconds(kImage, 3), 3.0);
  BatchCostModel other(32, 64);
  other.Observe(kImage, 2, 2.0);
  EXPECT_DOUBLE_EQ(other.Seconds(kImage, 1), 1.0);
  EXPECT_DOUBLE_EQ(other.Seconds(kImage, 8), 8.0);
}

TEST(BatchCostModelTest, PicksTheSmallestSizeThatIsNearlyTheBest) {
  FakeEncoderOptions options;
  options.batch_time = absl::Milliseconds(12);
  options.item_time = absl::Milliseconds(4);
  FakeEncoder fake(options);
  BatchCostModel costs(32, 64);
  costs.Measure(fake, absl::Seconds(2));
  // One image takes 16 ms, so a batch may take 96: 16 of them (12 + 64).
  EXPECT_EQ(costs.BestSize(kImage), 16);
  EXPECT_NEAR(costs.Seconds(kImage, 1), 0.016, 0.006);
}

TEST(BatchCostModelTest, DoesNotBatchWhereThatGainsNothing) {
  FakeEncoderOptions options;
  options.item_time = absl::Milliseconds(10);
  FakeEncoder fake(options);
  BatchCostModel costs(8, 8);
  costs.Measure(fake, absl::Seconds(1));
  EXPECT_LE(costs.BestSize(kImage), 4);
}

TEST(BatchCostModelTest, TriesALargerSizeWhileNothingIsKnownOfIt) {
  BatchCostModel costs(32, 64);
  costs.Observe(kImage, 1, 0.01);
  EXPECT_EQ(costs.BestSize(kImage), 4);  // six times one image at most, if it gains nothing
  costs.Observe(kImage, 4, 0.02);
  EXPECT_EQ(costs.BestSize(kImage), 8);
  costs.Observe(kImage, 8, 0.04);
  EXPECT_EQ(costs.BestSize(kImage), 4);
}

// Texts waited for bulk batches of sixteen: single images had run beside the decoding of others and
// seemed to take three times as long.
TEST(BatchCostModelTest, SlowSingleImagesUnderLoadDoNotMakeBatchesLonger) {
  FakeEncoderOptions options;
  options.batch_time = absl::Milliseconds(30);
  options.item_time = absl::Milliseconds(10);
  FakeEncoder fake(options);
  BatchCostModel costs(32, 64);
  costs.Measure(fake, absl::Seconds(4));
  for (int i = 0; i < 100; ++i) costs.Observe(kImage, 1, 0.12);
  EXPECT_GE(costs.Seconds(kImage, 1), 0.1);
  // Six quiet ones: 240 ms, which is 16 images.
  EXPECT_LE(costs.Seconds(kImage, costs.BestSize(kImage)), 0.25);
}

TEST(BatchCostModelTest, KeepsToItsBudget) {
  FakeEncoderOptions options;
  options.item_time = absl::Milliseconds(20);
  FakeEncoder fake(options);
  BatchCostModel costs(64, 64);
  const absl::Time start = absl::Now();
  costs.Measure(fake, absl::Milliseconds(300));
  EXPECT_LT(absl::Now() - start, absl::Milliseconds(600));
  EXPECT_GT(costs.Seconds(kImage, 64), 0.5);
}

TEST(BatchCostModelTest, FollowsWhatBatchesTakeNow) {
  BatchCostModel costs(32, 64);
  costs.Observe(kImage, 4, 0.4);
  for (int i = 0; i < 100; ++i) costs.Observe(kImage, 4, 0.8);
  EXPECT_NEAR(costs.Seconds(kImage, 4), 0.8, 0.05);
}

TEST(BatchCostModelTest, ALimitAfterOutOfMemoryHolds) {
  BatchCostModel costs(32, 64);
  costs.LimitSize(kImage, 5);
  EXPECT_LE(costs.BestSize(kImage), 5);
  costs.LimitSize(kImage, 0);
  EXPECT_EQ(costs.BestSize(kImage), 1);
}

}  // namespace
}  // namespace imagesearch::encoder
