// Chooses the arithmetic from what the machine can do.
#include "encoder/clip/precision.h"

#include <ATen/Context.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace imagesearch::encoder {
namespace {

using kernels::Number;

// AMX multiplies bf16 several times faster than AVX-512 does; oneDNN, inside LibTorch, uses it.
bool CpuHasAmx() {
#if defined(__x86_64__)
  unsigned int eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (edx >> 22 & 1) != 0;  // AMX-BF16
#else
  return false;
#endif
}

bool CpuHasBf16() { return kernels::Supported(Number::kBf16) || CpuHasAmx(); }

absl::Status Unsupported(absl::string_view what) {
  return InvalidArgument("PRECISION_UNSUPPORTED", what);
}

}  // namespace

absl::StatusOr<Precision> ParsePrecision(absl::string_view text) {
  for (const Precision precision :
       {Precision::kAuto, Precision::kFp32, Precision::kBf16, Precision::kFp16, Precision::kInt8}) {
    if (text == PrecisionName(precision)) return precision;
  }
  return InvalidArgument("BAD_PRECISION", "precision must be one of auto, fp32, bf16, fp16, int8");
}

std::string PrecisionName(Precision precision) {
  switch (precision) {
    case Precision::kAuto:
      return "auto";
    case Precision::kFp32:
      return "fp32";
    case Precision::kBf16:
      return "bf16";
    case Precision::kFp16:
      return "fp16";
    case Precision::kInt8:
      return "int8";
  }
  return "";
}

std::string PrecisionClass(Precision precision) {
  return precision == Precision::kInt8 ? "int8" : "float";
}

at::ScalarType Backend::type() const {
  // What is not packed to 8 bits runs in bf16 beside it.
  if (precision == Precision::kBf16 || precision == Precision::kInt8) return at::kBFloat16;
  if (precision == Precision::kFp16) return at::kHalf;
  return at::kFloat;
}

absl::StatusOr<Backend> ChooseBackend(Precision wanted) {
  Backend backend;
  backend.precision = wanted;
  backend.reason = "asked for";
  if (at::hasCUDA()) {
    backend.device = at::Device(at::kCUDA, 0);
    if (wanted == Precision::kInt8) return Unsupported("int8 runs on CPUs only");
    if (wanted == Precision::kAuto) {
      backend.precision = Precision::kFp16;
      backend.reason = "auto: a CUDA device is present";
    }
    return backend;
  }
  switch (wanted) {
    case Precision::kAuto:
      backend.precision = CpuHasBf16() ? Precision::kBf16 : Precision::kFp32;
      backend.reason = CpuHasBf16() ? "auto: the CPU multiplies bf16 (AVX512-BF16 or AMX)"
                                    : "auto: the CPU has neither AVX512-BF16 nor AMX";
      break;
    case Precision::kBf16:
      if (!CpuHasBf16())
        backend.reason = "asked for; slow, since the CPU has neither AVX512-BF16 nor AMX";
      break;
    case Precision::kFp16:
      return Unsupported("fp16 runs on CUDA devices only; use fp32 or bf16 on a CPU");
    case Precision::kInt8:
      if (!kernels::Supported(Number::kInt8))
        return Unsupported("int8 needs a CPU with AVX512-VNNI and AVX512-BF16");
      break;
    case Precision::kFp32:
      break;
  }
  return backend;
}

std::optional<kernels::Number> PackedNumber(const Backend& backend) {
  if (backend.plain || !backend.device.is_cpu()) return std::nullopt;
  const Number number = backend.precision == Precision::kInt8   ? Number::kInt8
                        : backend.precision == Precision::kBf16 ? Number::kBf16
                                                                : Number::kFp32;
  if (number == Number::kBf16 && CpuHasAmx()) return std::nullopt;
  if (!kernels::Supported(number)) return std::nullopt;
  return number;
}

std::unique_ptr<Transformer> MakeTransformer(const TransformerConfig& config,
                                             const BlockSource& block, const Backend& backend) {
  const std::optional<Number> number = PackedNumber(backend);
  if (number && config.width % 4 == 0 && config.mlp_width % 4 == 0)
    return MakePackedTransformer(config, block, *number);
  return MakeTorchTransformer(config, block, backend.type(), backend.device);
}

}  // namespace imagesearch::encoder
