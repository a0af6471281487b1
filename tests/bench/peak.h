// The most that the cores can do: multiply-add loops that touch registers only.
#ifndef IMAGESEARCH_TESTS_BENCH_PEAK_H_
#define IMAGESEARCH_TESTS_BENCH_PEAK_H_

#include <string>

namespace imagesearch {

// Operations (a multiply and an add are two) a second of `threads` threads for "fp32", "bf16" or
// "int8", by the wall clock, or with one thread by that thread's CPU time. 0 where the CPU lacks
// the instruction (AVX-512, AVX512-BF16, AVX512-VNNI).
double PeakRate(const std::string& number, int threads);

}  // namespace imagesearch

#endif  // IMAGESEARCH_TESTS_BENCH_PEAK_H_
