// What a batch costs, by kind and size: measured at start, corrected by every batch since.
#ifndef IMAGESEARCH_ENCODER_BATCH_COST_MODEL_H_
#define IMAGESEARCH_ENCODER_BATCH_COST_MODEL_H_

#include <array>
#include <vector>

#include "absl/time/time.h"
#include "encoder/encoder.h"

namespace imagesearch::encoder {

// Not thread-safe.
class BatchCostModel {
 public:
  BatchCostModel(int max_images, int max_texts);

  // Runs batches of 1, 2, 4, ... up to the largest of each kind through the towers, as many as fit
  // the budget; a kind of which even one exceeds its half is measured once all the same.
  void Measure(Encoder& encoder, absl::Duration budget);

  // Takes note of a batch that has run.
  void Observe(Input::Kind kind, int size, double seconds);

  // The batch ran out of memory: none of that kind gets as large again.
  void LimitSize(Input::Kind kind, int largest);

  // Seconds of a batch, 0 while nothing is known; between and beyond known sizes linear.
  double Seconds(Input::Kind kind, int size) const;

  // The size at which batches of this kind are worth running while there is enough to do. None
  // takes longer than six single images, so that what comes in meanwhile need not wait longer.
  // Among those it is the largest while that one's time is not known yet, else the smallest whose
  // time for each item is within 3 % of the best.
  int BestSize(Input::Kind kind) const;

 private:
  struct Curve {
    int largest = 1;
    // seconds[i]: of a batch of 1 << i items; negative while unknown.
    std::vector<double> seconds;
  };
  Curve& curve(Input::Kind kind) { return curves_[static_cast<size_t>(kind)]; }
  const Curve& curve(Input::Kind kind) const { return curves_[static_cast<size_t>(kind)]; }

  std::array<Curve, 2> curves_;
  double quiet_image_ = 0;  // seconds of one image as measured at start; 0: not measured
};

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_BATCH_COST_MODEL_H_
