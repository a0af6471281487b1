// Addresses of clients.
#include "server/security/client_shares.h"

#include <arpa/inet.h>

#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"

namespace imagesearch::server {

std::string ClientOfPeer(absl::string_view peer) {
  std::string text = absl::StrReplaceAll(peer, {{"%5B", "["}, {"%5D", "]"}});
  absl::string_view host = text;
  absl::ConsumePrefix(&host, "ipv4:");
  absl::ConsumePrefix(&host, "ipv6:");
  const size_t colon = host.rfind(':');
  if (colon == absl::string_view::npos) return std::string(peer);
  host = host.substr(0, colon);
  absl::ConsumePrefix(&host, "[");
  absl::ConsumeSuffix(&host, "]");
  const std::string address(host);
  in_addr four;
  if (inet_pton(AF_INET, address.c_str(), &four) == 1) return address;
  in6_addr six;
  if (inet_pton(AF_INET6, address.substr(0, address.find('%')).c_str(), &six) != 1) {
    return std::string(peer);
  }
  char printed[INET6_ADDRSTRLEN];
  if (IN6_IS_ADDR_V4MAPPED(&six)) {
    return inet_ntop(AF_INET, &six.s6_addr[12], printed, sizeof(printed));
  }
  if (IN6_IS_ADDR_LOOPBACK(&six)) return "::1";
  std::memset(&six.s6_addr[8], 0, 8);
  return absl::StrCat(inet_ntop(AF_INET6, &six, printed, sizeof(printed)), "/64");
}

}  // namespace imagesearch::server
