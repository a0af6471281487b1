// See fake_server.h.
#include "tests/client/fake_server.h"

#include <openssl/sha.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <random>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/health_check_service_interface.h"

namespace imagesearch::client {
namespace {

grpc::Status Refuse(grpc::StatusCode code, const std::string& reason, const std::string& message,
                    int retry_ms = -1) {
  google::rpc::Status details;
  details.set_code(code);
  details.set_message(message);
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("imagesearch");
  details.add_details()->PackFrom(info);
  if (retry_ms >= 0) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_nanos(retry_ms * 1'000'000);
    details.add_details()->PackFrom(retry);
  }
  return grpc::Status(code, message, details.SerializeAsString());
}

void SetItem(v1::Status* status, int code, const std::string& reason, const std::string& message) {
  status->set_code(code);
  status->set_reason(reason);
  status->set_message(message);
}

void Normalise(std::vector<float>* vector) {
  double norm = 0;
  for (float value : *vector) norm += double{value} * value;
  for (float& value : *vector) value = static_cast<float>(value / std::sqrt(norm));
}

void AddNoise(uint64_t seed, float scale, std::vector<float>* vector) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  for (float& value : *vector) value += scale * normal(random);
}

uint64_t Seed(absl::string_view bytes) {
  unsigned char hash[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), hash);
  uint64_t seed = 0;
  for (int i = 0; i < 8; ++i) seed = seed << 8 | hash[i];
  return seed;
}

float Dot(const std::vector<float>& a, const std::vector<float>& b) {
  float sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

void CopyVector(const std::vector<float>& from, v1::Vector* to) {
  to->mutable_values()->Assign(from.begin(), from.end());
}

std::string NameOrDefault(const std::string& name) { return name.empty() ? "default" : name; }

}  // namespace

std::vector<float> FakeVector(absl::string_view bytes) {
  std::vector<float> vector(kFakeDimension, 0);
  AddNoise(Seed(bytes.substr(0, bytes.find(' '))), 1.0f, &vector);
  Normalise(&vector);
  AddNoise(Seed(bytes), 0.05f, &vector);
  Normalise(&vector);
  return vector;
}

std::string FakeContentHash(absl::string_view bytes) {
  unsigned char hash[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), hash);
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<char*>(hash), sizeof hash));
}

class FakeServer::SearchService final : public v1::ImageSearch::Service {
 public:
  explicit SearchService(FakeServer* fake) : fake_(fake) {}

  grpc::Status Search(grpc::ServerContext* context, const v1::SearchRequest* request,
                      v1::SearchResponse* response) override {
    if (auto status = fake_->Enter(*context); !status.ok()) return status;
    return SearchOne(*request, response);
  }

  grpc::Status SearchBatch(grpc::ServerContext* context, const v1::SearchBatchRequest* request,
                           v1::SearchBatchResponse* response) override {
    if (auto status = fake_->Enter(*context); !status.ok()) return status;
    for (const auto& one : request->requests()) {
      v1::SearchResult* result = response->add_results();
      const grpc::Status status = SearchOne(one, result->mutable_response());
      if (!status.ok()) SetItem(result->mutable_status(), status.error_code(), "BAD", "refused");
    }
    return grpc::Status::OK;
  }

  grpc::Status Encode(grpc::ServerContext* context, const v1::EncodeRequest* request,
                      v1::EncodeResponse* response) override {
    if (auto status = fake_->Enter(*context); !status.ok()) return status;
    if (!request->model().empty() && request->model() != "fake") {
      return Refuse(grpc::StatusCode::NOT_FOUND, "NO_SUCH_MODEL", "no such model is loaded");
    }
    for (const auto& input : request->inputs()) {
      v1::EncodeResult* result = response->add_results();
      const std::string& bytes = input.has_text() ? input.text() : input.image();
      if (absl::StartsWith(bytes, "corrupt")) {
        SetItem(result->mutable_status(), 3, "CORRUPT_IMAGE", "the image is corrupt");
      } else {
        CopyVector(FakeVector(bytes), result->mutable_vector());
      }
    }
    response->mutable_model()->set_id("fake@1");
    response->mutable_model()->set_dimension(kFakeDimension);
    return grpc::Status::OK;
  }

  grpc::Status Upsert(grpc::ServerContext* context, const v1::UpsertRequest* request,
                      v1::UpsertResponse* response) override {
    if (auto status = fake_->Enter(*context); !status.ok()) return status;
    for (const auto& image : request->images()) {
      v1::UpsertStreamResponse ack;
      Store(request->collection(), image, &ack);
      v1::UpsertResult* result = response->add_results();
      result->set_id(ack.id());
      *result->mutable_status() = ack.status();
      result->set_created(ack.created());
      response->set_version(ack.version());
    }
    return grpc::Status::OK;
  }

  grpc::Status UpsertStream(grpc::ServerContext* context,
                            grpc::ServerReaderWriter<v1::UpsertStreamResponse,
                                                     v1::UpsertStreamRequest>* stream) override {
    FakeFaults& faults = fake_->faults_;
    if (faults.deny_streams) {
      return Refuse(grpc::StatusCode::PERMISSION_DENIED, "WRONG_KEY", "this key may not write");
    }
    if (faults.refuse_streams > 0 && faults.refuse_streams-- > 0) {
      return Refuse(grpc::StatusCode::RESOURCE_EXHAUSTED, "OVERLOADED", "too many streams", 50);
    }
    v1::UpsertStreamRequest request;
    std::string collection;
    int acks = 0;
    while (stream->Read(&request)) {
      if (faults.swallow_uploads) continue;
      if (!request.collection().empty()) collection = request.collection();
      v1::UpsertStreamResponse ack;
      ack.set_sequence(request.sequence());
      if (faults.disk_full_items > 0 && faults.disk_full_items-- > 0) {
        SetItem(ack.mutable_status(), 8, "DISK_FULL", "the disk is full");
      } else {
        Store(collection, request.image(), &ack);
      }
      if (!stream->Write(ack)) return grpc::Status::CANCELLED;
      if (faults.cut_stream_after > 0 && ++acks >= faults.cut_stream_after) {
        return grpc::Status(grpc::StatusCode::UNAVAILABLE, "the connection is too old");
      }
    }
    return grpc::Status::OK;
  }

  grpc::Status Get(grpc::ServerContext* context, const v1::GetRequest* request,
                   v1::GetResponse* response) override {
    if (auto status = fake_->Enter(*context); !status.ok()) return status;
    MutexLock lock(&fake_->mutex_);
    const auto* data = Find(request->collection());
    if (data == nullptr) return NoSuchCollection(request->collection());
    for (const std::string& id : request->ids()) {
      v1::Status* status = response->add_results();
      const auto it = data->images.find(id);
      if (it == data->images.end()) {
        SetItem(status, 5, "IMAGE_NOT_FOUND", absl::StrCat("no image ", id));
      } else {
        Fill(*it, !request->without_vector(), response->add_images());
      }
    }
    return grpc::Status::OK;
  }

  grpc::Status Delete(grpc::ServerContext* context, const v1::DeleteRequest* request,
                      v1::DeleteResponse* response) override {
    if (auto status = fake_->Enter(*context); !status.ok()) return status;
    MutexLock lock(&fake_->mutex_);
    auto* data = Find(request->collection());
    if (data == nullptr) return NoSuchCollection(request->collection());
    uint64_t deleted = 0;
    for (const std::string& id : request->ids()) deleted += data->images.erase(id);
    response->set_deleted(deleted);
    response->set_version(++fake_->version_);
    return grpc::Status::OK;
  }

  grpc::Status Count(grpc::ServerContext* context, const v1::CountRequest* request,
                     v1::CountResponse* response) override {
    if (auto status = fake_->Enter(*context); !status.ok()) return status;
    MutexLock lock(&fake_->mutex_);
    const auto* data = Find(request->collection());
    if (data == nullptr) return NoSuchCollection(request->collection());
    uint64_t count = data->images.size();
    if (request->ids_size() > 0) {
      count = std::count_if(request->ids().begin(), request->ids().end(),
                            [&](const std::string& id) { return data->images.count(id) > 0; });
    }
    response->set_count(count);
    return grpc::Status::OK;
  }

  grpc::Status List(grpc::ServerContext* context, const v1::ListRequest* request,
                    v1::ListResponse* response) override {
    if (auto status = fake_->Enter(*context); !status.ok()) return status;
    MutexLock lock(&fake_->mutex_);
    const auto* data = Find(request->collection());
    if (data == nullptr) return NoSuchCollection(request->collection());
    const int page = request->page_size() == 0 ? 100 : request->page_size();
    for (auto it = data->images.upper_bound(request->page_token()); it != data->images.end();
         ++it) {
      if (response->images_size() == page) {
        response->set_next_page_token(response->images(page - 1).id());
        break;
      }
      Fill(*it, !request->without_vector(), response->add_images());
    }
    return grpc::Status::OK;
  }

 private:
  static grpc::Status NoSuchCollection(const std::string& name) {
    return Refuse(grpc::StatusCode::NOT_FOUND, "COLLECTION_NOT_FOUND",
                  absl::StrCat("no collection ", NameOrDefault(name)));
  }

  Data* Find(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(fake_->mutex_) {
    const auto it = fake_->collections_.find(NameOrDefault(name));
    return it == fake_->collections_.end() ? nullptr : &it->second;
  }

  static void Fill(const std::pair<const std::string, Entry>& from, bool with_vector,
                   v1::StoredImage* to) {
    to->set_id(from.first);
    *to->mutable_metadata() = from.second.metadata;
    to->set_content_hash(from.second.content_hash);
    to->set_version(from.second.version);
    to->set_source_uri(from.second.source_uri);
    if (with_vector) CopyVector(from.second.vector, to->mutable_vector());
  }

  grpc::Status SearchOne(const v1::SearchRequest& request, v1::SearchResponse* response) {
    MutexLock lock(&fake_->mutex_);
    const auto* data = Find(request.collection());
    if (data == nullptr) return NoSuchCollection(request.collection());
    std::vector<float> query(data->collection.dimension(), 0);
    for (const v1::Term& term : request.query().terms()) {
      std::vector<float> vector;
      if (term.has_vector()) {
        vector.assign(term.vector().values().begin(), term.vector().values().end());
      } else if (term.has_id()) {
        const auto it = data->images.find(term.id());
        if (it == data->images.end()) {
          return Refuse(grpc::StatusCode::NOT_FOUND, "IMAGE_NOT_FOUND", "no such image");
        }
        vector = it->second.vector;
      } else {
        vector = FakeVector(term.has_text() ? term.text() : term.image());
      }
      const float weight = term.has_weight() ? term.weight() : 1;
      for (size_t i = 0; i < query.size(); ++i) query[i] += weight * vector[i];
    }
    Normalise(&query);
    std::vector<std::pair<float, const std::string*>> order;
    for (const auto& [id, entry] : data->images) {
      order.emplace_back(-Dot(query, entry.vector), &id);
    }
    std::stable_sort(order.begin(), order.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    const size_t limit = request.has_limit() ? request.limit() : 10;
    for (const auto& [negated, id] : order) {
      if (response->hits_size() == static_cast<int>(limit)) break;
      if (request.has_min_score() && -negated < request.min_score()) break;
      v1::Hit* hit = response->add_hits();
      hit->set_id(*id);
      hit->set_score(-negated);
      if (request.with_metadata()) *hit->mutable_metadata() = data->images.at(*id).metadata;
      if (request.with_vector()) CopyVector(data->images.at(*id).vector, hit->mutable_vector());
    }
    response->set_version(fake_->version_);
    return grpc::Status::OK;
  }

  void Store(const std::string& collection, const v1::Image& image, v1::UpsertStreamResponse* ack) {
    MutexLock lock(&fake_->mutex_);
    auto* data = Find(collection);
    if (data == nullptr) {
      return SetItem(ack->mutable_status(), 5, "COLLECTION_NOT_FOUND", "no such collection");
    }
    std::string id = image.id().empty() ? FakeContentHash(image.content()) : image.id();
    ack->set_id(id);
    if (absl::StartsWith(image.content(), "corrupt")) {
      return SetItem(ack->mutable_status(), 3, "CORRUPT_IMAGE", "the image is corrupt");
    }
    const bool exists = data->images.count(id) > 0;
    Entry entry;
    if (image.has_content()) {
      entry.vector = FakeVector(image.content());
      entry.content_hash = FakeContentHash(image.content());
    } else if (image.has_vector()) {
      entry.vector.assign(image.vector().values().begin(), image.vector().values().end());
      if (static_cast<int>(entry.vector.size()) != data->collection.dimension()) {
        return SetItem(ack->mutable_status(), 3, "DIM_MISMATCH", "wrong dimension");
      }
      Normalise(&entry.vector);
    } else if (exists) {
      entry = data->images[id];
    } else {
      return SetItem(ack->mutable_status(), 5, "IMAGE_NOT_FOUND", "no such image");
    }
    entry.metadata = image.metadata();
    if (!image.source_uri().empty()) entry.source_uri = image.source_uri();
    entry.version = ++fake_->version_;
    data->images[id] = std::move(entry);
    ack->set_created(!exists);
    ack->set_version(fake_->version_);
    ++fake_->uploads_;
  }

  FakeServer* const fake_;
};

class FakeServer::AdminService final : public v1::Admin::Service {
 public:
  explicit AdminService(FakeServer* fake) : fake_(fake) {}

  grpc::Status CreateCollection(grpc::ServerContext* context,
                                const v1::CreateCollectionRequest* request,
                                v1::CreateCollectionResponse* response) override {
    if (auto status = fake_->Enter(*context); !status.ok()) return status;
    MutexLock lock(&fake_->mutex_);
    const std::string& name = request->collection().name();
    if (fake_->collections_.count(name) > 0) {
      return Refuse(grpc::StatusCode::ALREADY_EXISTS, "COLLECTION_EXISTS", "it exists");
    }
    Data& data = fake_->collections_[name];
    data.collection = request->collection();
    if (data.collection.dimension() == 0) {
      data.collection.set_dimension(kFakeDimension);
      data.collection.set_model_id("fake@1");
    }
    *response->mutable_collection() = data.collection;
    response->set_version(++fake_->version_);
    return grpc::Status::OK;
  }

  grpc::Status GetCollection(grpc::ServerContext* context, const v1::GetCollectionRequest* request,
                             v1::GetCollectionResponse* response) override {
    if (auto status = fake_->Enter(*context); !status.ok()) return status;
    MutexLock lock(&fake_->mutex_);
    const auto it = fake_->collections_.find(NameOrDefault(request->collection()));
    if (it == fake_->collections_.end()) {
      return Refuse(grpc::StatusCode::NOT_FOUND, "COLLECTION_NOT_FOUND", "no such collection");
    }
    *response->mutable_collection() = it->second.collection;
    response->mutable_collection()->set_image_count(it->second.images.size());
    return grpc::Status::OK;
  }

  grpc::Status ListCollections(grpc::ServerContext* context, const v1::ListCollectionsRequest*,
                               v1::ListCollectionsResponse* response) override {
    if (auto status = fake_->Enter(*context); !status.ok()) return status;
    MutexLock lock(&fake_->mutex_);
    for (const auto& [name, data] : fake_->collections_) {
      *response->add_collections() = data.collection;
    }
    return grpc::Status::OK;
  }

  grpc::Status DeleteCollection(grpc::ServerContext* context,
                                const v1::DeleteCollectionRequest* request,
                                v1::DeleteCollectionResponse* response) override {
    if (auto status = fake_->Enter(*context); !status.ok()) return status;
    MutexLock lock(&fake_->mutex_);
    if (fake_->collections_.erase(request->collection()) == 0) {
      return Refuse(grpc::StatusCode::NOT_FOUND, "COLLECTION_NOT_FOUND", "no such collection");
    }
    response->set_version(++fake_->version_);
    return grpc::Status::OK;
  }

  grpc::Status GetServerInfo(grpc::ServerContext* context, const v1::GetServerInfoRequest*,
                             v1::GetServerInfoResponse* response) override {
    if (auto status = fake_->Enter(*context); !status.ok()) return status;
    response->set_server_version("fake");
    response->set_instance_id("fake-instance");
    response->set_ready(true);
    response->mutable_model()->set_id("fake@1");
    response->mutable_model()->set_dimension(kFakeDimension);
    response->mutable_limits()->set_max_message_bytes(1 << 20);
    response->mutable_limits()->set_max_image_pixels(40'000'000);
    response->mutable_limits()->set_max_image_side(16'384);
    return grpc::Status::OK;
  }

 private:
  FakeServer* const fake_;
};

FakeServer::FakeServer() {
  grpc::EnableDefaultHealthCheckService(true);
  {
    MutexLock lock(&mutex_);
    collections_["default"].collection.set_name("default");
    collections_["default"].collection.set_dimension(kFakeDimension);
  }
  Start("127.0.0.1:0");
}

FakeServer::~FakeServer() { Stop(); }

void FakeServer::Start(const std::string& address) {
  search_service_ = std::make_unique<SearchService>(this);
  admin_service_ = std::make_unique<AdminService>(this);
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(search_service_.get());
  builder.RegisterService(admin_service_.get());
  builder.SetMaxReceiveMessageSize(8 << 20);
  server_ = builder.BuildAndStart();
  server_->GetHealthCheckService()->SetServingStatus("ready", true);
  address_ = absl::StrCat("127.0.0.1:", port);
}

void FakeServer::Stop() {
  if (server_ == nullptr) return;
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
  server_.reset();
}

void FakeServer::Restart() {
  Stop();
  Start(address_);
}

grpc::Status FakeServer::Enter(const grpc::ServerContext& context) {
  MutexLock lock(&mutex_);
  last_metadata_.clear();
  for (const auto& [key, value] : context.client_metadata()) {
    last_metadata_.emplace(std::string(key.data(), key.size()),
                           std::string(value.data(), value.size()));
  }
  if (faults_.unavailable_calls > 0 && faults_.unavailable_calls-- > 0) {
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "try again");
  }
  return grpc::Status::OK;
}

size_t FakeServer::ImageCount(const std::string& collection) const {
  MutexLock lock(&mutex_);
  const auto it = collections_.find(collection);
  return it == collections_.end() ? 0 : it->second.images.size();
}

std::vector<std::string> FakeServer::Collections() const {
  MutexLock lock(&mutex_);
  std::vector<std::string> names;
  for (const auto& [name, data] : collections_) names.push_back(name);
  return names;
}

std::multimap<std::string, std::string> FakeServer::last_metadata() const {
  MutexLock lock(&mutex_);
  return last_metadata_;
}

}  // namespace imagesearch::client
