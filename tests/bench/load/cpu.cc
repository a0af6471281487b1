// Reads /proc (see proc(5)).
#include "tests/bench/load/cpu.h"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"

namespace imagesearch::bench {
namespace {

double Ticks(double count) { return count / static_cast<double>(sysconf(_SC_CLK_TCK)); }

double OfThisProcess() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double OfProcess(pid_t process) {
  std::ifstream file(absl::StrCat("/proc/", process, "/stat"));
  std::string line;
  if (!std::getline(file, line)) return 0;
  // The name, field 2, may hold anything but ends with the last parenthesis. utime and stime are
  // fields 14 and 15.
  std::istringstream fields(line.substr(line.rfind(')') + 1));
  std::string skipped;
  for (int field = 3; field < 14; ++field) fields >> skipped;
  double user = 0, system = 0;
  fields >> user >> system;
  return Ticks(user + system);
}

double OfMachine() {
  std::ifstream file("/proc/stat");
  std::string name;
  double user = 0, nice = 0, system = 0, idle = 0, waiting = 0, hard = 0, soft = 0;
  file >> name >> user >> nice >> system >> idle >> waiting >> hard >> soft;
  return Ticks(user + nice + system + hard + soft);
}

}  // namespace

CpuTimes operator-(const CpuTimes& after, const CpuTimes& before) {
  return {after.generator - before.generator, after.server - before.server,
          after.others - before.others};
}

CpuTimes ReadCpuTimes(pid_t server) {
  CpuTimes times;
  times.generator = OfThisProcess();
  if (server > 0) times.server = OfProcess(server);
  times.others = OfMachine() - times.both();
  return times;
}

double ResidentMiB(pid_t process) {
  std::ifstream file(absl::StrCat("/proc/", process, "/status"));
  std::string word;
  while (file >> word) {
    double kib = 0;
    if (word == "VmRSS:" && file >> kib) return kib / 1024;
  }
  return 0;
}

int Cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
}

}  // namespace imagesearch::bench
