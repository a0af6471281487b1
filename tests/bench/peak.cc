// Twelve independent sums keep both multiply-add pipes of a core full.
#include "tests/bench/peak.h"

#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <thread>
#include <vector>

namespace imagesearch {
namespace {

constexpr int kSums = 12;
constexpr long kRounds = 2'000'000;

__attribute__((target("avx512f"))) void Fp32Loop() {
  __m512 sums[kSums], x = _mm512_set1_ps(1e-9f);
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  for (long round = 0; round < kRounds; ++round) {
#pragma GCC unroll 12
    for (__m512& sum : sums) asm volatile("vfmadd231ps %1, %1, %0" : "+v"(sum) : "v"(x));
  }
}

__attribute__((target("avx512f,avx512bf16"))) void Bf16Loop() {
  __m512 sums[kSums];
  __m512i x = _mm512_setzero_si512();
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  for (long round = 0; round < kRounds; ++round) {
#pragma GCC unroll 12
    for (__m512& sum : sums) asm volatile("vdpbf16ps %1, %1, %0" : "+v"(sum) : "v"(x));
  }
}

__attribute__((target("avx512f,avx512vnni"))) void Int8Loop() {
  __m512i sums[kSums], x = _mm512_setzero_si512();
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  for (long round = 0; round < kRounds; ++round) {
#pragma GCC unroll 12
    for (__m512i& sum : sums) asm volatile("vpdpbusd %1, %1, %0" : "+v"(sum) : "v"(x));
  }
}

double CpuSeconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double WallSeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

double PeakRate(const std::string& number, int threads) {
  void (*loop)() = nullptr;
  double operations = 0;  // of one instruction
  if (number == "fp32" && __builtin_cpu_supports("avx512f")) {
    loop = Fp32Loop;
    operations = 32;
  } else if (number == "bf16" && __builtin_cpu_supports("avx512bf16")) {
    loop = Bf16Loop;
    operations = 64;
  } else if (number == "int8" && __builtin_cpu_supports("avx512vnni")) {
    loop = Int8Loop;
    operations = 128;
  }
  if (loop == nullptr) return 0;
  double seconds = 1e9;
  for (int repeat = 0; repeat < 5; ++repeat) {
    const double begin = threads == 1 ? CpuSeconds() : WallSeconds();
    std::vector<std::thread> others;
    for (int i = 1; i < threads; ++i) others.emplace_back(loop);
    loop();
    for (std::thread& other : others) other.join();
    seconds = std::min(seconds, (threads == 1 ? CpuSeconds() : WallSeconds()) - begin);
  }
  return operations * kSums * kRounds * threads / seconds;
}

}  // namespace imagesearch
