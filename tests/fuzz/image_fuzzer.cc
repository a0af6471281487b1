// Any bytes as an image: LoadPixels answers with pixels or with INVALID_ARGUMENT, and what it
// decodes ProbeImage has accepted. Built and run by tests/fuzz/run.sh.
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "absl/strings/string_view.h"
#include "encoder/image/header.h"
#include "encoder/image/preprocess.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace imagesearch::encoder;
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  PixelOptions options;
  options.resize_size = options.crop_size = 16;
  options.limits.max_pixels = 500'000;  // keeps each run short
  options.limits.max_side = 4096;
  if (size % 3 == 0) options.crop = CropBox{0.25f, 0.25f, 0.5f, 0.75f};
  const absl::StatusOr<std::vector<uint8_t>> pixels = LoadPixels(bytes, options);
  if (pixels.ok()) {
    if (pixels->size() != 16 * 16 * 3 || !ProbeImage(bytes).ok()) std::abort();
  } else if (pixels.status().code() != absl::StatusCode::kInvalidArgument) {
    std::abort();
  }
  return 0;
}
