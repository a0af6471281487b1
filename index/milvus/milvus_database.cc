// Opens the session, keeps handles of collections fresh, and sweeps expired images.
#include "index/milvus/milvus_database.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "base/call_deadline.h"
#include "base/error.h"
#include "base/mutex.h"
#include "base/steady_time.h"
#include "index/check_collection.h"
#include "index/milvus/catalog.h"
#include "index/milvus/milvus_collection.h"
#include "index/milvus/session.h"
#include "nlohmann/json.hpp"

namespace imagesearch::index {
namespace {

// A handle is asked for again after this long: another process may have deleted the collection or
// made it anew.
constexpr absl::Duration kFresh = absl::Seconds(1);
constexpr absl::Duration kOpenPause = absl::Milliseconds(500);
constexpr absl::Duration kHealthTimeout = absl::Seconds(2);
constexpr absl::Duration kListTimeout = absl::Seconds(5);
constexpr int kCounterBits = 18;  // of a version, below its milliseconds

std::string RandomHex() {
  absl::BitGen random;
  return absl::StrCat(absl::Hex(absl::Uniform<uint64_t>(random), absl::kZeroPad16),
                      absl::Hex(absl::Uniform<uint64_t>(random), absl::kZeroPad16));
}

absl::Status NoSuchCollection(const std::string& name) {
  return Error(absl::StatusCode::kNotFound, "NO_SUCH_COLLECTION",
               absl::StrCat("no collection '", name, "'"));
}

class MilvusDatabase : public Database {
 public:
  explicit MilvusDatabase(std::shared_ptr<Session> session) : session_(std::move(session)) {}
  ~MilvusDatabase() override { Close(absl::InfinitePast()).IgnoreError(); }

  absl::Status Open();

  absl::StatusOr<uint64_t> CreateCollection(const CollectionOptions& options) override;
  absl::StatusOr<std::shared_ptr<Collection>> GetCollection(const std::string& name) override;
  std::vector<std::shared_ptr<Collection>> ListCollections() override;
  absl::StatusOr<uint64_t> DeleteCollection(const std::string& name) override;

  uint64_t version() const override { return session_->version(); }
  absl::Status WaitForVersion(uint64_t version, absl::Time deadline) override;
  const std::string& instance_id() const override { return instance_id_; }
  absl::Status WriteHealth() const override;
  absl::Status Close(absl::Time snapshot_deadline) override;

 private:
  struct Handle {
    std::shared_ptr<MilvusCollection> collection;
    absl::Time seen = absl::InfinitePast();
  };

  // Reaches Milvus once: version and instance id.
  absl::Status Connect();
  absl::StatusOr<std::string> ReadInstance();
  // NOT_FOUND where there is no such collection in Milvus.
  absl::StatusOr<pb::DescribeCollectionResponse> Describe(const std::string& milvus_name);
  absl::Status Create(pb::CollectionSchema schema, const std::string& facts);
  absl::Status Drop(const std::string& milvus_name);
  absl::StatusOr<std::shared_ptr<MilvusCollection>> Find(const std::string& name);
  void Forget(const std::string& name);
  void Sweep();

  const std::shared_ptr<Session> session_;
  std::string instance_id_;  // constant after Open
  Mutex mutex_;
  CondVar stop_changed_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<std::string, Handle> handles_ ABSL_GUARDED_BY(mutex_);
  std::thread sweeper_;
};

absl::StatusOr<pb::DescribeCollectionResponse> MilvusDatabase::Describe(
    const std::string& milvus_name) {
  pb::CollectionRequest request;
  request.set_db_name(session_->options().database);
  request.set_collection_name(milvus_name);
  pb::DescribeCollectionResponse response;
  absl::Status status = session_->Call("looking at a collection",
                                       &Session::Stub::DescribeCollection, request, &response);
  if (status.ok()) return response;
  // Code 100 is that of newer servers.
  if (absl::StrContains(status.message(), "can't find collection")) {
    return absl::NotFoundError(status.message());
  }
  return status;
}

absl::Status MilvusDatabase::Create(pb::CollectionSchema schema, const std::string& facts) {
  schema.set_description(facts);
  pb::CreateCollectionRequest request;
  request.set_db_name(session_->options().database);
  request.set_collection_name(schema.name());
  request.set_schema(schema.SerializeAsString());
  request.set_shards_num(session_->options().shards);
  request.set_consistency_level(pb::SESSION);
  AddPair(kFactsProperty, facts, request.mutable_properties());
  pb::Status response;
  return session_->Call("making a collection", &Session::Stub::CreateCollection, request,
                        &response);
}

absl::Status MilvusDatabase::Drop(const std::string& milvus_name) {
  pb::CollectionRequest request;
  request.set_db_name(session_->options().database);
  request.set_collection_name(milvus_name);
  pb::Status response;
  return session_->Call("deleting a collection", &Session::Stub::DropCollection, request,
                        &response);
}

absl::StatusOr<std::string> MilvusDatabase::ReadInstance() {
  const std::string name = InstanceCollection(session_->options().prefix);
  auto description = Describe(name);
  if (absl::IsNotFound(description.status())) {
    // Of several processes that make it at once, one wins; all read what it wrote.
    const absl::Status made =
        Create(MakeSchema(name, 2), nlohmann::json({{"instance", RandomHex()}}).dump());
    description = Describe(name);
    if (!description.ok() && !made.ok()) return made;
  }
  if (!description.ok()) return description.status();
  const auto facts = nlohmann::json::parse(FactsOf(*description), nullptr, false);
  if (!facts.is_object() || !facts.contains("instance") || !facts["instance"].is_string()) {
    return Error(absl::StatusCode::kFailedPrecondition, "MILVUS_ERROR",
                 absl::StrCat("the Milvus collection ", name,
                              " is not one of imagesearchd: choose another prefix"));
  }
  return facts["instance"].get<std::string>();
}

absl::Status MilvusDatabase::Connect() {
  auto now = session_->Now();
  if (!now.ok()) return now.status();
  auto instance = ReadInstance();
  if (!instance.ok()) return instance.status();
  session_->Advance(*now);
  instance_id_ = *std::move(instance);
  return absl::OkStatus();
}

absl::Status MilvusDatabase::Open() {
  const MilvusOptions& options = session_->options();
  const absl::Time give_up = SteadyNow() + options.open_timeout;
  std::string told;
  while (true) {
    absl::Status status = Connect();
    if (status.ok()) break;
    // A server that starts knows many ways to say so; what a person must mend is told at once.
    const bool may_pass = !absl::IsFailedPrecondition(status) && !absl::IsInvalidArgument(status) &&
                          !absl::IsUnimplemented(status);
    if (!may_pass || SteadyNow() + kOpenPause >= give_up) return status;
    const std::string waiting = absl::StrCat("waiting for Milvus: ", status.message());
    if (options.on_progress && waiting != told) options.on_progress(waiting);
    told = waiting;
    absl::SleepFor(kOpenPause);
  }
  if (options.sweep_interval > absl::ZeroDuration()) sweeper_ = std::thread([this] { Sweep(); });
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<MilvusCollection>> MilvusDatabase::Find(const std::string& name) {
  {
    MutexLock lock(&mutex_);
    const auto found = handles_.find(name);
    if (found != handles_.end() && SteadyNow() - found->second.seen < kFresh) {
      return found->second.collection;
    }
  }
  // Names that can't be are none of Milvus' business.
  if (!CheckName(name, "a collection").ok()) return NoSuchCollection(name);
  auto description = Describe(MilvusName(session_->options().prefix, name));
  if (absl::IsNotFound(description.status())) {
    Forget(name);
    return NoSuchCollection(name);
  }
  if (!description.ok()) return description.status();
  std::string nonce;
  auto options = OptionsOfFacts(name, FactsOf(*description), &nonce);
  if (!options) {
    return Error(absl::StatusCode::kFailedPrecondition, "MILVUS_ERROR",
                 absl::StrCat("the Milvus collection ", description->schema().name(),
                              " was not made by imagesearchd"));
  }
  std::shared_ptr<MilvusCollection> collection;
  {
    MutexLock lock(&mutex_);
    Handle& handle = handles_[name];
    if (handle.collection != nullptr && handle.collection->nonce() == nonce) {
      handle.seen = SteadyNow();
      return handle.collection;
    }
    if (handle.collection != nullptr) handle.collection->Retire();
    collection = std::make_shared<MilvusCollection>(session_, *std::move(options), nonce);
    handle = {collection, SteadyNow()};
  }
  // Who made it may have ended before it was whole.
  absl::Status status = collection->Prepare();
  if (!status.ok()) {
    Forget(name);
    return status;
  }
  return collection;
}

void MilvusDatabase::Forget(const std::string& name) {
  MutexLock lock(&mutex_);
  const auto found = handles_.find(name);
  if (found == handles_.end()) return;
  found->second.collection->Retire();
  handles_.erase(found);
}

absl::StatusOr<uint64_t> MilvusDatabase::CreateCollection(const CollectionOptions& options) {
  absl::Status status = CheckCollection(options, session_->options().limits);
  if (status.ok()) status = CheckOptions(options);
  if (!status.ok()) return status;
  const std::string name = MilvusName(session_->options().prefix, options.name);
  const auto exists = [&options] {
    return Error(absl::StatusCode::kAlreadyExists, "ALREADY_EXISTS",
                 absl::StrCat("collection '", options.name, "' exists"));
  };
  auto description = Describe(name);
  if (description.ok()) return exists();
  if (!absl::IsNotFound(description.status())) return description.status();
  // The nonce makes two processes' requests differ, so that Milvus refuses the second.
  const std::string nonce = RandomHex();
  status = Create(MakeSchema(name, options.dimension), FactsJson(options, nonce));
  if (!status.ok()) {
    return absl::IsInternal(status) && Describe(name).ok() ? exists() : status;
  }
  auto collection = std::make_shared<MilvusCollection>(session_, options, nonce);
  status = collection->Prepare();
  if (absl::IsInternal(status)) {
    // Milvus' own ranges of index parameters are narrower than ours, and differ between its
    // releases.
    Drop(name).IgnoreError();
    return InvalidArgument("BAD_INDEX", status.message());
  }
  if (status.ok()) status = collection->AwaitLoaded();
  if (!status.ok()) return status;
  {
    MutexLock lock(&mutex_);
    handles_[options.name] = {collection, SteadyNow()};
  }
  return session_->Written(0);
}

absl::StatusOr<std::shared_ptr<Collection>> MilvusDatabase::GetCollection(const std::string& name) {
  auto found = Find(name);
  if (!found.ok()) return found.status();
  return std::shared_ptr<Collection>(*std::move(found));
}

std::vector<std::shared_ptr<Collection>> MilvusDatabase::ListCollections() {
  const CallDeadline deadline(SteadyNow() + kListTimeout);
  pb::ShowCollectionsRequest request;
  request.set_db_name(session_->options().database);
  pb::ShowCollectionsResponse response;
  std::vector<std::shared_ptr<Collection>> collections;
  absl::Status status =
      session_->Call("listing collections", &Session::Stub::ShowCollections, request, &response);
  if (!status.ok()) {  // what was known last
    MutexLock lock(&mutex_);
    for (const auto& [name, handle] : handles_) collections.push_back(handle.collection);
    return collections;
  }
  std::vector<std::string> names;
  for (const std::string& name : response.collection_names()) {
    if (auto ours = OurName(session_->options().prefix, name)) names.push_back(*std::move(ours));
  }
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    auto found = Find(name);
    if (found.ok()) collections.push_back(*std::move(found));
  }
  return collections;
}

absl::StatusOr<uint64_t> MilvusDatabase::DeleteCollection(const std::string& name) {
  auto found = Find(name);
  if (!found.ok()) return found.status();
  absl::Status status = Drop(MilvusName(session_->options().prefix, name));
  if (!status.ok()) return status;
  Forget(name);
  return session_->Written(0);
}

absl::Status MilvusDatabase::WaitForVersion(uint64_t version, absl::Time deadline) {
  const CallDeadline until(deadline);
  while (version > session_->version()) {
    // Reads wait for what Milvus has given out already; what lies in its future is waited for here.
    auto now = session_->Now();
    if (!now.ok()) return now.status();
    if (version <= *now) {
      session_->Advance(version);
      break;
    }
    const absl::Duration ahead =
        absl::Milliseconds(static_cast<int64_t>((version - *now) >> kCounterBits) + 1);
    if (SteadyNow() + ahead >= deadline) {
      return Error(absl::StatusCode::kDeadlineExceeded, "VERSION_NOT_REACHED",
                   absl::StrCat("version ", version, " lies ", absl::FormatDuration(ahead),
                                " in Milvus' future, beyond the deadline"));
    }
    absl::SleepFor(std::min(ahead, absl::Milliseconds(100)));
  }
  return absl::OkStatus();
}

absl::Status MilvusDatabase::WriteHealth() const {
  const CallDeadline deadline(SteadyNow() + kHealthTimeout);
  pb::CheckHealthResponse response;
  absl::Status status = session_->Call("asking for its health", &Session::Stub::CheckHealth,
                                       pb::CheckHealthRequest(), &response);
  if (absl::IsDeadlineExceeded(status)) {
    return Error(absl::StatusCode::kUnavailable, "MILVUS_UNAVAILABLE", status.message());
  }
  if (!status.ok()) return status;
  if (response.is_healthy()) return absl::OkStatus();
  return Error(
      absl::StatusCode::kUnavailable, "MILVUS_UNAVAILABLE",
      absl::StrCat("Milvus is not healthy: ",
                   response.reasons().empty() ? "it gives no reason" : response.reasons(0)));
}

void MilvusDatabase::Sweep() {
  const MilvusOptions& options = session_->options();
  while (true) {
    {
      const auto until = CondVar::Clock::now() + absl::ToChronoNanoseconds(std::min(
                                                     options.sweep_interval, absl::Hours(24)));
      MutexLock lock(&mutex_);
      while (!stop_ && CondVar::Clock::now() < until) stop_changed_.WaitUntil(&mutex_, until);
      if (stop_) return;
    }
    for (const auto& collection : ListCollections()) {
      const CallDeadline deadline(SteadyNow() + options.call_timeout);
      // What fails is swept next time.
      static_cast<MilvusCollection&>(*collection)
          .SweepExpired(session_->NowMicros() - absl::ToInt64Microseconds(kExpiredGrace))
          .IgnoreError();
    }
  }
}

absl::Status MilvusDatabase::Close(absl::Time) {
  {
    MutexLock lock(&mutex_);
    stop_ = true;
    stop_changed_.SignalAll();
  }
  if (sweeper_.joinable()) sweeper_.join();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> MilvusAddress(const std::string& url) {
  absl::string_view rest = url;
  const size_t colon = url.rfind(':');
  if (!absl::ConsumePrefix(&rest, "milvus://") || colon == std::string::npos ||
      colon + 1 == url.size() || rest.empty() || rest[0] == ':' || absl::StrContains(rest, "/") ||
      absl::StrContains(rest, "@") || !absl::StrContains(rest, ":")) {
    return InvalidArgument("BAD_ADDRESS",
                           absl::StrCat("'", url,
                                        "' is not milvus://HOST:PORT (user, password and "
                                        "TLS have settings of their own)"));
  }
  return std::string(rest);
}

absl::StatusOr<std::unique_ptr<Database>> OpenMilvus(const MilvusOptions& options) {
  const bool plain = std::all_of(options.prefix.begin(), options.prefix.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_';
  });
  if (options.prefix.empty() || !plain ||
      !absl::ascii_isalpha(static_cast<unsigned char>(options.prefix[0])) ||
      options.prefix.size() > 64) {
    return InvalidArgument(
        "BAD_NAME",
        "the prefix of Milvus collections has 1 to 64 letters, digits and _, and starts "
        "with a letter");
  }
  auto session = Session::Make(options);
  if (!session.ok()) return session.status();
  auto database = std::make_unique<MilvusDatabase>(*std::move(session));
  absl::Status status = database->Open();
  if (!status.ok()) return status;
  return database;
}

}  // namespace imagesearch::index
