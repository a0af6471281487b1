// GET /v1/collections/C/images/ID/original and .../thumbnail: the kept uploads of stored images,
// for browsers.
#ifndef IMAGESEARCH_SERVER_HTTP_STORED_PICTURES_H_
#define IMAGESEARCH_SERVER_HTTP_STORED_PICTURES_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "base/limits.h"
#include "httplib.h"
#include "imagesearch/v1/types.pb.h"
#include "server/call_context.h"
#include "server/call_runner.h"
#include "server/http/thumbnails.h"

namespace imagesearch::server {

// Thread-safe.
class StoredPictures {
 public:
  // Fills a call's context from the request: headers, and who it is that calls.
  using ReadContext = std::function<absl::Status(const httplib::Request&, CallContext*)>;

  // `runner` must outlive this.
  StoredPictures(const Limits& limits, CallRunner* runner, ReadContext read_context);

  // Fills the reply. NOT_FOUND: NO_SUCH_COLLECTION, NOT_FOUND, NO_ORIGINAL (the image is there, its
  // upload isn't); INVALID_ARGUMENT BAD_SIZE.
  absl::Status Original(const httplib::Request& request, httplib::Response& response);
  absl::Status Thumbnail(const httplib::Request& request, httplib::Response& response);

 private:
  // The image, with `content` its upload too.
  absl::StatusOr<v1::StoredImage> Find(const httplib::Request& request, bool content);
  // Sets the headers of caching; true when the client has it already.
  static bool IsKnown(const std::string& tag, const httplib::Request& request,
                      httplib::Response& response);

  CallRunner& runner_;
  const ReadContext read_context_;
  Thumbnails thumbnails_;
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_HTTP_STORED_PICTURES_H_
