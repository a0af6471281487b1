// Input ceilings: everything that a caller can make large, in one place. Checked before work
// starts; each one is a server setting (docs/operations.md), and GetServerInfo returns those in
// force.
#ifndef IMAGESEARCH_BASE_LIMITS_H_
#define IMAGESEARCH_BASE_LIMITS_H_

#include <cstdint>

namespace imagesearch {

// What a decoder may be asked to do. Checked from the image's header, before any pixel is
// allocated.
struct ImageLimits {
  uint64_t max_bytes = 8u << 20;
  uint64_t max_pixels = 40'000'000;
  uint32_t max_side = 16'384;
};

struct Limits {
  uint64_t max_message_bytes = 8u << 20;  // one gRPC message or HTTP body
  uint64_t max_reply_bytes = 4'000'000;   // below the 4 MiB that gRPC clients accept by default
  ImageLimits image;
  uint32_t max_text_bytes = 4096;  // one text term
  uint32_t max_query_terms = 16;
  uint32_t max_limit = 1000;  // hits of one search, ids of one Get
  uint32_t max_offset = 10'000;
  uint32_t max_id_bytes = 256;
  uint32_t max_metadata_bytes = 16'384;  // serialised google.protobuf.Struct
  uint32_t max_metadata_keys = 64;       // keys in all, nested ones included
  uint32_t max_metadata_depth = 16;      // levels of nested structs and lists
  uint32_t max_filter_bytes = 8192;
  uint32_t max_filter_depth = 16;
  uint32_t max_filter_nodes = 256;
  uint32_t max_filter_in = 1000;     // values of one `in` list
  uint32_t max_upsert_images = 256;  // images of one Upsert
  uint32_t max_search_batch = 100;   // requests of one SearchBatch
  uint32_t max_encode_inputs = 256;  // inputs of one Encode
  uint32_t max_page_size = 1000;
  uint32_t max_dimension = 4096;
};

}  // namespace imagesearch

#endif  // IMAGESEARCH_BASE_LIMITS_H_
