// The connection loop, its stream and its queue of threads.
#include "server/http/connection.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "base/mutex.h"

namespace imagesearch::server {
namespace {

using Clock = std::chrono::steady_clock;

// Of the connection that this thread serves.
thread_local bool close_after_reply = false;
thread_local bool refuse = false;       // no thread is free for this one
thread_local bool others_wait = false;  // connections wait for this thread

// False once `deadline` has passed, or on an error.
bool WaitFor(int socket, short events, Clock::time_point deadline) {
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) return false;
    pollfd entry{socket, events, 0};
    const int ready = poll(&entry, 1, static_cast<int>(std::min<int64_t>(left.count(), 3600000)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

// One connection's bytes. The deadlines belong to the request that is being served. Not
// thread-safe.
class DeadlineStream : public httplib::Stream {
 public:
  DeadlineStream(socket_t socket, const ConnectionLimits& limits)
      : socket_(socket), limits_(limits) {}

  // Waits for the first byte of the next request and starts its time.
  bool NextRequest() {
    if (begin_ == end_ && !WaitFor(socket_, POLLIN, Clock::now() + limits_.idle)) return false;
    read_deadline_ = Clock::now() + limits_.receive;
    writing_ = false;
    return true;
  }

  bool is_readable() const override { return true; }
  bool is_writable() const override { return true; }
  socket_t socket() const override { return socket_; }

  ssize_t read(char* out, size_t size) override {
    if (begin_ == end_) {
      const ssize_t got = Receive();
      if (got <= 0) return got;
      begin_ = 0;
      end_ = static_cast<size_t>(got);
    }
    const size_t taken = std::min(size, end_ - begin_);
    std::memcpy(out, buffer_.data() + begin_, taken);
    begin_ += taken;
    return static_cast<ssize_t>(taken);
  }

  ssize_t write(const char* data, size_t size) override {
    if (!writing_) {
      writing_ = true;
      write_deadline_ = Clock::now() + limits_.send;
    }
    while (true) {
      const ssize_t sent = send(socket_, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent >= 0) return sent;
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) return -1;
      if (!WaitFor(socket_, POLLOUT, write_deadline_)) return -1;
    }
  }

  void get_remote_ip_and_port(std::string& ip, int& port) const override {
    Address(getpeername, ip, port);
  }
  void get_local_ip_and_port(std::string& ip, int& port) const override {
    Address(getsockname, ip, port);
  }

 private:
  ssize_t Receive() {
    while (true) {
      const ssize_t got = recv(socket_, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
      if (got >= 0) return got;
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) return -1;
      if (!WaitFor(socket_, POLLIN, read_deadline_)) return -1;
    }
  }

  template <typename Call>
  void Address(Call call, std::string& ip, int& port) const {
    sockaddr_storage address{};
    socklen_t length = sizeof(address);
    if (call(socket_, reinterpret_cast<sockaddr*>(&address), &length) != 0) return;
    std::array<char, NI_MAXHOST> host{};
    std::array<char, NI_MAXSERV> service{};
    if (getnameinfo(reinterpret_cast<sockaddr*>(&address), length, host.data(), host.size(),
                    service.data(), service.size(), NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
      return;
    }
    ip = host.data();
    port = std::atoi(service.data());
  }

  const socket_t socket_;
  const ConnectionLimits& limits_;
  Clock::time_point read_deadline_;
  Clock::time_point write_deadline_;
  bool writing_ = false;
  std::array<char, 16384> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

// void in Debian 12's cpp-httplib, bool (taken or not) in Debian 13's.
using EnqueueResult = decltype(std::declval<httplib::TaskQueue&>().enqueue({}));

// Runs connections on a fixed number of threads. Thread-safe.
class ConnectionQueue : public httplib::TaskQueue {
 public:
  explicit ConnectionQueue(const ConnectionLimits& limits) : limits_(limits) {
    for (int i = 0; i < limits.threads; ++i) threads_.emplace_back([this] { Run(); });
  }

  EnqueueResult enqueue(std::function<void()> connection) override {
    {
      MutexLock lock(&mutex_);
      if (waiting_.size() < limits_.max_waiting) {
        waiting_.push_back(std::move(connection));
        changed_.Signal();
        return EnqueueResult(true);
      }
    }
    refuse = true;
    connection();
    refuse = false;
    return EnqueueResult(true);
  }

  void shutdown() override {
    {
      MutexLock lock(&mutex_);
      stopping_ = true;
      changed_.SignalAll();
    }
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  void Run() {
    while (true) {
      std::function<void()> connection;
      {
        MutexLock lock(&mutex_);
        while (waiting_.empty() && !stopping_) changed_.Wait(&mutex_);
        if (waiting_.empty()) return;
        connection = std::move(waiting_.front());
        waiting_.pop_front();
        others_wait = !waiting_.empty();
      }
      connection();
    }
  }

  const ConnectionLimits limits_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<std::function<void()>> waiting_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

// Without waiting: this runs on the thread that accepts.
void SendRefusal(socket_t socket) {
  static const std::string* reply = [] {
    const std::string body =
        R"({"code":14,"message":"too many connections are waiting","details":[]})";
    return new std::string(
        absl::StrCat("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
                     "Content-Type: application/json\r\nContent-Length: ",
                     body.size(), "\r\n\r\n", body));
  }();
  send(socket, reply->data(), reply->size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

// Ends the connection so that a client still sending gets to read the reply: a plain close with
// unread bytes would reset it.
void CloseGently(socket_t socket, bool unread) {
  shutdown(socket, SHUT_WR);
  if (unread) {
    const Clock::time_point deadline = Clock::now() + std::chrono::milliseconds(500);
    std::array<char, 16384> rest;
    while (WaitFor(socket, POLLIN, deadline) &&
           recv(socket, rest.data(), rest.size(), MSG_DONTWAIT) > 0) {
    }
  }
  close(socket);
}

}  // namespace

ConnectionServer::ConnectionServer(const ConnectionLimits& limits) : limits_(limits) {
  new_task_queue = [this] { return new ConnectionQueue(limits_); };
}

void ConnectionServer::RaiseBacklog() { ::listen(svr_sock_, 128); }
void ConnectionServer::CloseAfterReply() { close_after_reply = true; }
bool ConnectionServer::ClosesAfterReply() { return close_after_reply; }

// Debian 13's cpp-httplib wants the addresses beside the stream, Debian 12's asks the stream for
// them.
template <typename Self>
bool ConnectionServer::ServeOne(Self& server, httplib::Stream& stream, bool last, bool& closed) {
  if constexpr (requires { server.process_request(stream, last, closed, nullptr); }) {
    return server.process_request(stream, last, closed, nullptr);
  } else {
    std::string remote, local;
    int remote_port = 0, local_port = 0;
    stream.get_remote_ip_and_port(remote, remote_port);
    stream.get_local_ip_and_port(local, local_port);
    return server.process_request(stream, remote, remote_port, local, local_port, last, closed,
                                  nullptr);
  }
}

bool ConnectionServer::process_and_close_socket(socket_t socket) {
  if (refuse) {
    SendRefusal(socket);
    CloseGently(socket, false);
    return true;
  }
  DeadlineStream stream(socket, limits_);
  close_after_reply = false;
  bool served = false;
  for (int left = limits_.max_requests; left > 0 && svr_sock_ != INVALID_SOCKET; --left) {
    if (!stream.NextRequest()) break;
    bool closed = false;
    // A connection is kept only while nobody waits for its thread.
    served = ServeOne(*this, stream, left == 1 || others_wait, closed);
    if (!served || closed || close_after_reply || others_wait) break;
  }
  CloseGently(socket, close_after_reply);
  return served;
}

}  // namespace imagesearch::server
