// The CLIP towers behind the Encoder interface: one factory, everything else hidden.
#ifndef IMAGESEARCH_ENCODER_CLIP_CLIP_ENCODER_H_
#define IMAGESEARCH_ENCODER_CLIP_CLIP_ENCODER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/limits.h"
#include "encoder/encoder.h"

namespace imagesearch::encoder {

enum class Precision { kAuto, kFp32, kBf16, kFp16, kInt8 };

// "auto", "fp32", "bf16", "fp16", "int8"; anything else is INVALID_ARGUMENT.
absl::StatusOr<Precision> ParsePrecision(absl::string_view text);

// Where the towers run. kAuto: on the first CUDA device if LibTorch has one, else on the CPU.
enum class DeviceChoice { kAuto, kCpu, kCuda };

// "auto", "cpu", "cuda"; anything else is INVALID_ARGUMENT.
absl::StatusOr<DeviceChoice> ParseDevice(absl::string_view text);

// The newest instructions that this project's own kernels may use: those of an older CPU can be
// tried out on a newer one. kBest: whatever the CPU has. kAvx512Vnni: not AVX512-BF16. kAvx512:
// nor VNNI. kNone: LibTorch's operators only, as on CPUs without AVX-512.
enum class CpuKernels { kBest, kAvx512Vnni, kAvx512, kNone };

// "best", "avx512_vnni", "avx512", "none"; anything else is INVALID_ARGUMENT.
absl::StatusOr<CpuKernels> ParseCpuKernels(absl::string_view text);

struct ClipOptions {
  // A Hugging Face CLIP directory, an OpenCLIP one, or this project's own kind
  // (encoder/models/*/README.md).
  std::string model_dir;
  // kAuto picks the fastest of fp32 and bf16 (fp16/bf16 on CUDA) that this machine runs; never
  // int8.
  Precision precision = Precision::kAuto;
  DeviceChoice device = DeviceChoice::kAuto;
  CpuKernels kernels = CpuKernels::kBest;
  // Threads of the towers; 0: one for each core.
  int threads = 0;
  ImageLimits image_limits;
  uint32_t max_text_bytes = 4096;
  // Decode large JPEGs at a reduced size (at least three times the tower's) by DCT scaling.
  bool scaled_jpeg_decode = true;
};

// Opens a checkpoint: weights stay memory-mapped until converted. Within seconds, or an error that
// names the file, the tensor and what was expected: NOT_FOUND (missing file), INVALID_ARGUMENT (a
// checkpoint that this build can't read: pickle, unknown architecture, wrong shape, missing
// tensor), DATA_LOSS (truncated or damaged file).
absl::StatusOr<std::unique_ptr<Encoder>> OpenClip(const ClipOptions& options);

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_CLIP_CLIP_ENCODER_H_
