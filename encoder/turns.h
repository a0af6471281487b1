// Lets several models share one machine: their towers run one batch at a time, since each batch
// uses all threads already, and every model gets an equal share of the time that is asked for.
#ifndef IMAGESEARCH_ENCODER_TURNS_H_
#define IMAGESEARCH_ENCODER_TURNS_H_

#include <map>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "encoder/encoder.h"

namespace imagesearch::encoder {

// Thread-safe. Start-time fair queueing (Goyal, Vin and Cheng 1996): of the users that wait, the
// one with the earliest virtual time goes next; its time then grows by what its turn took. Who
// comes after a rest starts at the present virtual time, so that rest can't be saved up.
class Turns {
 public:
  // A turn, from construction (which waits for it) to destruction.
  class Turn {
   public:
    Turn(Turns* turns, int user);
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    Turns& turns_;
    const int user_;
    CondVar::Clock::time_point start_;
  };

  int AddUser();
  void RemoveUser(int user);
  // Seconds of all turns of the user so far.
  double SecondsOf(int user) const;

 private:
  struct User {
    double virtual_time = 0;
    double seconds = 0;
    int waiting = 0;
    CondVar::Clock::time_point back_by{};  // until when it counts as waiting after a turn
  };
  bool IsNext(int user) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  CondVar changed_;
  std::map<int, User> users_ ABSL_GUARDED_BY(mutex_);
  int next_user_ ABSL_GUARDED_BY(mutex_) = 0;
  bool running_ ABSL_GUARDED_BY(mutex_) = false;
  double now_ ABSL_GUARDED_BY(mutex_) = 0;  // virtual time at which the last turn began
};

// `inner` with its Embed calls in turns. Prepare runs at any time.
std::unique_ptr<Encoder> MakeTurnTaking(std::unique_ptr<Encoder> inner,
                                        std::shared_ptr<Turns> turns);

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_TURNS_H_
