// The ModelLoader of CLIP checkpoints. The only file of the server that knows them.
#ifndef IMAGESEARCH_SERVER_CLIP_MODEL_LOADER_H_
#define IMAGESEARCH_SERVER_CLIP_MODEL_LOADER_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "encoder/clip/clip_encoder.h"
#include "encoder/turns.h"
#include "server/config/server_config.pb.h"
#include "server/model_loader.h"

namespace imagesearch::server {

// All models of one loader take turns on the machine's threads. Each has queues of its own, bounded
// by the same settings.
class ClipModelLoader final : public ModelLoader {
 public:
  explicit ClipModelLoader(const ServerConfig& config)
      : config_(config), turns_(std::make_shared<encoder::Turns>()) {}

  absl::StatusOr<uint64_t> Estimate(const std::string& folder,
                                    const std::string& precision) const override;
  absl::StatusOr<ServedModel> Load(const std::string& folder,
                                   const std::string& precision) override;
  // What later calls of Load do with the encoder of a model at their end. Before other threads call
  // Load.
  void OnLoaded(std::function<void(const std::shared_ptr<encoder::Encoder>&)> on_loaded) {
    on_loaded_ = std::move(on_loaded);
  }

 private:
  absl::StatusOr<encoder::ClipOptions> OptionsOf(const std::string& folder,
                                                 const std::string& precision) const;

  const ServerConfig config_;
  const std::shared_ptr<encoder::Turns> turns_;
  std::function<void(const std::shared_ptr<encoder::Encoder>&)> on_loaded_;
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_CLIP_MODEL_LOADER_H_
