// Which arithmetic the towers run in, and on what device.
#ifndef IMAGESEARCH_ENCODER_CLIP_PRECISION_H_
#define IMAGESEARCH_ENCODER_CLIP_PRECISION_H_

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "encoder/clip/clip_encoder.h"
#include "encoder/clip/kernels/gemm.h"
#include "encoder/clip/transformer.h"

namespace imagesearch::encoder {

struct Backend {
  Precision precision = Precision::kFp32;  // never kAuto
  std::string reason;                      // why, for people
  at::Device device = at::kCPU;
  // Only LibTorch's plain operators: what a self-test compares with.
  bool plain = false;
  CpuKernels kernels = CpuKernels::kBest;

  // Of weights in LibTorch operators.
  at::ScalarType type() const;
};

// What this machine can do of the precision, device and kernels that `options` want.
// INVALID_ARGUMENT PRECISION_UNSUPPORTED or DEVICE_UNSUPPORTED when it can't.
absl::StatusOr<Backend> ChooseBackend(const ClipOptions& options);

// "fp32", "bf16", "fp16", "int8".
std::string PrecisionName(Precision precision);

// Vectors of one class are comparable: fp32, bf16 and fp16 are one, int8 is another.
std::string PrecisionClass(Precision precision);

// The number format for this project's own kernels; none where LibTorch's operators are to be used.
std::optional<kernels::Number> PackedNumber(const Backend& backend);

// Where PackedNumber() is kInt8: the format for what has no 8-bit form, bf16 where the CPU
// multiplies it, else fp32. Else the same as PackedNumber().
kernels::Number WideNumber(const Backend& backend);

// The fastest implementation that the backend allows.
std::unique_ptr<Transformer> MakeTransformer(const TransformerConfig& config,
                                             const BlockSource& block, const Backend& backend);

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_CLIP_PRECISION_H_
