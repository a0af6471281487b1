// Virtual times under one mutex, and the decorator.
#include "encoder/turns.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

namespace imagesearch::encoder {
namespace {

// Who ends one batch and has another comes back within this time. Without waiting for it, a user of
// short batches would lose every second turn to one of long batches, however little it had.
constexpr std::chrono::microseconds kBackSoon(500);

}  // namespace

int Turns::AddUser() {
  MutexLock lock(&mutex_);
  users_[next_user_].virtual_time = now_;
  return next_user_++;
}

void Turns::RemoveUser(int user) {
  MutexLock lock(&mutex_);
  users_.erase(user);
  changed_.SignalAll();
}

double Turns::SecondsOf(int user) const {
  MutexLock lock(&mutex_);
  auto found = users_.find(user);
  return found == users_.end() ? 0 : found->second.seconds;
}

bool Turns::IsNext(int user) const {
  if (running_) return false;
  const double mine = users_.at(user).virtual_time;
  const auto now = CondVar::Clock::now();
  return std::none_of(users_.begin(), users_.end(), [&](const auto& other) {
    const User& them = other.second;
    return (them.waiting > 0 || now < them.back_by) &&
           (them.virtual_time < mine || (them.virtual_time == mine && other.first < user));
  });
}

Turns::Turn::Turn(Turns* turns, int user) : turns_(*turns), user_(user) {
  MutexLock lock(&turns_.mutex_);
  User& self = turns_.users_[user];
  if (self.waiting++ == 0) self.virtual_time = std::max(self.virtual_time, turns_.now_);
  while (!turns_.IsNext(user)) {
    if (turns_.running_) {
      turns_.changed_.Wait(&turns_.mutex_);
    } else {
      turns_.changed_.WaitUntil(&turns_.mutex_, CondVar::Clock::now() + kBackSoon);
    }
  }
  --self.waiting;
  turns_.running_ = true;
  turns_.now_ = self.virtual_time;
  start_ = CondVar::Clock::now();
}

Turns::Turn::~Turn() {
  const double seconds = std::chrono::duration<double>(CondVar::Clock::now() - start_).count();
  MutexLock lock(&turns_.mutex_);
  User& self = turns_.users_[user_];
  self.virtual_time += seconds;
  self.seconds += seconds;
  self.back_by = CondVar::Clock::now() + kBackSoon;
  turns_.running_ = false;
  turns_.changed_.SignalAll();
}

namespace {

class TurnTaking final : public Encoder {
 public:
  TurnTaking(std::unique_ptr<Encoder> inner, std::shared_ptr<Turns> turns)
      : inner_(std::move(inner)), turns_(std::move(turns)), user_(turns_->AddUser()) {}
  ~TurnTaking() override { turns_->RemoveUser(user_); }

  const ModelInfo& model() const override { return inner_->model(); }
  absl::StatusOr<Prepared> Prepare(const Input& input) const override {
    return inner_->Prepare(input);
  }
  std::vector<absl::StatusOr<Embedding>> Embed(
      const std::vector<const Prepared*>& prepared) override {
    const Turns::Turn turn(turns_.get(), user_);
    return inner_->Embed(prepared);
  }

 private:
  const std::unique_ptr<Encoder> inner_;
  const std::shared_ptr<Turns> turns_;
  const int user_;
};

}  // namespace

std::unique_ptr<Encoder> MakeTurnTaking(std::unique_ptr<Encoder> inner,
                                        std::shared_ptr<Turns> turns) {
  return std::make_unique<TurnTaking>(std::move(inner), std::move(turns));
}

}  // namespace imagesearch::encoder
