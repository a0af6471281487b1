// Chooses the arithmetic from what the machine can do.
#include "encoder/clip/precision.h"

#include <ATen/Context.h>

#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace imagesearch::encoder {
namespace {

bool CpuHasBf16() { return __builtin_cpu_supports("avx512bf16"); }

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
  if (precision == Precision::kBf16) return at::kBFloat16;
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
      backend.reason =
          CpuHasBf16() ? "auto: the CPU has AVX512-BF16" : "auto: the CPU has no AVX512-BF16";
      break;
    case Precision::kBf16:
      if (!CpuHasBf16()) backend.reason = "asked for; slow, since the CPU has no AVX512-BF16";
      break;
    case Precision::kFp16:
      return Unsupported("fp16 runs on CUDA devices only; use fp32 or bf16 on a CPU");
    case Precision::kInt8:
      return Unsupported("int8 is not available in this build");
    case Precision::kFp32:
      break;
  }
  return backend;
}

std::unique_ptr<Transformer> MakeTransformer(const TransformerConfig& config,
                                             const BlockSource& block, const Backend& backend) {
  return MakeTorchTransformer(config, block, backend.type(), backend.device);
}

}  // namespace imagesearch::encoder
