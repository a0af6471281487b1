// From /proc/meminfo and the limit of control group version 2.
#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/model_loader.h"

namespace imagesearch::server {
namespace {

constexpr uint64_t kUnknown = std::numeric_limits<uint64_t>::max();

uint64_t MachineMemory() {
  std::ifstream file("/proc/meminfo");
  std::string key, unit;
  uint64_t kib = 0;
  while (file >> key >> kib) {
    if (key == "MemAvailable:") return kib << 10;
    std::getline(file, unit);
  }
  return kUnknown;
}

// Of the first line "0::/PATH" of /proc/self/cgroup.
std::string GroupFolder() {
  std::ifstream file("/proc/self/cgroup");
  std::string line;
  while (std::getline(file, line)) {
    if (line.rfind("0::", 0) == 0) return absl::StrCat("/sys/fs/cgroup", line.substr(3));
  }
  return "/sys/fs/cgroup";
}

uint64_t ReadNumber(const std::string& path) {
  std::ifstream file(path);
  std::string text;
  uint64_t value = 0;
  return file >> text && absl::SimpleAtoi(text, &value) ? value : kUnknown;  // "max": no limit
}

// Pages of files that the kernel can drop count as used in memory.current.
uint64_t InactiveFiles(const std::string& folder) {
  std::ifstream file(folder + "/memory.stat");
  std::string key;
  uint64_t value = 0;
  while (file >> key >> value) {
    if (key == "inactive_file") return value;
  }
  return 0;
}

uint64_t GroupMemory() {
  const std::string folder = GroupFolder();
  const uint64_t limit = ReadNumber(folder + "/memory.max");
  const uint64_t used = ReadNumber(folder + "/memory.current");
  if (limit == kUnknown || used == kUnknown) return kUnknown;
  const uint64_t held = used - std::min(used, InactiveFiles(folder));
  return limit - std::min(limit, held);
}

}  // namespace

uint64_t AvailableMemory() { return std::min(MachineMemory(), GroupMemory()); }

}  // namespace imagesearch::server
