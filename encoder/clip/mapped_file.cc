// mmap, with errors that name the file.
#include "encoder/clip/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace imagesearch::encoder {

absl::StatusOr<std::unique_ptr<MappedFile>> MappedFile::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    const std::string why = absl::StrCat(path, ": ", std::strerror(errno));
    return errno == ENOENT || errno == ENOTDIR
               ? Error(absl::StatusCode::kNotFound, "MODEL_FILE_MISSING", why)
               : Error(absl::StatusCode::kDataLoss, "MODEL_DAMAGED", why);
  }
  struct stat info;
  void* data = MAP_FAILED;
  if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) {
    if (info.st_size == 0) {
      close(fd);
      return Error(absl::StatusCode::kDataLoss, "MODEL_DAMAGED",
                   absl::StrCat(path, ": the file is empty"));
    }
    data = mmap(nullptr, info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  } else {
    errno = EINVAL;  // a folder, a pipe
  }
  const int error = errno;
  close(fd);
  if (data == MAP_FAILED) {
    return Error(absl::StatusCode::kDataLoss, "MODEL_DAMAGED",
                 absl::StrCat(path, ": can't be mapped: ", std::strerror(error)));
  }
  return std::unique_ptr<MappedFile>(
      new MappedFile(path, static_cast<const uint8_t*>(data), info.st_size));
}

MappedFile::~MappedFile() { munmap(const_cast<uint8_t*>(data_), size_); }

}  // namespace imagesearch::encoder
