// Field by field.
#include "server/config/limits.h"

namespace imagesearch::server {

Limits LimitsOf(const ServerConfig& config) {
  Limits limits;
  limits.max_message_bytes = config.max_message_bytes();
  limits.max_reply_bytes = config.max_reply_bytes();
  limits.image.max_bytes = config.max_image_bytes();
  limits.image.max_pixels = config.max_image_pixels();
  limits.image.max_side = config.max_image_side();
  limits.max_text_bytes = config.max_text_bytes();
  limits.max_query_terms = config.max_query_terms();
  limits.max_limit = config.max_limit();
  limits.max_offset = config.max_offset();
  limits.max_id_bytes = config.max_id_bytes();
  limits.max_metadata_bytes = config.max_metadata_bytes();
  limits.max_metadata_keys = config.max_metadata_keys();
  limits.max_metadata_depth = config.max_metadata_depth();
  limits.max_filter_bytes = config.max_filter_bytes();
  limits.max_upsert_images = config.max_upsert_images();
  limits.max_search_batch = config.max_search_batch();
  limits.max_encode_inputs = config.max_encode_inputs();
  limits.max_page_size = config.max_page_size();
  limits.max_dimension = config.max_dimension();
  return limits;
}

}  // namespace imagesearch::server
