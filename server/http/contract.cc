// The contract's descriptors, embedded at build time with the comments of the .proto files.
#include "base/embedded_file.h"
#include "server/http/openapi.h"

namespace imagesearch::server {

namespace contract_files {
extern const EmbeddedFile kFiles[];
}  // namespace contract_files

absl::string_view ContractDescriptors() {
  const EmbeddedFile& file = contract_files::kFiles[0];
  return {reinterpret_cast<const char*>(file.bytes), file.size};
}

}  // namespace imagesearch::server
