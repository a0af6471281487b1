// Sums over the tensors of the files.
#include "encoder/clip/memory_estimate.h"

#include <algorithm>

#include "encoder/clip/config.h"
#include "encoder/clip/precision.h"
#include "encoder/clip/safetensors.h"

namespace imagesearch::encoder {
namespace {

// Bytes of one weight as the towers hold it. Matrices and filters go to the chosen format; biases
// and the like stay in fp32, and embeddings are looked up in the format of LibTorch's operators.
double BytesOfOne(const std::string& name, const TensorView& tensor, Precision precision) {
  const bool embedding = name.find("embedding") != std::string::npos;
  const bool matrix = tensor.shape.size() >= 2;
  switch (precision) {
    case Precision::kInt8:
      return !matrix ? 4 : embedding ? 2 : 1;
    case Precision::kBf16:
    case Precision::kFp16:
      return matrix ? 2 : 4;
    default:
      return 4;
  }
}

}  // namespace

absl::StatusOr<MemoryEstimate> EstimateMemory(const ClipOptions& options) {
  absl::StatusOr<Backend> backend = ChooseBackend(options);
  if (!backend.ok()) return backend.status();
  absl::StatusOr<ClipConfig> config = ReadConfig(options.model_dir);
  if (!config.ok()) return config.status();
  auto file = Safetensors::Open(options.model_dir, config->weights_file);
  if (!file.ok()) return file.status();
  MemoryEstimate estimate;
  double weights = 0;
  uint64_t largest = 0;
  for (const auto& [name, tensor] : (*file)->tensors()) {
    uint64_t count = 1;
    for (const int64_t extent : tensor.shape) count *= static_cast<uint64_t>(extent);
    weights += static_cast<double>(count) * BytesOfOne(name, tensor, backend->precision);
    largest = std::max(largest, count);
    estimate.fp32 += sizeof(float) * count;
  }
  estimate.weights = static_cast<uint64_t>(weights);
  // One tensor at a time is read to fp32 and converted.
  estimate.peak = estimate.weights + 2 * sizeof(float) * largest;
  return estimate;
}

}  // namespace imagesearch::encoder
