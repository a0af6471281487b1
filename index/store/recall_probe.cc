#include "index/store/recall_probe.h"

namespace imagesearch::index {

void RecallProbe::Offer(QueryKind kind, const std::vector<float>& vector) {
  if (!mutex_.TryLock()) return;
  OfKind& of_kind = kinds_[static_cast<size_t>(kind)];
  if (!of_kind.waiting) of_kind.waiting = vector;
  if (kind == QueryKind::kText) {
    if (texts_.size() < kTextSample) {
      texts_.push_back(vector);
    } else {
      texts_[next_text_] = vector;
      next_text_ = (next_text_ + 1) % kTextSample;
    }
  }
  mutex_.Unlock();
}

std::vector<std::pair<QueryKind, std::vector<float>>> RecallProbe::Take() {
  MutexLock lock(&mutex_);
  std::vector<std::pair<QueryKind, std::vector<float>>> taken;
  for (size_t kind = 0; kind < kinds_.size(); ++kind) {
    if (!kinds_[kind].waiting) continue;
    taken.emplace_back(static_cast<QueryKind>(kind), *std::move(kinds_[kind].waiting));
    kinds_[kind].waiting.reset();
  }
  return taken;
}

void RecallProbe::Report(QueryKind kind, int found, int wanted) {
  MutexLock lock(&mutex_);
  OfKind& of_kind = kinds_[static_cast<size_t>(kind)];
  if (of_kind.results.size() < kRemembered) {
    of_kind.results.emplace_back(found, wanted);
  } else {
    of_kind.results[of_kind.next] = {found, wanted};
    of_kind.next = (of_kind.next + 1) % kRemembered;
  }
}

std::optional<double> RecallProbe::Recall(QueryKind kind) const {
  MutexLock lock(&mutex_);
  int64_t found = 0, wanted = 0;
  for (const auto& [f, w] : kinds_[static_cast<size_t>(kind)].results) {
    found += f;
    wanted += w;
  }
  if (wanted == 0) return std::nullopt;
  return static_cast<double>(found) / static_cast<double>(wanted);
}

std::vector<float> RecallProbe::TextSample() const {
  MutexLock lock(&mutex_);
  std::vector<float> sample;
  for (const std::vector<float>& text : texts_) {
    sample.insert(sample.end(), text.begin(), text.end());
  }
  return sample;
}

}  // namespace imagesearch::index
