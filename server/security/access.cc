// The key file in force, and the checks of one call.
#include "server/security/access.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/error.h"
#include "google/protobuf/descriptor.h"
#include "prometheus/metric_family.h"
#include "server/handlers/target.h"
#include "server/logging.h"
#include "server/security/client_shares.h"

namespace imagesearch::server {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

KeyScope ToKeyScope(Scope scope) {
  switch (scope) {
    case Scope::kRead:
      return KeyScope::kRead;
    case Scope::kWrite:
      return KeyScope::kWrite;
    case Scope::kAdmin:
      return KeyScope::kAdmin;
  }
  return KeyScope::kAdmin;
}

absl::Status Unauthenticated(absl::string_view reason, absl::string_view message) {
  return Error(absl::StatusCode::kUnauthenticated, reason, message);
}

// The collections that `message` names: a text `collection` or `alias`, or a message `collection`
// with a name.
void AddCollections(const Message& message, Demand* demand) {
  const auto* reflection = message.GetReflection();
  for (const char* name : {"collection", "alias"}) {
    const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(name);
    if (field == nullptr || field->is_repeated()) continue;
    std::string value;
    if (field->type() == FieldDescriptor::TYPE_STRING) {
      value = reflection->GetString(message, field);
    } else if (field->type() == FieldDescriptor::TYPE_MESSAGE) {
      const Message& inner = reflection->GetMessage(message, field);
      const FieldDescriptor* inner_name = inner.GetDescriptor()->FindFieldByName("name");
      if (inner_name == nullptr || inner_name->type() != FieldDescriptor::TYPE_STRING) continue;
      value = inner.GetReflection()->GetString(inner, inner_name);
    } else {
      continue;
    }
    demand->collections.push_back(value.empty() ? kDefaultCollection : value);
  }
}

}  // namespace

Demand DemandOf(const Message& request) {
  Demand demand;
  const auto* reflection = request.GetReflection();
  const FieldDescriptor* batch = request.GetDescriptor()->FindFieldByName("requests");
  if (batch != nullptr && batch->is_repeated() && batch->type() == FieldDescriptor::TYPE_MESSAGE) {
    demand.items = reflection->FieldSize(request, batch);
    for (int i = 0; i < demand.items; ++i) {
      AddCollections(reflection->GetRepeatedMessage(request, batch, i), &demand);
    }
    // An empty batch is the handler's to refuse; it names no collection.
  } else {
    AddCollections(request, &demand);
    // Who may see some collections may ask for the server's state, and for lists that show only
    // those. A new method is closed to such keys until it names a collection, or stands here.
    const std::string& name = request.GetDescriptor()->name();
    demand.whole_server = demand.collections.empty() && name != "GetServerInfoRequest" &&
                          name != "ListCollectionsRequest" && name != "ListAliasesRequest";
  }
  for (const char* name : {"images", "inputs"}) {
    const FieldDescriptor* items = request.GetDescriptor()->FindFieldByName(name);
    if (items != nullptr && items->is_repeated()) {
      demand.items = reflection->FieldSize(request, items);
    }
  }
  demand.items = std::max(demand.items, 1);
  return demand;
}

absl::StatusOr<std::shared_ptr<Access>> Access::Open(const std::string& key_file,
                                                     absl::Duration interval) {
  std::shared_ptr<Access> access(new Access(key_file));
  if (key_file.empty()) return access;
  absl::Status status = access->Reload();
  if (!status.ok()) return status;
  access->watch_ =
      std::make_unique<Periodic>(interval, [raw = access.get()] { (void)raw->Reload(); });
  return access;
}

absl::StatusOr<std::shared_ptr<const Access::Keys>> Access::Load(const std::string& text) {
  absl::StatusOr<std::vector<ApiKeyEntry>> entries = ParseApiKeyFile(text);
  if (!entries.ok()) return entries.status();
  std::shared_ptr<const Keys> before;
  {
    MutexLock lock(&mutex_);
    before = keys_;
  }
  auto keys = std::make_shared<Keys>();
  for (ApiKeyEntry& entry : *entries) {
    auto key = std::make_shared<ActiveKey>();
    const std::string id = entry.id;
    key->entry = std::move(entry);
    const auto found = before == nullptr ? Keys::const_iterator() : before->find(id);
    key->use = before != nullptr && found != before->end() ? found->second->use
                                                           : std::make_shared<ActiveKey::Use>();
    (*keys)[id] = std::move(key);
  }
  return keys;
}

absl::Status Access::Reload() {
  std::ifstream file(key_file_, std::ios::binary);
  std::ostringstream content;
  absl::StatusOr<std::shared_ptr<const Keys>> keys =
      absl::UnavailableError(absl::StrCat("can't read ", key_file_));
  // Inserting an empty file sets failbit on `content`, which is no error of reading.
  if (file) content << file.rdbuf();
  if (file && !file.bad()) {
    {
      MutexLock lock(&mutex_);
      if (keys_ != nullptr && content.str() == text_) return refusal_;
    }
    keys = Load(content.str());
  }
  MutexLock lock(&mutex_);
  text_ = content.str();
  if (keys.ok()) {
    keys_ = *std::move(keys);
    refusal_ = absl::OkStatus();
    Log(LogLevel::kInfo, "API keys in force", {{"keys", absl::StrCat(keys_->size())}});
    return refusal_;
  }
  if (keys_ != nullptr && refusal_ != keys.status()) {
    Log(LogLevel::kError, "API key file refused, the keys before stay in force",
        {{"file", key_file_}, {"cause", std::string(keys.status().message())}});
  }
  refusal_ = keys.status();
  return refusal_;
}

absl::Status Access::Identify(absl::string_view authorization, CallContext* call) const {
  call->client = ClientOfPeer(call->peer);
  if (key_file_.empty()) return absl::OkStatus();
  if (authorization.empty()) {
    return Unauthenticated("NO_KEY", "this server asks for an API key: authorization: Bearer KEY");
  }
  const size_t blank = authorization.find(' ');
  if (blank == absl::string_view::npos ||
      !absl::EqualsIgnoreCase(authorization.substr(0, blank), "bearer")) {
    return Unauthenticated("BAD_KEY", "authorization must be of the form Bearer KEY");
  }
  const absl::string_view secret = absl::StripAsciiWhitespace(authorization.substr(blank + 1));
  std::shared_ptr<const Keys> keys;
  {
    MutexLock lock(&mutex_);
    keys = keys_;
  }
  // An unknown id costs the same hash as a known one.
  static const ApiKeyEntry* nobody = [] {
    auto* entry = new ApiKeyEntry();
    entry->salt = std::string(32, '0');
    entry->hash = std::string(64, '0');
    return entry;
  }();
  const std::optional<std::string> id = ApiKeyId(secret);
  const auto found = id ? keys->find(*id) : keys->end();
  const bool known = found != keys->end();
  if (!MatchesApiKey(known ? found->second->entry : *nobody, secret) || !known) {
    return Unauthenticated("BAD_KEY", "the API key is not one of this server's");
  }
  if (absl::Now() >= found->second->entry.expires) {
    return Unauthenticated("KEY_EXPIRED", "the API key has expired");
  }
  call->key = found->second;
  call->client = absl::StrCat("key:", *id);
  return absl::OkStatus();
}

absl::Status Access::Authorize(Scope scope, const Demand& demand, const CallContext& call) {
  return call.key == nullptr ? absl::OkStatus() : Authorize(*call.key, scope, demand);
}

absl::Status Access::Authorize(const ActiveKey& active, Scope scope, const Demand& demand) {
  const ApiKeyEntry& key = active.entry;
  if (key.scope < ToKeyScope(scope)) {
    return Error(absl::StatusCode::kPermissionDenied, "SCOPE",
                 absl::StrCat("this call needs a key of scope ", KeyScopeName(ToKeyScope(scope)),
                              ", yours has ", KeyScopeName(key.scope)));
  }
  if (key.collections.empty()) return absl::OkStatus();
  if (demand.whole_server) {
    return Error(absl::StatusCode::kPermissionDenied, "COLLECTION_DENIED",
                 "your key is limited to some collections, this call is about the whole server");
  }
  for (const std::string& name : demand.collections) {
    if (std::find(key.collections.begin(), key.collections.end(), name) == key.collections.end()) {
      return Error(absl::StatusCode::kPermissionDenied, "COLLECTION_DENIED",
                   "your key is not for this collection");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const ActiveKey>> Access::Recheck(const CallContext& call) const {
  if (call.key == nullptr) return nullptr;
  const ApiKeyEntry& before = call.key->entry;
  std::shared_ptr<const Keys> keys;
  {
    MutexLock lock(&mutex_);
    keys = keys_;
  }
  const auto found = keys->find(before.id);
  if (found == keys->end() || found->second->entry.hash != before.hash) {
    return Unauthenticated("BAD_KEY", "the API key was revoked");
  }
  if (absl::Now() >= found->second->entry.expires) {
    return Unauthenticated("KEY_EXPIRED", "the API key has expired");
  }
  return found->second;
}

absl::Duration Access::Take(const ActiveKey& key, int items) {
  return key.entry.per_second > 0 ? key.use->bucket.Take(items, key.entry.per_second)
                                  : absl::ZeroDuration();
}

absl::Status Access::Meter(int items, CallContext* call) const {
  if (call->key == nullptr) return absl::OkStatus();
  const ApiKeyEntry& key = call->key->entry;
  const std::shared_ptr<ActiveKey::Use> use = call->key->use;
  const int calls = use->calls.fetch_add(1) + 1;
  call->place = std::shared_ptr<void>(nullptr, [use](void*) { use->calls.fetch_sub(1); });
  if (key.concurrent > 0 && calls > key.concurrent) {
    call->place.reset();
    return Overloaded("KEY_CONCURRENCY",
                      absl::StrCat("your key may have ", key.concurrent, " calls at a time"),
                      absl::Milliseconds(100));
  }
  const absl::Duration wait = items > 0 ? Take(*call->key, items) : absl::ZeroDuration();
  if (wait > absl::ZeroDuration()) {
    call->place.reset();
    return Overloaded("KEY_RATE",
                      absl::StrCat("your key may do ", key.per_second, " items a second"),
                      std::max(wait, absl::Milliseconds(1)));
  }
  return absl::OkStatus();
}

std::vector<prometheus::MetricFamily> Access::Collect() const {
  if (key_file_.empty()) return {};
  MutexLock lock(&mutex_);
  prometheus::ClientMetric keys, refused;
  keys.gauge.value = static_cast<double>(keys_->size());
  refused.gauge.value = refusal_.ok() ? 0 : 1;
  return {{"imagesearch_api_keys", "API keys in force", prometheus::MetricType::Gauge, {keys}},
          {"imagesearch_api_keys_refused",
           "1 while the API key file on disk is bad and not in force",
           prometheus::MetricType::Gauge,
           {refused}}};
}

}  // namespace imagesearch::server
