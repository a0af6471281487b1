// Keys of the store: big-endian numbers, so that RocksDB's byte order is number order. Collections
// are key prefixes (docs/formats.md).
#ifndef IMAGESEARCH_INDEX_STORE_KEYS_H_
#define IMAGESEARCH_INDEX_STORE_KEYS_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace imagesearch::index {

template <typename T>
void AppendBigEndian(T value, std::string* out) {
  for (int shift = 8 * (sizeof(T) - 1); shift >= 0; shift -= 8) {
    out->push_back(static_cast<char>(value >> shift));
  }
}

// `bytes` holds at least sizeof(T).
template <typename T>
T ReadBigEndian(absl::string_view bytes) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

// The first key of a collection in `items` and `vectors`; that of `collection + 1` ends it.
inline std::string CollectionPrefix(uint32_t collection) {
  std::string key;
  AppendBigEndian(collection, &key);
  return key;
}

inline std::string ItemKey(uint32_t collection, absl::string_view id) {
  std::string key = CollectionPrefix(collection);
  key.append(id.data(), id.size());
  return key;
}

inline std::string VectorKey(uint32_t collection, uint32_t slot) {
  std::string key = CollectionPrefix(collection);
  AppendBigEndian(slot, &key);
  return key;
}

inline std::string ChangeKey(uint64_t version) {
  std::string key;
  AppendBigEndian(version, &key);
  return key;
}

// Column family `default`.
inline constexpr char kVersionKey[] = "version";                 // big-endian uint64
inline constexpr char kInstanceKey[] = "instance";               // text
inline constexpr char kTimelineKey[] = "timeline";               // text; only after a restore
inline constexpr char kNextCollectionKey[] = "next_collection";  // big-endian uint32
inline constexpr char kAliasPrefix[] = "alias/";  // then the alias -> name of its collection
inline constexpr char kAliasEnd[] = "alias0";
inline constexpr char kCollectionTag = 'c';
inline constexpr char kCountersTag = 'n';

// "c" or "n" + collection. No other key of `default` is 5 bytes long.
inline std::string TaggedKey(char tag, uint32_t collection) {
  std::string key(1, tag);
  AppendBigEndian(collection, &key);
  return key;
}

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_KEYS_H_
