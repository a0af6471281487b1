// A file that is part of the binary (cmake/EmbedFiles.cmake).
#ifndef IMAGESEARCH_BASE_EMBEDDED_FILE_H_
#define IMAGESEARCH_BASE_EMBEDDED_FILE_H_

#include <cstddef>

namespace imagesearch {

struct EmbeddedFile {
  const char* name;  // without folder
  const unsigned char* bytes;
  size_t size;
  const char* sha256;  // lower-case hex
};

}  // namespace imagesearch

#endif  // IMAGESEARCH_BASE_EMBEDDED_FILE_H_
