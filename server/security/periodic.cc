// Waits on the steady clock, so that a change of the wall clock neither hurries nor delays a call.
#include "server/security/periodic.h"

#include <utility>

namespace imagesearch::server {

Periodic::Periodic(absl::Duration interval, std::function<void()> call)
    : interval_(interval), call_(std::move(call)), thread_([this] { Run(); }) {}

Periodic::~Periodic() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    stopped_.SignalAll();
  }
  thread_.join();
}

void Periodic::Run() {
  while (true) {
    {
      MutexLock lock(&mutex_);
      const auto wake = CondVar::Clock::now() + absl::ToChronoNanoseconds(interval_);
      while (!stopping_ && stopped_.WaitUntil(&mutex_, wake)) {
      }
      if (stopping_) return;
    }
    call_();
  }
}

}  // namespace imagesearch::server
