// Opens checkpoints for a running server.
#ifndef IMAGESEARCH_SERVER_MODEL_LOADER_H_
#define IMAGESEARCH_SERVER_MODEL_LOADER_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "server/models.h"

namespace imagesearch::server {

// Thread-safe. `precision`: empty for the server's setting, else auto, fp32, bf16, fp16 or int8.
class ModelLoader {
 public:
  virtual ~ModelLoader() = default;

  // Bytes that loading the checkpoint takes at most, told from its headers.
  virtual absl::StatusOr<uint64_t> Estimate(const std::string& folder,
                                            const std::string& precision) const = 0;
  // Reads the weights, runs the self-test and warms up. Takes its time.
  virtual absl::StatusOr<ServedModel> Load(const std::string& folder,
                                           const std::string& precision) = 0;
};

// Bytes that this process may still take: what the machine has available, or its container's limit
// leaves.
uint64_t AvailableMemory();

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_MODEL_LOADER_H_
