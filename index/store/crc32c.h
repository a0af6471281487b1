// CRC-32C (Castagnoli, RFC 3720), as every file of the index room carries it.
#ifndef IMAGESEARCH_INDEX_STORE_CRC32C_H_
#define IMAGESEARCH_INDEX_STORE_CRC32C_H_

#include <cstddef>
#include <cstdint>

namespace imagesearch::index {

// Of `size` bytes at `data`; `crc` is that of the bytes before them. Thread-safe.
uint32_t Crc32c(const void* data, size_t size, uint32_t crc = 0);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_CRC32C_H_
