// A thread that calls a function at intervals until it is destroyed.
#ifndef IMAGESEARCH_SERVER_SECURITY_PERIODIC_H_
#define IMAGESEARCH_SERVER_SECURITY_PERIODIC_H_

#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "base/mutex.h"

namespace imagesearch::server {

// The first call comes one interval after construction. The destructor waits for a call that runs.
class Periodic {
 public:
  Periodic(absl::Duration interval, std::function<void()> call);
  ~Periodic();
  Periodic(const Periodic&) = delete;
  Periodic& operator=(const Periodic&) = delete;

 private:
  void Run();

  const absl::Duration interval_;
  const std::function<void()> call_;
  Mutex mutex_;
  CondVar stopped_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_SECURITY_PERIODIC_H_
