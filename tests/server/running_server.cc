// Starts, restarts and talks to the server.
#include "tests/server/running_server.h"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/generic/generic_stub.h"
#include "gtest/gtest.h"
#include "index/embedded_database.h"

namespace imagesearch::server {
namespace {

google::rpc::Status RpcStatusOf(const grpc::Status& status) {
  google::rpc::Status result;
  result.ParseFromString(status.error_details());
  return result;
}

std::string CodeName(int code) {
  return absl::StatusCodeToString(static_cast<absl::StatusCode>(code));
}

}  // namespace

RunningServer::RunningServer(const std::function<void(ServerConfig&)>& configure, bool serve,
                             encoder::FakeEncoderOptions fake)
    : fake_(std::move(fake)) {
  std::string pattern = ::testing::TempDir() + "/imagesearch_server_XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) std::abort();
  folder_ = pattern;
  config_.set_listen("127.0.0.1:0");
  config_.set_drain_notice_ms(0);
  config_.set_drain_timeout_ms(5000);
  config_.set_probe_interval_ms(0);
  config_.set_index_threads(2);
  if (configure) configure(config_);
  Start();
  if (serve) Serve();
}

RunningServer::~RunningServer() {
  if (server_ != nullptr) {
    EXPECT_TRUE(server_->Drain().ok());
  }
  server_.reset();
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void RunningServer::Start() {
  auto server = Server::Start(config_, {"1.2.3", "portable", 1});
  if (!server.ok()) {
    ADD_FAILURE() << server.status();
    std::abort();
  }
  server_ = *std::move(server);
  channel_ = NewChannel();
  images_ = v1::ImageSearch::NewStub(channel_);
  admin_ = v1::Admin::NewStub(channel_);
}

void RunningServer::Serve() {
  index::EmbeddedOptions options;
  options.data_dir = folder_ + "/data";
  options.build_threads = 1;
  auto database = index::OpenEmbedded(options);
  if (!database.ok()) {
    ADD_FAILURE() << database.status();
    std::abort();
  }
  encoder_ = std::make_shared<encoder::FakeEncoder>(fake_);
  Backend backend;
  backend.encoder = encoder_;
  backend.database = *std::move(database);
  backend.data_dir = options.data_dir;
  backend.loader = loader_;
  backend.models = std::make_shared<Models>(ServedModel{"", encoder_, nullptr});
  for (const encoder::FakeEncoderOptions& fake : more_models_) {
    EXPECT_TRUE(
        backend.models->Add({"", std::make_shared<encoder::FakeEncoder>(fake), nullptr}).ok());
  }
  const absl::Status status = server_->Serve(std::move(backend));
  EXPECT_TRUE(status.ok()) << status;
}

encoder::FakeEncoder& RunningServer::AddModel(const encoder::FakeEncoderOptions& fake) {
  more_models_.push_back(fake);
  auto encoder = std::make_shared<encoder::FakeEncoder>(fake);
  EXPECT_TRUE((*server_->state().backend())->models->Add({"", encoder, nullptr}).ok());
  return *encoder;
}

void RunningServer::Restart(const std::string& model_id) {
  EXPECT_TRUE(server_->Drain().ok());
  server_.reset();
  fake_.model_id = model_id;
  Start();
  Serve();
}

std::shared_ptr<grpc::Channel> RunningServer::NewChannel() {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", server_->port()),
                                   grpc::InsecureChannelCredentials(), arguments);
}

void RunningServer::Put(const std::string& id, const std::string& content) {
  v1::UpsertRequest request;
  v1::Image* image = request.add_images();
  image->set_id(id);
  image->set_content(content);
  v1::UpsertResponse response;
  const grpc::Status status = images_->Upsert(Context().get(), request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(Outcome(response.results(0).status()), "OK");
}

grpc::Status RunningServer::CallRaw(const std::string& method, const std::string& request,
                                    grpc::ClientContext* context) {
  grpc::Slice slice(request);
  grpc::ByteBuffer bytes(&slice, 1), response;
  grpc::GenericStub stub(channel_);
  std::promise<grpc::Status> done;
  stub.UnaryCall(context, method, grpc::StubOptions(), &bytes, &response,
                 [&done](grpc::Status status) { done.set_value(std::move(status)); });
  return done.get_future().get();
}

std::string Outcome(const grpc::Status& status) {
  if (status.ok()) return "OK";
  google::rpc::ErrorInfo info;
  const google::rpc::Status rpc = RpcStatusOf(status);
  for (const auto& detail : rpc.details()) detail.UnpackTo(&info);
  return absl::StrCat(CodeName(status.error_code()), " ", info.reason());
}

std::string Outcome(const v1::Status& status) {
  return status.code() == 0 ? "OK" : absl::StrCat(CodeName(status.code()), " ", status.reason());
}

template <typename Detail>
std::optional<Detail> DetailOf(const grpc::Status& status) {
  const google::rpc::Status rpc = RpcStatusOf(status);
  for (const auto& packed : rpc.details()) {
    Detail detail;
    if (packed.UnpackTo(&detail)) return detail;
  }
  return std::nullopt;
}
template std::optional<google::rpc::RetryInfo> DetailOf(const grpc::Status&);
template std::optional<google::rpc::BadRequest> DetailOf(const grpc::Status&);
template std::optional<google::rpc::ErrorInfo> DetailOf(const grpc::Status&);

std::unique_ptr<grpc::ClientContext> Context() {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  return context;
}

}  // namespace imagesearch::server
