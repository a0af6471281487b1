// The connection loop, its stream and its queue of threads.
#include "server/http/connection.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <deque>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "server/http/socket_stream.h"

namespace imagesearch::server {
namespace {

using Clock = std::chrono::steady_clock;

// Of the connection that this thread serves.
thread_local bool close_after_reply = false;
thread_local bool refuse = false;       // no thread is free for this one
thread_local bool others_wait = false;  // connections wait for this thread
thread_local bool has_certificate = false;

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

// HOST:PORT of the other end.
std::string PeerOf(socket_t socket) {
  std::string host;
  int port = 0;
  GetAddress(&getpeername, socket, host, port);
  return absl::StrCat("[", host, "]:", port);
}

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
bool ConnectionServer::HasClientCertificate() { return has_certificate; }

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
  const std::string client = ClientOfPeer(PeerOf(socket));
  if (!shares_.Take(client, 0, 1, static_cast<uint64_t>(limits_.max_client_connections))) {
    SendRefusal(socket);
    CloseGently(socket, true);
    return true;
  }
  const bool served = ServeConnection(socket);
  shares_.Give(client, 0, 1);
  return served;
}

bool ConnectionServer::ServeConnection(socket_t socket) {
  SocketStream stream(socket, limits_);
  close_after_reply = false;
  bool served = false;
  const std::shared_ptr<ssl_ctx_st> context = limits_.tls ? limits_.tls() : nullptr;
  if (context != nullptr && !stream.Handshake(context.get())) {
    CloseGently(socket, false);
    return false;
  }
  has_certificate = stream.has_client_certificate();
  for (int left = limits_.max_requests; left > 0 && svr_sock_ != INVALID_SOCKET; --left) {
    if (!stream.NextRequest()) break;
    bool closed = false;
    // A connection is kept only while nobody waits for its thread.
    served = ServeOne(*this, stream, left == 1 || others_wait, closed);
    if (!served || closed || close_after_reply || others_wait) break;
  }
  stream.SayGoodbye();
  CloseGently(socket, close_after_reply);
  return served;
}

}  // namespace imagesearch::server
