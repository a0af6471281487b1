// Named places where a test can end the process, or cut the power of its file system: the steps
// between which a crash would hurt. A release build pays one relaxed load for each.
#ifndef IMAGESEARCH_INDEX_STORE_CRASH_POINT_H_
#define IMAGESEARCH_INDEX_STORE_CRASH_POINT_H_

#include <atomic>

namespace imagesearch::index {

// Called with the point's name; a test's handler ends the process or notes the hit. Set before the
// database opens, never while it runs.
using CrashHandler = void (*)(const char* point);
inline std::atomic<CrashHandler> crash_handler{nullptr};

inline void CrashPoint(const char* point) {
  if (CrashHandler handler = crash_handler.load(std::memory_order_relaxed)) handler(point);
}

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_CRASH_POINT_H_
