// Request bodies, read within their limits.
#ifndef IMAGESEARCH_SERVER_HTTP_REQUEST_BODY_H_
#define IMAGESEARCH_SERVER_HTTP_REQUEST_BODY_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "httplib.h"
#include "server/http/form.h"

namespace imagesearch::server {

// Bytes of bodies that are held at a time, over all connections. Thread-safe.
class BodyBudget {
 public:
  explicit BodyBudget(uint64_t max_bytes) : max_bytes_(max_bytes) {}
  bool TryTake(uint64_t bytes) {
    if (taken_.fetch_add(bytes) + bytes <= max_bytes_) return true;
    taken_.fetch_sub(bytes);
    return false;
  }
  void Return(uint64_t bytes) { taken_.fetch_sub(bytes); }

 private:
  const uint64_t max_bytes_;
  std::atomic<uint64_t> taken_{0};
};

// One request's body. Gives its bytes back to the budget at its end. Not thread-safe.
class RequestBody {
 public:
  RequestBody(uint64_t max_bytes, BodyBudget* budget) : max_bytes_(max_bytes), budget_(*budget) {}
  ~RequestBody() { budget_.Return(bytes_); }
  RequestBody(const RequestBody&) = delete;
  RequestBody& operator=(const RequestBody&) = delete;

  // INVALID_ARGUMENT BODY_TOO_LARGE above max_bytes, UNSUPPORTED_CONTENT for a body that is neither
  // application/json nor multipart/form-data, or is compressed; RESOURCE_EXHAUSTED OVERLOADED when
  // the budget is taken; CANCELLED when the client stopped or was too slow.
  absl::Status Read(const httplib::Request& request, const httplib::ContentReader& reader);

  bool is_form() const { return is_form_; }
  const std::string& json() const { return json_; }
  const std::vector<FormPart>& parts() const { return parts_; }
  uint64_t bytes() const { return bytes_; }

 private:
  absl::Status CheckHeaders(const httplib::Request& request);
  bool Take(size_t bytes);

  const uint64_t max_bytes_;
  BodyBudget& budget_;
  uint64_t bytes_ = 0;
  absl::Status refusal_;
  bool is_form_ = false;
  std::string json_;
  std::vector<FormPart> parts_;
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_HTTP_REQUEST_BODY_H_
