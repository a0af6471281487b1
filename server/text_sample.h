// What text queries look like to a model: vectors of a shipped list of everyday words and captions.
// Indexes learn from them where text queries lie before anybody has asked one
// (index::EmbeddedOptions::text_sample).
#ifndef IMAGESEARCH_SERVER_TEXT_SAMPLE_H_
#define IMAGESEARCH_SERVER_TEXT_SAMPLE_H_

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "encoder/encoder.h"

namespace imagesearch::server {

// The shipped list, a text each: 100 to 2,000 of them.
const std::vector<std::string>& SampleTexts();

// Thread-safe. Encoded once for each model and kept in `folder`, so that a start costs nothing:
// a file is named after model and list, and ends in a SHA-256 of itself; one that does not fit is
// made anew.
class TextSamples {
 public:
  explicit TextSamples(std::string folder) : folder_(std::move(folder)) {}
  // Stops the encoding and waits for what runs.
  ~TextSamples();

  // Reads the model's vectors or, in the background and behind all other work, makes them.
  void Add(std::shared_ptr<encoder::Encoder> encoder);

  // (n, dimension) row-major, length 1; empty while they are not there, or for another model.
  std::vector<float> Of(const std::string& model_fingerprint) const;

 private:
  void Encode(encoder::Encoder& encoder);
  bool Read(const encoder::ModelInfo& model, const std::string& path);
  void Keep(const std::string& fingerprint, std::vector<float> vectors);
  std::string PathOf(const encoder::ModelInfo& model) const;

  const std::string folder_;
  const std::shared_ptr<std::atomic<bool>> stopped_ = std::make_shared<std::atomic<bool>>(false);
  mutable Mutex mutex_;
  std::map<std::string, std::vector<float>> samples_ ABSL_GUARDED_BY(mutex_);  // by fingerprint
  std::vector<std::thread> encoding_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_TEXT_SAMPLE_H_
