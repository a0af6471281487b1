// Reading and writing the index format: little-endian numbers and arrays whose sizes are known
// before they are read, so that a damaged file can't make the reader allocate.
#ifndef IMAGESEARCH_INDEX_ANN_BYTE_STREAM_H_
#define IMAGESEARCH_INDEX_ANN_BYTE_STREAM_H_

#include <bit>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "index/ann/ann_index.h"

namespace imagesearch::index {

static_assert(std::endian::native == std::endian::little, "the index format is little-endian");

template <class T>
void WriteValue(ByteSink& sink, const T& value) {
  static_assert(std::is_arithmetic_v<T>);
  sink.Write(&value, sizeof(value));
}

template <class Vector>
void WriteArray(ByteSink& sink, const Vector& values) {
  static_assert(std::is_arithmetic_v<typename Vector::value_type>);
  if (!values.empty()) sink.Write(values.data(), values.size() * sizeof(values[0]));
}

template <class T>
bool ReadValue(ByteSource& source, T& value) {
  static_assert(std::is_arithmetic_v<T>);
  return source.Read(&value, sizeof(value));
}

// Makes `values` exactly `count` long, a count that the reader has worked out and bounded. false,
// and nothing allocated, when the stream holds less.
template <class Vector>
bool ReadArray(ByteSource& source, uint64_t count, Vector& values) {
  constexpr uint64_t kSize = sizeof(typename Vector::value_type);
  if (count > source.remaining() / kSize) return false;
  values.resize(count);
  return count == 0 || source.Read(values.data(), count * kSize);
}

// DATA_LOSS of a stored index, with what is wrong about it.
absl::Status DamagedIndex(absl::string_view what);

// Whether it is a permutation of 0..n-1.
bool IsPermutation(const std::vector<uint32_t>& order);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_BYTE_STREAM_H_
