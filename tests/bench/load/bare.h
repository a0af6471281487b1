// The encoder by itself, in this process: what the server's figures are compared with.
#ifndef IMAGESEARCH_TESTS_BENCH_LOAD_BARE_H_
#define IMAGESEARCH_TESTS_BENCH_LOAD_BARE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace imagesearch::bench {

struct BareOptions {
  std::string model_dir, precision = "auto";
  int threads = 2;
  double seconds = 5;  // of each rate
};

struct BareFigures {
  std::string precision;
  double images_per_second = 0;  // JPEG decode included
  double texts_per_second = 0;   // tokenising included
  double single_image_ms = 0;    // towers only, batch 1, median
  double single_text_ms = 0;     // tokenising included, batch 1, median
  double tokens = 0;             // of a text, mean, with start and end
};

// Batches of 8 images (16 texts). All threads decode a batch, then all run the towers: no core is
// left idle for want of work.
absl::StatusOr<BareFigures> MeasureBare(const BareOptions& options,
                                        const std::vector<std::string>& photos);

}  // namespace imagesearch::bench

#endif  // IMAGESEARCH_TESTS_BENCH_LOAD_BARE_H_
