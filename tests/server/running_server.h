// A whole server inside the test: fake encoder, real database in a folder of its own, real gRPC
// over loopback.
#ifndef IMAGESEARCH_TESTS_SERVER_RUNNING_SERVER_H_
#define IMAGESEARCH_TESTS_SERVER_RUNNING_SERVER_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "encoder/fake_encoder.h"
#include "google/rpc/error_details.pb.h"
#include "grpcpp/grpcpp.h"
#include "imagesearch/v1/admin.grpc.pb.h"
#include "imagesearch/v1/imagesearch.grpc.pb.h"
#include "server/server.h"

namespace imagesearch::server {

class RunningServer {
 public:
  // `configure` changes the settings before the start. `serve` false: the port is open, the backend
  // is not there yet (Serve() brings it).
  explicit RunningServer(const std::function<void(ServerConfig&)>& configure = nullptr,
                         bool serve = true, encoder::FakeEncoderOptions fake = {});
  ~RunningServer();

  void Serve();
  // A further model of the running server, and of those that Restart makes. It lives until Restart.
  encoder::FakeEncoder& AddModel(const encoder::FakeEncoderOptions& fake);
  // What later Serve calls give to the server for LoadModel.
  void SetLoader(std::shared_ptr<ModelLoader> loader) { loader_ = std::move(loader); }
  // Stops and starts again on the same data folder, with `model_id` as the encoder's model.
  void Restart(const std::string& model_id);

  Server& server() { return *server_; }
  encoder::FakeEncoder& encoder() { return *encoder_; }
  const std::string& folder() const { return folder_; }
  std::shared_ptr<grpc::Channel> channel() { return channel_; }
  v1::ImageSearch::Stub& images() { return *images_; }
  v1::Admin::Stub& admin() { return *admin_; }

  // A new connection.
  std::shared_ptr<grpc::Channel> NewChannel();

  // Stores one image of these bytes under `id`; the test fails when it can't.
  void Put(const std::string& id, const std::string& content);

  // One unary call with these bytes as its request.
  grpc::Status CallRaw(const std::string& method, const std::string& request,
                       grpc::ClientContext* context);

 private:
  void Start();

  ServerConfig config_;
  encoder::FakeEncoderOptions fake_;
  std::vector<encoder::FakeEncoderOptions> more_models_;
  std::shared_ptr<ModelLoader> loader_;
  std::string folder_;
  std::shared_ptr<encoder::FakeEncoder> encoder_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::ImageSearch::Stub> images_;
  std::unique_ptr<v1::Admin::Stub> admin_;
};

// "INVALID_ARGUMENT CORRUPT_IMAGE" of a failed call: its code and the reason in its details; "OK".
std::string Outcome(const grpc::Status& status);
// The same of an item.
std::string Outcome(const v1::Status& status);
// A google.rpc detail of this type in `status`, or nothing.
template <typename Detail>
std::optional<Detail> DetailOf(const grpc::Status& status);

// A context with a deadline of 10 s from now.
std::unique_ptr<grpc::ClientContext> Context();

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_TESTS_SERVER_RUNNING_SERVER_H_
