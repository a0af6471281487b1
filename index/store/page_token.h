// Where a List goes on: opaque to clients, and only valid for the list it came from.
#ifndef IMAGESEARCH_INDEX_STORE_PAGE_TOKEN_H_
#define IMAGESEARCH_INDEX_STORE_PAGE_TOKEN_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace imagesearch::index {

// The list goes on behind `last_id`.
std::string EncodePageToken(uint32_t collection, absl::string_view filter,
                            absl::string_view last_id);

// The last id. INVALID_ARGUMENT BAD_PAGE_TOKEN when it is not a token, or one of another list.
absl::StatusOr<std::string> DecodePageToken(absl::string_view token, uint32_t collection,
                                            absl::string_view filter);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_PAGE_TOKEN_H_
