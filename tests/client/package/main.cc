// Prints how a call to a server that is not there ends: UNAVAILABLE.
#include <iostream>

#include "base/error.h"
#include "client/client.h"

int main() {
  imagesearch::client::ClientOptions options;
  options.channel.target = "127.0.0.1:1";
  options.channel.max_attempts = 1;
  auto client = imagesearch::client::Client::Connect(options);
  if (!client.ok()) return 1;
  imagesearch::v1::SearchRequest request;
  *request.mutable_query()->add_terms() = imagesearch::client::TextTerm("a red bicycle");
  const auto response = (*client)->Search(request);
  std::cout << imagesearch::ReasonOf(response.status()) << "\n";
  return response.ok() ? 1 : 0;
}
