// What the load generator sends: JPEGs with about a photo's entropy, and texts that are all
// different.
#ifndef IMAGESEARCH_TESTS_BENCH_LOAD_WORKLOAD_H_
#define IMAGESEARCH_TESTS_BENCH_LOAD_WORKLOAD_H_

#include <cstdint>
#include <string>
#include <vector>

namespace imagesearch::bench {

// Made-up photos of 640x480: colour noise that falls off with frequency, hard-edged shapes and
// sensor noise, at quality 88 about 60 kB each.
std::vector<std::string> MakePhotos(int count);

// The same picture as `photo` in bytes that no other number gives: the number follows the image's
// end. So neither a queue nor a cache takes two of them for one.
std::string Numbered(const std::string& photo, uint64_t number);

// A text of 18 common words, which CLIP's tokenizers make about 20 tokens of (with start and end);
// different for each number.
std::string MakeText(uint64_t number);

}  // namespace imagesearch::bench

#endif  // IMAGESEARCH_TESTS_BENCH_LOAD_WORKLOAD_H_
