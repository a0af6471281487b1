// SHA-256 of bytes, as ids and journals use it.
#ifndef IMAGESEARCH_CLIENT_BULK_CONTENT_HASH_H_
#define IMAGESEARCH_CLIENT_BULK_CONTENT_HASH_H_

#include <string>

#include "absl/strings/string_view.h"

namespace imagesearch::client {

// 64 lower-case hex digits, equal to StoredImage.content_hash of the same bytes.
std::string ContentHash(absl::string_view bytes);

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_BULK_CONTENT_HASH_H_
