// Whether bytes are UTF-8, as the Unicode standard (table 3-7) defines it.
#ifndef IMAGESEARCH_SERVER_UTF8_H_
#define IMAGESEARCH_SERVER_UTF8_H_

#include "absl/strings/string_view.h"

namespace imagesearch::server {

// No overlong forms, no surrogates, nothing above U+10FFFF.
bool IsUtf8(absl::string_view bytes);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_UTF8_H_
