// Bounds-checked reading of integers from hostile bytes.
#ifndef IMAGESEARCH_ENCODER_IMAGE_BYTE_READER_H_
#define IMAGESEARCH_ENCODER_IMAGE_BYTE_READER_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace imagesearch::encoder {

inline uint8_t ByteAt(absl::string_view bytes, size_t at) {
  return static_cast<uint8_t>(bytes[at]);
}

// Whether [at, at + size) lies inside `bytes`; no overflow for any arguments.
inline bool Has(absl::string_view bytes, size_t at, size_t size) {
  return at <= bytes.size() && size <= bytes.size() - at;
}

// The integer of 2 or 4 bytes at `at`; the caller has checked Has().
inline uint32_t Le16(absl::string_view b, size_t at) {
  return ByteAt(b, at) | uint32_t{ByteAt(b, at + 1)} << 8;
}
inline uint32_t Le32(absl::string_view b, size_t at) { return Le16(b, at) | Le16(b, at + 2) << 16; }
inline uint32_t Be16(absl::string_view b, size_t at) {
  return uint32_t{ByteAt(b, at)} << 8 | ByteAt(b, at + 1);
}
inline uint32_t Be32(absl::string_view b, size_t at) { return Be16(b, at) << 16 | Be16(b, at + 2); }

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_IMAGE_BYTE_READER_H_
