// Channel, login, and the meaning of Milvus' error codes.
#include "index/milvus/session.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/call_deadline.h"
#include "base/error.h"
#include "base/steady_time.h"

namespace imagesearch::index {
namespace {

// Milvus takes and gives 64 MiB at most; some room for framing.
constexpr int kMaxMessageBytes = 65 << 20;
constexpr absl::Duration kRetryAfter = absl::Seconds(1);
// A timestamp of the oracle: milliseconds since 1970, then a counter.
constexpr int kCounterBits = 18;

uint64_t ClockVersion() {
  return static_cast<uint64_t>(absl::ToUnixMillis(absl::Now())) << kCounterBits;
}

grpc::ChannelArguments Arguments() {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxMessageBytes);
  // A peer that vanished without a word is noticed, and one that is back is found soon.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5'000);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5'000);  // for one attempt, in truth
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2'000);
  // Two databases of one process (tests) don't share a connection's backoff.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return arguments;
}

// What a code of Milvus' common numbering asks of the caller.
enum class Meaning { kRetry, kLoading, kBusy, kNoCollection, kDenied, kOther };

Meaning MeaningOf(const pb::Status& status) {
  const int code = status.code();
  switch (code) {
    case 100:
      return Meaning::kNoCollection;
    case 101:
    case 103:
      return Meaning::kLoading;
    case 3:  // memory
    case 7:  // disk
    case 8:  // rate
    case 9:  // writes denied for a quota
      return Meaning::kBusy;
    default:
      break;
  }
  const bool service = code == 1 || code == 2 || code == 4;
  const bool placement = (code >= 400 && code < 700) ||
                         (code >= 901 && code < 1000);  // replica, channel, segment, node
  const bool log = code >= 1000 && code < 1100;
  const bool topic = code >= 1300 && code < 1400;
  if (service || placement || log || topic || status.retriable()) return Meaning::kRetry;
  if (code >= 1400 && code < 1500) return Meaning::kDenied;
  // Older servers know one code for everything unexpected.
  for (const char* transient :
       {"not healthy", "not ready", "shard leader", "no available", "node not match",
        "connection refused", "server is not", "channel not", "failed to search/query delegator",
        "Unavailable", "context canceled", "is not serving", "node offline",
        "error reading from server"}) {
    if (absl::StrContains(status.reason(), transient)) return Meaning::kRetry;
  }
  if (absl::StrContains(status.reason(), "not loaded")) return Meaning::kLoading;
  return Meaning::kOther;
}

}  // namespace

absl::Status NotOnMilvus(absl::string_view message) {
  return Error(absl::StatusCode::kUnimplemented, "NOT_ON_MILVUS", message);
}

Session::Session(const MilvusOptions& options, std::shared_ptr<grpc::Channel> channel)
    : options_(options), stub_(pb::MilvusService::NewStub(std::move(channel))) {
  if (!options.user.empty()) {
    login_ = absl::Base64Escape(absl::StrCat(options.user, ":", options.password));
  }
}

absl::StatusOr<std::shared_ptr<Session>> Session::Make(const MilvusOptions& options) {
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (options.tls) {
    grpc::SslCredentialsOptions ssl;
    if (!options.ca_file.empty()) {
      std::ifstream in(options.ca_file, std::ios::binary);
      std::ostringstream text;
      if (!in || !(text << in.rdbuf())) {
        return InvalidArgument("BAD_PEM_FILE",
                               absl::StrCat("can't read the PEM file ", options.ca_file));
      }
      ssl.pem_root_certs = text.str();
    }
    credentials = grpc::SslCredentials(ssl);
  }
  return std::shared_ptr<Session>(
      new Session(options, grpc::CreateCustomChannel(options.address, credentials, Arguments())));
}

int64_t Session::NowMicros() const {
  return absl::ToUnixMicros(options_.clock ? options_.clock() : absl::Now());
}

absl::Time Session::Prepare(grpc::ClientContext* context) const {
  const absl::Time end = CallDeadline::Current();
  const absl::Duration left = std::min(end - SteadyNow(), options_.call_timeout);
  context->set_deadline(absl::ToChronoTime(absl::Now() + left));
  if (!login_.empty()) context->AddMetadata("authorization", login_);
  return end;
}

absl::Status Session::FromGrpc(const grpc::Status& status, absl::string_view what,
                               absl::Time end) const {
  const std::string message =
      absl::StrCat("Milvus at ", options_.address, ", ", what, ": ", status.error_message());
  auto away = [&](absl::string_view text) {
    return WithRetryAfter(Error(absl::StatusCode::kUnavailable, "MILVUS_UNAVAILABLE", text),
                          kRetryAfter);
  };
  switch (status.error_code()) {
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      if (SteadyNow() >= end) {
        return absl::DeadlineExceededError(absl::StrCat(
            "Milvus at ", options_.address, " gave no answer before the deadline, ", what));
      }
      return away(absl::StrCat("Milvus at ", options_.address, " gave no answer in ",
                               absl::FormatDuration(options_.call_timeout), ", ", what));
    case grpc::StatusCode::UNAVAILABLE:
    case grpc::StatusCode::CANCELLED:  // by the other side, as it stops
      return away(message);
    case grpc::StatusCode::UNAUTHENTICATED:
    case grpc::StatusCode::PERMISSION_DENIED:
      return Error(absl::StatusCode::kFailedPrecondition, "MILVUS_DENIED", message);
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      if (absl::StrContains(message, "larger than max")) {
        return Error(absl::StatusCode::kOutOfRange, "MESSAGE_TOO_LARGE", message);
      }
      return Overloaded("MILVUS_BUSY", message, kRetryAfter);
    case grpc::StatusCode::UNIMPLEMENTED:
      return NotOnMilvus(message);
    default:
      return Error(absl::StatusCode::kInternal, "MILVUS_ERROR", message);
  }
}

absl::Status Session::FromMilvus(const pb::Status& status, absl::string_view what) const {
  if (status.error_code() == 0 && status.code() == 0) return absl::OkStatus();
  const std::string message = absl::StrCat("Milvus at ", options_.address, ", ", what, ": ",
                                           status.reason(), " (code ", status.code(), ")");
  switch (MeaningOf(status)) {
    case Meaning::kRetry:
      return WithRetryAfter(Error(absl::StatusCode::kUnavailable, "MILVUS_UNAVAILABLE", message),
                            kRetryAfter);
    case Meaning::kLoading:
      return WithRetryAfter(Error(absl::StatusCode::kUnavailable, "MILVUS_LOADING", message),
                            kRetryAfter);
    case Meaning::kBusy:
      return Overloaded("MILVUS_BUSY", message, kRetryAfter);
    case Meaning::kNoCollection:
      return Error(absl::StatusCode::kNotFound, "NO_SUCH_COLLECTION", message);
    case Meaning::kDenied:
      return Error(absl::StatusCode::kFailedPrecondition, "MILVUS_DENIED", message);
    default:
      return Error(absl::StatusCode::kInternal, "MILVUS_ERROR", message);
  }
}

void Session::Advance(uint64_t version) {
  uint64_t known = version_.load();
  while (known < version && !version_.compare_exchange_weak(known, version)) {
  }
}

absl::StatusOr<uint64_t> Session::Now() {
  if (has_oracle_.load()) {
    pb::AllocTimestampResponse response;
    absl::Status status =
        Call("asking for the time", &Stub::AllocTimestamp, pb::AllocTimestampRequest(), &response);
    if (status.ok()) return response.timestamp();
    if (!absl::IsUnimplemented(status)) return status;
    has_oracle_.store(false);
  }
  return std::max(ClockVersion(), version() + 1);
}

absl::StatusOr<uint64_t> Session::Written(uint64_t timestamp) {
  if (timestamp == 0) {
    absl::StatusOr<uint64_t> now = Now();
    if (!now.ok()) return now.status();
    timestamp = *now;
  }
  Advance(timestamp);
  return timestamp;
}

}  // namespace imagesearch::index
