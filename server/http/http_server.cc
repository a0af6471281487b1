// Routes, and one call from its HTTP request to its reply.
#include "server/http/http_server.h"

#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "base/steady_time.h"
#include "client/web/assets.h"
#include "google/protobuf/message.h"
#include "imagesearch/v1/imagesearch.pb.h"
#include "server/call_context.h"
#include "server/grpc_status.h"
#include "server/http/connection.h"
#include "server/http/form.h"
#include "server/http/json.h"
#include "server/http/message_stream.h"
#include "server/http/openapi.h"
#include "server/http/picture_file.h"
#include "server/http/request_body.h"
#include "server/http/stored_pictures.h"
#include "server/logging.h"
#include "server/methods.h"
#include "server/utf8.h"

namespace imagesearch::server {
namespace {

using google::protobuf::Message;
using httplib::Request;
using httplib::Response;

constexpr char kJsonType[] = "application/json";
constexpr char kDefaultHost[] = "0.0.0.0";

// Scripts and styles only from here, no frames, no foreign connections.
const httplib::Headers& SecurityHeaders() {
  static const auto* headers = new httplib::Headers{
      {"Content-Security-Policy",
       "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
       "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
      {"X-Content-Type-Options", "nosniff"},
      {"X-Frame-Options", "DENY"},
      {"Referrer-Policy", "no-referrer"},
      {"Cross-Origin-Opener-Policy", "same-origin"},
      {"Cross-Origin-Resource-Policy", "same-origin"}};
  return *headers;
}

struct HostPort {
  std::string host;
  int port = 0;
};

absl::StatusOr<HostPort> SplitAddress(absl::string_view address) {
  const size_t colon = address.rfind(':');
  HostPort result;
  if (colon == absl::string_view::npos ||
      !absl::SimpleAtoi(address.substr(colon + 1), &result.port) || result.port < 0 ||
      result.port > 65535) {
    return InvalidArgument("BAD_ADDRESS",
                           absl::StrCat("the HTTP address '", address, "' is not HOST:PORT"));
  }
  absl::string_view host = address.substr(0, colon);
  if (absl::StartsWith(host, "[") && absl::EndsWith(host, "]")) {
    host = host.substr(1, host.size() - 2);
  }
  result.host = host.empty() ? kDefaultHost : std::string(host);
  return result;
}

// A page of another site must not make a browser call this server. Clients that are not browsers
// send neither header.
bool FromAnotherSite(const Request& request) {
  const std::string site = request.get_header_value("Sec-Fetch-Site");
  if (site == "cross-site" || site == "same-site") return true;
  const std::string origin = request.get_header_value("Origin");
  if (origin.empty()) return false;
  const size_t scheme = origin.find("://");
  return scheme == std::string::npos ||
         origin.substr(scheme + 3) != request.get_header_value("Host");
}

int StatusCodeOf(const absl::Status& status) {
  const std::string reason = ReasonOf(status);
  if (reason == "BODY_TOO_LARGE") return 413;
  if (reason == "UNSUPPORTED_CONTENT") return 415;
  if (reason == "INCOMPLETE_BODY") return 408;
  return HttpStatus(status.code());
}

void ReplyError(const absl::Status& status, Response& response) {
  response.status = StatusCodeOf(status);
  if (response.status == 401) response.set_header("WWW-Authenticate", "Bearer");
  if (const auto wait = RetryAfterOf(status)) {
    response.set_header("Retry-After",
                        absl::StrCat(std::max<int64_t>(
                            1, absl::ToInt64Seconds(absl::Ceil(*wait, absl::Seconds(1))))));
  }
  response.set_content(ErrorJson(status), kJsonType);
}

// For a regular expression that matches just this path.
std::string Literally(absl::string_view path) { return absl::StrReplaceAll(path, {{".", "\\."}}); }

}  // namespace

class HttpServer::Impl {
 public:
  Impl(const HttpOptions& options, ServerState* state, CallRunner* runner, Metrics* metrics)
      : live_(options.live),
        certificates_(options.certificates),
        open_metrics_(options.open_metrics),
        pictures_(options.pictures),
        state_(*state),
        runner_(*runner),
        metrics_(*metrics),
        budget_(options.max_body_bytes),
        stored_pictures_(state->limits(), runner,
                         [this](const Request& request, CallContext* call) {
                           return ReadContext(request, call);
                         }),
        server_(Limits(options)) {}

  absl::Status Start(const std::string& address);
  void Stop();
  int port() const { return port_; }

 private:
  static ConnectionLimits Limits(const HttpOptions& options) {
    ConnectionLimits limits;
    limits.threads = options.threads;
    limits.receive = std::chrono::milliseconds(options.request_timeout_ms);
    limits.send = limits.receive;
    limits.max_client_connections =
        std::max(1, static_cast<int>(options.threads * options.max_client_share));
    if (options.certificates != nullptr) {
      limits.tls = [store = options.certificates] { return store->current().material->context; };
    }
    return limits;
  }

  void SetUpServer();
  void AddOperatorRoutes();
  void AddAssets();
  void AddPictures();
  void AddMethods();
  void CallStream(const Method& method, const Request& request, Response& response,
                  const httplib::ContentReader& reader);
  void Call(const Method& method, const Request& request, Response& response,
            const httplib::ContentReader& reader);
  // Of requests without call headers of their own: who asks, and whether the key is good.
  absl::Status ReadContext(const Request& request, CallContext* call);
  absl::StatusOr<PictureFile> FindPicture(const Request& request, CallContext* call);
  absl::Status RunCall(const Method& method, const Request& request, CallContext* call,
                       const httplib::ContentReader& reader, std::string* reply);

  // Whether a request may go on to its handler.
  absl::Status CheckConnection(const Request& request) const;
  absl::Status CheckOperator(const Request& request) const;

  const std::function<bool()> live_;
  const std::shared_ptr<CertificateStore> certificates_;
  const bool open_metrics_;
  const std::string pictures_;
  ServerState& state_;
  CallRunner& runner_;
  Metrics& metrics_;
  BodyBudget budget_;
  StoredPictures stored_pictures_;
  ConnectionServer server_;
  std::string openapi_;
  int port_ = 0;
  std::thread listener_;
};

absl::Status HttpServer::Impl::Start(const std::string& address) {
  const absl::StatusOr<HostPort> target = SplitAddress(address);
  if (!target.ok()) return target.status();
  absl::StatusOr<std::string> openapi = OpenApi(ContractDescriptors(), state_.facts().version);
  if (!openapi.ok()) return openapi.status();
  openapi_ = *std::move(openapi);
  SetUpServer();
  AddOperatorRoutes();
  AddAssets();
  AddPictures();
  AddMethods();
  port_ = target->port;
  const bool bound = port_ != 0 ? server_.bind_to_port(target->host, port_)
                                : (port_ = server_.bind_to_any_port(target->host)) > 0;
  if (!bound) {
    return Error(absl::StatusCode::kUnavailable, "PORT_IN_USE",
                 absl::StrCat("can't listen for HTTP on ", address));
  }
  server_.RaiseBacklog();
  listener_ = std::thread([this] { server_.listen_after_bind(); });
  return absl::OkStatus();
}

void HttpServer::Impl::Stop() {
  if (!listener_.joinable()) return;
  // A stop before the listener runs would be lost.
  while (!server_.is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  server_.stop();
  listener_.join();
}

void HttpServer::Impl::SetUpServer() {
  server_.set_default_headers(SecurityHeaders());
  // httplib would also set SO_REUSEPORT, with which a second server binds the same port unnoticed.
  server_.set_socket_options([](socket_t socket) {
    const int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  });
  server_.set_tcp_nodelay(true);
  server_.set_pre_routing_handler([this](const Request& request, Response& response) {
    const absl::Status status = CheckConnection(request);
    if (status.ok()) return httplib::Server::HandlerResponse::Unhandled;
    if (request.method == "POST") ConnectionServer::CloseAfterReply();
    ReplyError(status, response);
    return httplib::Server::HandlerResponse::Handled;
  });
  server_.set_error_handler([](const Request& request, Response& response) {
    if (!response.body.empty()) return;
    // The body of a request that found no handler was not read.
    ConnectionServer::CloseAfterReply();
    const int status = response.status;
    ReplyError(status == 404 ? Error(absl::StatusCode::kNotFound, "NO_SUCH_PATH",
                                     "nothing is served under this path and method")
                             : InvalidArgument("BAD_HTTP", "the HTTP request is malformed"),
               response);
    response.status = status;
  });
  server_.set_exception_handler([](const Request&, Response& response, std::exception_ptr) {
    ConnectionServer::CloseAfterReply();
    ReplyError(absl::InternalError("an exception ended the request"), response);
  });
  server_.set_post_routing_handler([](const Request&, Response& response) {
    if (!ConnectionServer::ClosesAfterReply()) return;
    response.headers.erase("Keep-Alive");
    response.headers.erase("Connection");
    response.set_header("Connection", "close");
  });
}

absl::Status HttpServer::Impl::CheckConnection(const Request& request) const {
  if (FromAnotherSite(request)) {
    return Error(absl::StatusCode::kPermissionDenied, "CROSS_ORIGIN",
                 "requests from pages of another origin are not served");
  }
  const bool open = request.path == "/healthz" || request.path == "/readyz" ||
                    (request.path == "/metrics" && open_metrics_);
  if (certificates_ == nullptr || !certificates_->asks_for_client_certificates() || open ||
      ConnectionServer::HasClientCertificate()) {
    return absl::OkStatus();
  }
  return Error(absl::StatusCode::kUnauthenticated, "NO_CERTIFICATE",
               "this server asks for a client certificate");
}

// For what is about the whole server: any key that is not limited to some collections.
absl::Status HttpServer::Impl::CheckOperator(const Request& request) const {
  if (open_metrics_) return absl::OkStatus();
  CallContext call;
  absl::Status status = runner_.Identify(request.get_header_value("Authorization"), &call);
  if (!status.ok() || call.key == nullptr || call.key->entry.collections.empty()) return status;
  return Error(absl::StatusCode::kPermissionDenied, "COLLECTION_DENIED",
               "your key is limited to some collections");
}

void HttpServer::Impl::AddOperatorRoutes() {
  const auto say = [](bool good, Response& response) {
    response.status = good ? 200 : 503;
    response.set_content(good ? "ok\n" : "not ok\n", "text/plain");
    response.set_header("Cache-Control", "no-store");
  };
  server_.Get("/healthz",
              [this, say](const Request&, Response& response) { say(live_(), response); });
  server_.Get("/readyz",
              [this, say](const Request&, Response& response) { say(state_.ready(), response); });
  server_.Get("/metrics", [this](const Request& request, Response& response) {
    if (const absl::Status status = CheckOperator(request); !status.ok()) {
      ReplyError(status, response);
      return;
    }
    response.set_content(metrics_.Text(), "text/plain; version=0.0.4; charset=utf-8");
    response.set_header("Cache-Control", "no-store");
  });
  server_.Get("/openapi\\.json", [this](const Request&, Response& response) {
    response.set_content(openapi_, kJsonType);
  });
}

void HttpServer::Impl::AddAssets() {
  for (const client::WebAsset& asset : client::WebAssets()) {
    server_.Get(Literally(asset.path), [&asset](const Request& request, Response& response) {
      response.set_header("Cache-Control", "no-cache");
      response.set_header("ETag", std::string(asset.etag));
      if (request.get_header_value("If-None-Match") == asset.etag) {
        response.status = 304;
        return;
      }
      response.set_content(asset.content.data(), asset.content.size(), std::string(asset.type));
    });
  }
}

void HttpServer::Impl::AddPictures() {
  server_.Get("/web/settings\\.json", [this](const Request&, Response& response) {
    response.set_header("Cache-Control", "no-store");
    response.set_content(pictures_.empty() ? R"({"pictures":false})" : R"({"pictures":true})",
                         kJsonType);
  });
  server_.Get("/picture", [this](const Request& request, Response& response) {
    CallContext call;
    absl::StatusOr<PictureFile> picture = FindPicture(request, &call);
    if (!picture.ok()) {
      ReplyError(picture.status(), response);
      return;
    }
    response.set_header("Cache-Control", "private, max-age=300");
    response.set_content(std::move(picture->bytes), picture->type);
  });
  // An id may hold slashes: the path is matched with its percent-encoding undone.
  server_.Get("/v1/collections/([^/]+)/images/([\\s\\S]+)/original",
              [this](const Request& request, Response& response) {
                const absl::Status status = stored_pictures_.Original(request, response);
                if (!status.ok()) ReplyError(status, response);
              });
  server_.Get("/v1/collections/([^/]+)/images/([\\s\\S]+)/thumbnail",
              [this](const Request& request, Response& response) {
                const absl::Status status = stored_pictures_.Thumbnail(request, response);
                if (!status.ok()) ReplyError(status, response);
              });
}

absl::Status HttpServer::Impl::ReadContext(const Request& request, CallContext* call) {
  call->peer = absl::StrCat(request.remote_addr, ":", request.remote_port);
  absl::Status status = ReadCallHeaders(request.get_header_value("X-Request-Id"), "", "", call);
  if (!status.ok()) return status;
  return runner_.Identify(request.get_header_value("Authorization"), call);
}

// GET /picture?collection=C&id=ID
absl::StatusOr<PictureFile> HttpServer::Impl::FindPicture(const Request& request,
                                                          CallContext* call) {
  absl::Status status = ReadContext(request, call);
  if (!status.ok()) return status;
  const std::string id = request.get_param_value("id");
  const std::string collection = request.get_param_value("collection");
  if (pictures_.empty() || !IsUtf8(id) || !IsUtf8(collection)) {
    return Error(absl::StatusCode::kNotFound, "NO_PICTURE", "no pictures are shown here");
  }
  v1::GetRequest get;
  get.set_collection(collection);
  get.add_ids(id);
  get.set_without_vector(true);
  v1::GetResponse found;
  const Method* method = FindMethod("imagesearch.v1.ImageSearch", "Get");
  status = runner_.Run(*method, call, &get, get.ByteSizeLong(), &found);
  if (!status.ok()) return status;
  std::string path = found.images_size() == 1 ? id : "";
  if (!path.empty()) {
    const auto& fields = found.images(0).metadata().fields();
    const auto field = fields.find("path");
    if (field != fields.end()) path = field->second.string_value();
  }
  return ReadPicture(pictures_, path, state_.limits().max_message_bytes);
}

void HttpServer::Impl::AddMethods() {
  for (const Method& method : Methods()) {
    server_.Post(HttpPath(method.name), [this, &method](const Request& request, Response& response,
                                                        const httplib::ContentReader& reader) {
      Call(method, request, response, reader);
    });
  }
  const Method& sends = FindDuplicatesMethod();
  server_.Post(HttpPath(sends.name), [this, &sends](const Request& request, Response& response,
                                                    const httplib::ContentReader& reader) {
    CallStream(sends, request, response, reader);
  });
}

// The answer as JSON Lines. A call that fails before its first message is answered as any other;
// one that fails later ends with a line {"error": ...}.
void HttpServer::Impl::CallStream(const Method& method, const Request& request, Response& response,
                                  const httplib::ContentReader& reader) {
  auto call = std::make_unique<CallContext>();
  std::unique_ptr<Message> message(method.request->New());
  RequestBody body(state_.limits().max_message_bytes, &budget_);
  absl::Status status = ReadContext(request, call.get());
  if (status.ok()) status = body.Read(request, reader);
  if (status.ok()) status = FromJson(body.json(), message.get());
  response.set_header("Cache-Control", "no-store");
  response.set_header("X-Request-Id", call->request_id);
  std::shared_ptr<MessageStream> stream;
  std::optional<std::string> first;
  if (status.ok()) {
    stream = std::make_shared<MessageStream>(std::move(call), std::move(message));
    stream->Start(method, &runner_, body.bytes());
    first = stream->Next();
    if (!first) status = stream->status();
  }
  if (!status.ok()) {
    ConnectionServer::CloseAfterReply();  // part of the body may be unread
    ReplyError(status, response);
    return;
  }
  AnswerWithLines(std::move(stream), *std::move(first), response);
}

void HttpServer::Impl::Call(const Method& method, const Request& request, Response& response,
                            const httplib::ContentReader& reader) {
  CallContext call;
  std::string reply;
  const absl::Status status = RunCall(method, request, &call, reader, &reply);
  response.set_header("Cache-Control", "no-store");
  response.set_header("X-Request-Id", call.request_id);
  if (status.ok()) {
    response.set_content(std::move(reply), kJsonType);
  } else {
    ConnectionServer::CloseAfterReply();  // part of the body may be unread
    ReplyError(status, response);
  }
}

absl::Status HttpServer::Impl::RunCall(const Method& method, const Request& request,
                                       CallContext* call, const httplib::ContentReader& reader,
                                       std::string* reply) {
  call->peer = absl::StrCat(request.remote_addr, ":", request.remote_port);
  RequestBody body(state_.limits().max_message_bytes, &budget_);
  std::unique_ptr<Message> message(method.request->New());
  std::unique_ptr<Message> result(method.response->New());
  absl::Status status = ReadCallHeaders(request.get_header_value("X-Request-Id"),
                                        request.get_header_value("traceparent"),
                                        request.get_header_value("imagesearch-priority"), call);
  if (const std::string text = request.get_header_value("imagesearch-timeout-ms");
      status.ok() && !text.empty()) {
    int64_t ms = 0;
    if (!absl::SimpleAtoi(text, &ms) || ms <= 0) {
      status =
          InvalidArgument("BAD_HEADER", "imagesearch-timeout-ms must be a whole number above 0");
    }
    call->deadline = SteadyNow() + absl::Milliseconds(ms);
  }
  if (status.ok()) status = runner_.Identify(request.get_header_value("Authorization"), call);
  if (status.ok()) status = body.Read(request, reader);
  if (status.ok()) {
    status = body.is_form() ? FromForm(body.parts(), message.get())
                            : FromJson(body.json(), message.get());
  }
  if (!status.ok()) {
    runner_.Record(method, *call, status);
    return status;
  }
  status = runner_.Run(method, call, message.get(), body.bytes(), result.get());
  if (!status.ok()) return status;
  absl::StatusOr<std::string> json = ToJson(*result);
  if (!json.ok()) return json.status();
  *reply = *std::move(json);
  return absl::OkStatus();
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() { Stop(); }
int HttpServer::port() const { return impl_->port(); }
void HttpServer::Stop() { impl_->Stop(); }

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpOptions& options,
                                                              ServerState* state,
                                                              CallRunner* runner,
                                                              Metrics* metrics) {
  auto impl = std::make_unique<Impl>(options, state, runner, metrics);
  if (absl::Status status = impl->Start(options.address); !status.ok()) return status;
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

}  // namespace imagesearch::server
