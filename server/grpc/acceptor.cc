// One thread that polls the listening sockets. gRPC closes connections without telling: which ones
// are gone is seen by whether a descriptor still is the socket that was accepted.
#include "server/grpc/acceptor.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/steady_time.h"
#include "prometheus/metric_family.h"
#include "server/logging.h"
#include "server/security/client_shares.h"

namespace imagesearch::server {
namespace {

constexpr int kBacklog = 1024;
constexpr absl::Duration kSweepAtMost = absl::Milliseconds(100);

absl::Status CantListen(const std::string& host, int port, const char* what) {
  return absl::UnavailableError(
      absl::StrCat("can't listen on ", host, ":", port,
                   ": is the port taken, or the address not this host's? (", what, ")"));
}

int OpenSpare() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

std::string ClientOf(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(address).sin_addr, text, sizeof(text));
  } else if (address.ss_family == AF_INET6) {
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr, text,
              sizeof(text));
  }
  return ClientOfPeer(absl::StrCat("[", text, "]:0"));
}

// A listening socket on this address, or -1 with errno set.
int ListenOn(const addrinfo& address, int port) {
  const int fd = socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const int yes = 1, no = 0;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  sockaddr_storage name = {};
  std::memcpy(&name, address.ai_addr, address.ai_addrlen);
  if (address.ai_family == AF_INET6) {
    auto& six = reinterpret_cast<sockaddr_in6&>(name);
    six.sin6_port = htons(static_cast<uint16_t>(port));
    // [::] takes IPv4 as well.
    if (IN6_IS_ADDR_UNSPECIFIED(&six.sin6_addr)) {
      setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
    }
  } else {
    reinterpret_cast<sockaddr_in&>(name).sin_port = htons(static_cast<uint16_t>(port));
  }
  if (bind(fd, reinterpret_cast<sockaddr*>(&name), address.ai_addrlen) == 0 &&
      listen(fd, kBacklog) == 0) {
    return fd;
  }
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

int PortOf(int fd) {
  sockaddr_storage name = {};
  socklen_t size = sizeof(name);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size) != 0) return 0;
  return ntohs(name.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(name).sin6_port
                                          : reinterpret_cast<sockaddr_in&>(name).sin_port);
}

}  // namespace

int AffordableConnections() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 512;
  const rlim_t reserve = std::min<rlim_t>(1024, limit.rlim_cur / 2);
  return static_cast<int>(std::clamp<rlim_t>(limit.rlim_cur - reserve, 1, 16384));
}

Acceptor::Acceptor(const AcceptorLimits& limits) : limits_(limits) {}

absl::StatusOr<std::shared_ptr<Acceptor>> Acceptor::Listen(const std::string& host, int port,
                                                           const AcceptorLimits& limits) {
  std::shared_ptr<Acceptor> acceptor(new Acceptor(limits));
  absl::Status status = acceptor->Bind(host, port);
  if (!status.ok()) return status;
  return acceptor;
}

absl::Status Acceptor::Bind(const std::string& host, int port) {
  const bool any = host.empty() || host == "[::]" || host == "*";
  std::string name = any ? "::" : host;
  if (name.front() == '[' && name.back() == ']') name = name.substr(1, name.size() - 2);
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  int error = getaddrinfo(name.c_str(), nullptr, &hints, &found);
  if (error != 0) return CantListen(host, port, gai_strerror(error));
  int fault = 0;
  port_ = port;
  for (const addrinfo* address = found; address != nullptr; address = address->ai_next) {
    const int fd = ListenOn(*address, port_);
    if (fd < 0) {
      fault = errno;
      // A name may have addresses of a kind that this host has not; a taken port is no such thing.
      if (fault == EADDRINUSE) break;
      continue;
    }
    fault = 0;
    listeners_.push_back(fd);
    if (port_ == 0) port_ = PortOf(fd);
  }
  freeaddrinfo(found);
  if (listeners_.empty() && any && fault != EADDRINUSE) return Bind("0.0.0.0", port);  // no IPv6
  if (listeners_.empty() || fault == EADDRINUSE) {
    return CantListen(host, port, std::strerror(fault));
  }
  wake_ = eventfd(0, EFD_CLOEXEC);
  spare_ = OpenSpare();
  return wake_ < 0 || spare_ < 0 ? CantListen(host, port, std::strerror(errno)) : absl::OkStatus();
}

Acceptor::~Acceptor() {
  Stop();
  if (wake_ >= 0) close(wake_);
  if (spare_ >= 0) close(spare_);
}

void Acceptor::Start(std::function<void(int, int)> take) {
  take_ = std::move(take);
  thread_ = std::thread([this] { Run(); });
}

void Acceptor::Stop() {
  if (thread_.joinable()) {
    const uint64_t one = 1;
    while (write(wake_, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
    thread_.join();
  }
  for (const int listener : listeners_) close(listener);
  listeners_.clear();
}

void Acceptor::Run() {
  pthread_setname_np(pthread_self(), "accept");
  std::vector<pollfd> entries;
  for (const int listener : listeners_) entries.push_back({listener, POLLIN, 0});
  entries.push_back({wake_, POLLIN, 0});
  while (true) {
    const int ready = poll(entries.data(), entries.size(), 1000);
    if (ready < 0 && errno != EINTR) absl::SleepFor(absl::Milliseconds(10));
    if (entries.back().revents != 0 && ready > 0) return;
    for (size_t i = 0; ready > 0 && i + 1 < entries.size(); ++i) {
      if (entries[i].revents != 0) AcceptAll(entries[i].fd);
    }
    if (spare_ < 0) spare_ = OpenSpare();
    MutexLock lock(&mutex_);
    if (SteadyNow() - swept_ >= absl::Seconds(1)) Sweep();
  }
}

void Acceptor::AcceptAll(int listener) {
  for (int i = 0; i < 256; ++i) {
    sockaddr_storage address = {};
    socklen_t size = sizeof(address);
    const int fd = accept4(listener, reinterpret_cast<sockaddr*>(&address), &size,
                           SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        RefuseForWantOfDescriptors(listener);
      }
      if (errno == EINTR || errno == ECONNABORTED) continue;
      return;
    }
    if (!Admit(fd, ClientOf(address))) {
      close(fd);
      continue;
    }
    const int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    take_(listener, fd);
  }
}

void Acceptor::RefuseForWantOfDescriptors(int listener) {
  {
    MutexLock lock(&mutex_);
    ++refused_descriptors_;
    if (refused_descriptors_ == 1) {
      Log(LogLevel::kError, "no descriptor left for a connection, it is refused");
    }
  }
  // A connection that is left in the backlog would make its client wait, and poll() spin.
  if (spare_ >= 0) close(spare_);
  const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (fd >= 0) close(fd);
  spare_ = OpenSpare();
  if (fd < 0 || spare_ < 0) absl::SleepFor(absl::Milliseconds(20));
}

bool Acceptor::Admit(int fd, const std::string& client) {
  struct stat facts;
  if (fstat(fd, &facts) != 0) return false;
  MutexLock lock(&mutex_);
  Forget(fd);  // an old connection had this number
  const auto full = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return static_cast<int>(connections_.size()) >= limits_.connections;
  };
  const auto client_full = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto found = by_client_.find(client);
    return found != by_client_.end() && found->second >= limits_.of_one_client;
  };
  if ((full() || client_full()) && SteadyNow() - swept_ >= kSweepAtMost) Sweep();
  if (client_full()) {
    ++refused_client_;
    return false;
  }
  if (full()) {
    ++refused_full_;
    return false;
  }
  ++accepted_;
  ++by_client_[client];
  connections_[fd] = {facts.st_ino, client};
  return true;
}

void Acceptor::Forget(int fd) {
  const auto found = connections_.find(fd);
  if (found == connections_.end()) return;
  const auto count = by_client_.find(found->second.client);
  if (count != by_client_.end() && --count->second <= 0) by_client_.erase(count);
  connections_.erase(found);
}

void Acceptor::Sweep() {
  swept_ = SteadyNow();
  std::vector<int> gone;
  for (const auto& [fd, connection] : connections_) {
    struct stat facts;
    if (fstat(fd, &facts) != 0 || facts.st_ino != connection.inode) gone.push_back(fd);
  }
  for (const int fd : gone) Forget(fd);
}

int Acceptor::open() {
  MutexLock lock(&mutex_);
  Sweep();
  return static_cast<int>(connections_.size());
}

std::vector<prometheus::MetricFamily> Acceptor::Collect() const {
  using prometheus::MetricType;
  MutexLock lock(&mutex_);
  const auto metric = [](MetricType type, uint64_t value, const char* label = nullptr) {
    prometheus::ClientMetric result;
    (type == MetricType::Counter ? result.counter.value : result.gauge.value) =
        static_cast<double>(value);
    if (label != nullptr) result.label = {{"reason", label}};
    return result;
  };
  return {{"imagesearch_connections",
           "Open connections of the gRPC port, within a second",
           MetricType::Gauge,
           {metric(MetricType::Gauge, connections_.size())}},
          {"imagesearch_connections_accepted_total",
           "Connections accepted on the gRPC port",
           MetricType::Counter,
           {metric(MetricType::Counter, accepted_)}},
          {"imagesearch_connections_refused_total",
           "Connections closed at once",
           MetricType::Counter,
           {metric(MetricType::Counter, refused_full_, "full"),
            metric(MetricType::Counter, refused_client_, "client_share"),
            metric(MetricType::Counter, refused_descriptors_, "descriptors")}}};
}

}  // namespace imagesearch::server
