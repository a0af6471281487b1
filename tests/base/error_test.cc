// Reasons and retry advice survive the trip through absl::Status.
#include "base/error.h"

#include "gtest/gtest.h"

namespace imagesearch {
namespace {

TEST(ErrorTest, CarriesReasonAndMessage) {
  absl::Status status = InvalidArgument("CORRUPT_IMAGE", "JPEG ends early");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "JPEG ends early");
  EXPECT_EQ(ReasonOf(status), "CORRUPT_IMAGE");
  EXPECT_EQ(RetryAfterOf(status), std::nullopt);
}

TEST(ErrorTest, StatusWithoutReasonIsNamedByItsCode) {
  EXPECT_EQ(ReasonOf(absl::NotFoundError("gone")), "NOT_FOUND");
  EXPECT_EQ(ReasonOf(absl::OkStatus()), "");
}

TEST(ErrorTest, OverloadCarriesItsRetryDelay) {
  absl::Status status = Overloaded("QUEUE_FULL", "the queue is full", absl::Milliseconds(250));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(RetryAfterOf(status), absl::Milliseconds(250));
}

}  // namespace
}  // namespace imagesearch
