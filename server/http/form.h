// multipart/form-data as a request: each part is named after the field that it fills.
#ifndef IMAGESEARCH_SERVER_HTTP_FORM_H_
#define IMAGESEARCH_SERVER_HTTP_FORM_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "google/protobuf/message.h"

namespace imagesearch::server {

struct FormPart {
  std::string name;
  std::string content;
};

// Fills `request` from the parts:
//   request                    the whole request as JSON, applied before all others
//   limit, query.terms[0].image, images[2].metadata, ...
//                              one field: text as it is, numbers and booleans in decimal or words,
//                              bytes raw, messages as JSON; [n] may be one past the end
//   image                      short for query.terms[n].image, images[n].content or
//                              inputs[n].image of the first entry without input, or a new one
//   text                       likewise for query.terms[n].text or inputs[n].text
// INVALID_ARGUMENT BAD_FORM names the part that is wrong.
absl::Status FromForm(absl::Span<const FormPart> parts, google::protobuf::Message* request);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_HTTP_FORM_H_
