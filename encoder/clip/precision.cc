// Chooses the arithmetic from what the machine can do.
#include "encoder/clip/precision.h"

#include <ATen/Context.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "encoder/clip/onednn_linear.h"

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

bool Usable(Number number, CpuKernels kernels) {
  if (kernels == CpuKernels::kNone || !kernels::Supported(number)) return false;
  if (number == Number::kBf16) return kernels == CpuKernels::kBest;
  return number == Number::kFp32 || kernels != CpuKernels::kAvx512;
}

bool CpuHasBf16(CpuKernels kernels) {
  return Usable(Number::kBf16, kernels) || (kernels == CpuKernels::kBest && CpuHasAmx());
}

absl::Status Unsupported(absl::string_view what) {
  return InvalidArgument("PRECISION_UNSUPPORTED", what);
}

}  // namespace

absl::StatusOr<DeviceChoice> ParseDevice(absl::string_view text) {
  if (text == "auto") return DeviceChoice::kAuto;
  if (text == "cpu") return DeviceChoice::kCpu;
  if (text == "cuda") return DeviceChoice::kCuda;
  return InvalidArgument("BAD_DEVICE", "device must be one of auto, cpu, cuda");
}

absl::StatusOr<CpuKernels> ParseCpuKernels(absl::string_view text) {
  if (text == "best") return CpuKernels::kBest;
  if (text == "avx512_vnni") return CpuKernels::kAvx512Vnni;
  if (text == "avx512") return CpuKernels::kAvx512;
  if (text == "none") return CpuKernels::kNone;
  return InvalidArgument("BAD_KERNELS", "kernels must be one of best, avx512_vnni, avx512, none");
}

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
  // What is not packed to 8 bits runs beside it in what the CPU is fast at.
  if (precision == Precision::kInt8) return CpuHasBf16(kernels) ? at::kBFloat16 : at::kFloat;
  if (precision == Precision::kFp16) return at::kHalf;
  return at::kFloat;
}

absl::StatusOr<Backend> ChooseBackend(const ClipOptions& options) {
  const Precision wanted = options.precision;
  Backend backend;
  backend.precision = wanted;
  backend.kernels = options.kernels;
  backend.reason = "asked for";
  if (options.device == DeviceChoice::kCuda && !at::hasCUDA()) {
    return InvalidArgument(
        "DEVICE_UNSUPPORTED",
        absl::StrCat("device cuda: ", at::Context::hasCUDART()
                                          ? "LibTorch sees no CUDA device"
                                          : "this LibTorch is built for CPUs only; "
                                            "LIBTORCH_DIR=DIR deploy/install-deps.sh takes one "
                                            "that is built for CUDA"));
  }
  if (options.device != DeviceChoice::kCpu && at::hasCUDA()) {
    backend.device = at::Device(at::kCUDA, 0);
    if (wanted == Precision::kInt8) return Unsupported("int8 runs on CPUs only: give device cpu");
    if (wanted == Precision::kAuto) {
      backend.precision = Precision::kFp16;
      backend.reason = "auto: a CUDA device is present";
    }
    return backend;
  }
  const bool has_bf16 = CpuHasBf16(options.kernels);
  switch (wanted) {
    case Precision::kAuto:
      backend.precision = has_bf16 ? Precision::kBf16 : Precision::kFp32;
      backend.reason = has_bf16 ? "auto: the CPU multiplies bf16 (AVX512-BF16 or AMX)"
                                : "auto: the CPU has neither AVX512-BF16 nor AMX";
      break;
    case Precision::kBf16:
      if (!has_bf16)
        backend.reason = "asked for; slow, since the CPU has neither AVX512-BF16 nor AMX";
      break;
    case Precision::kFp16:
      return Unsupported("fp16 runs on CUDA devices only; use fp32 or bf16 on a CPU");
    case Precision::kInt8:
      if (!Usable(Number::kInt8, options.kernels))
        return Unsupported("int8 needs a CPU with AVX512-VNNI");
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
  if (!Usable(number, backend.kernels)) return std::nullopt;
  return number;
}

kernels::Number WideNumber(const Backend& backend) {
  const Number number = PackedNumber(backend).value_or(Number::kFp32);
  if (number != Number::kInt8) return number;
  return Usable(Number::kBf16, backend.kernels) ? Number::kBf16 : Number::kFp32;
}

std::unique_ptr<Transformer> MakeTransformer(const TransformerConfig& config,
                                             const BlockSource& block, const Backend& backend) {
  const std::optional<Number> number = PackedNumber(backend);
  if (number && config.width % 4 == 0 && config.mlp_width % 4 == 0)
    return MakePackedTransformer(config, block, *number, WideNumber(backend));
  const bool onednn =
      !backend.plain && backend.device.is_cpu() && OneDnnLinear::Available(backend.type());
  return MakeTorchTransformer(config, block, backend.type(), backend.device, onednn);
}

}  // namespace imagesearch::encoder
