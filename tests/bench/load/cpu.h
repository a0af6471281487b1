// Processor time of this process, of another one and of the whole machine.
#ifndef IMAGESEARCH_TESTS_BENCH_LOAD_CPU_H_
#define IMAGESEARCH_TESTS_BENCH_LOAD_CPU_H_

#include <sys/types.h>

namespace imagesearch::bench {

// Seconds since some fixed moment, so only differences mean something.
struct CpuTimes {
  double generator = 0;  // this process
  double server = 0;     // 0 while there is none
  double others = 0;     // every other process of the machine

  double both() const { return generator + server; }
};

CpuTimes operator-(const CpuTimes& after, const CpuTimes& before);

// `server`: a child process that has not been waited for, or 0.
CpuTimes ReadCpuTimes(pid_t server);

// Resident memory of a process in MiB; 0 when it is gone.
double ResidentMiB(pid_t process);

// Cores that this process may run on.
int Cores();

}  // namespace imagesearch::bench

#endif  // IMAGESEARCH_TESTS_BENCH_LOAD_CPU_H_
