// Inputs that the fuzzers begin with: small, whole and ours.
#ifndef IMAGESEARCH_TESTS_FUZZ_SEEDS_H_
#define IMAGESEARCH_TESTS_FUZZ_SEEDS_H_

#include <string>
#include <vector>

namespace imagesearch::fuzz {

std::vector<std::string> ImageSeeds();     // image_seeds.cc
std::vector<std::string> SnapshotSeeds();  // file_seeds.cc
std::vector<std::string> BackupSeeds();

}  // namespace imagesearch::fuzz

#endif  // IMAGESEARCH_TESTS_FUZZ_SEEDS_H_
