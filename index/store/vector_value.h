// The value of one key in column family `vectors`: the id that the slot belongs to, and the vector.
#ifndef IMAGESEARCH_INDEX_STORE_VECTOR_VALUE_H_
#define IMAGESEARCH_INDEX_STORE_VECTOR_VALUE_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "index/store/keys.h"

namespace imagesearch::index {

// Big-endian uint16 length of the id, the id, then the vector as little-endian float32.
inline std::string EncodeVectorValue(absl::string_view id, absl::Span<const float> vector) {
  std::string value;
  value.reserve(2 + id.size() + vector.size() * sizeof(float));
  AppendBigEndian(static_cast<uint16_t>(id.size()), &value);
  value.append(id.data(), id.size());
  value.append(reinterpret_cast<const char*>(vector.data()), vector.size() * sizeof(float));
  return value;
}

// `vector` gets `dimension` values. False: not such a value.
inline bool DecodeVectorValue(absl::string_view value, int dimension, absl::string_view* id,
                              std::vector<float>* vector) {
  if (value.size() < 2) return false;
  const size_t id_size = ReadBigEndian<uint16_t>(value);
  if (value.size() != 2 + id_size + dimension * sizeof(float)) return false;
  *id = value.substr(2, id_size);
  vector->resize(dimension);
  std::memcpy(vector->data(), value.data() + 2 + id_size, dimension * sizeof(float));
  return true;
}

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_VECTOR_VALUE_H_
