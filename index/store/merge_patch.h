// JSON Merge Patch (RFC 7396) over google.protobuf.Struct.
#ifndef IMAGESEARCH_INDEX_STORE_MERGE_PATCH_H_
#define IMAGESEARCH_INDEX_STORE_MERGE_PATCH_H_

#include "google/protobuf/struct.pb.h"

namespace imagesearch::index {

// Applies `patch` to `target`: a null takes the key away, an object is merged into the object there
// (or into a new one), everything else replaces what was there. Recursion is as deep as `patch`
// nests, which its parser bounds (100).
void MergePatch(const google::protobuf::Struct& patch, google::protobuf::Struct* target);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_MERGE_PATCH_H_
