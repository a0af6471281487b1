// The one name for a CRoaring bitmap: the class is global up to release 0.2 (Debian 12) and in
// namespace roaring later (Debian 13).
#ifndef IMAGESEARCH_INDEX_FILTER_BITMAP_H_
#define IMAGESEARCH_INDEX_FILTER_BITMAP_H_

#include <roaring/roaring.hh>

namespace roaring {}

namespace imagesearch::index {
namespace bitmap_internal {
using namespace ::roaring;  // NOLINT: empty in release 0.2
using Type = Roaring;
}  // namespace bitmap_internal

// A set of slots. Not thread-safe; concurrent reads are fine.
using Bitmap = bitmap_internal::Type;

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_FILTER_BITMAP_H_
