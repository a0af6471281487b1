// Memory on a cache line's boundary that grows but keeps nothing.
#ifndef IMAGESEARCH_ENCODER_CLIP_ALIGNED_BUFFER_H_
#define IMAGESEARCH_ENCODER_CLIP_ALIGNED_BUFFER_H_

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace imagesearch::encoder {

class AlignedBuffer {
 public:
  // At least `bytes`; the contents are lost when it grows. Throws std::bad_alloc.
  void Reserve(int64_t bytes) {
    if (bytes <= size_) return;
    memory_.reset();
    size_ = 0;
    const int64_t rounded = (bytes + 63) / 64 * 64;
    memory_.reset(static_cast<uint8_t*>(std::aligned_alloc(64, rounded)));
    if (memory_ == nullptr) throw std::bad_alloc();
    size_ = rounded;
  }

  int64_t size() const { return size_; }
  uint8_t* data() const { return memory_.get(); }
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(memory_.get());
  }

 private:
  struct Free {
    void operator()(uint8_t* memory) const { std::free(memory); }
  };
  std::unique_ptr<uint8_t, Free> memory_;
  int64_t size_ = 0;
};

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_CLIP_ALIGNED_BUFFER_H_
