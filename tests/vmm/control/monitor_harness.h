// A monitor with a fake VM behind it, running on a thread of its own, and a client that can misbehave.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "tests/vmm/control/fake_vm.h"
#include "tests/vmm/control/temp_dir.h"
#include "vmm/control/qmp_server.h"
#include "vmm/control/vm_lease.h"

namespace faultline {

inline constexpr std::chrono::seconds kSoon{20};  // longer than anything here takes on a loaded machine

class MonitorHarness {
 public:
  explicit MonitorHarness(const QmpServer::Limits& limits = {}) : lease_(dir_.path(), "fake") {
    server_.emplace(loop_, lease_.Listen(), vm_, limits);
    thread_ = std::thread([this] { loop_.Run(); });
  }
  ~MonitorHarness() { Stop(); }

  void Stop() {
    if (!thread_.joinable()) return;
    loop_.Quit();
    thread_.join();
  }
  const std::string& socket_path() const { return lease_.socket_path(); }
  QmpServer& server() { return *server_; }
  // After Stop.
  FakeVm& vm() { return vm_; }

 private:
  TempDir dir_;
  EventLoop loop_;
  FakeVm vm_;
  VmLease lease_;
  std::optional<QmpServer> server_;
  std::thread thread_;
};

class RawClient {
 public:
  // `before_connect` runs when the client has its socket.
  explicit RawClient(const std::string& path, const std::function<void()>& before_connect = nullptr)
      : fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (before_connect) before_connect();
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    connected_ = connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  ~RawClient() { close(fd_); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  bool connected() const { return connected_; }
  int fd() const { return fd_; }

  // False when the other side has hung up.
  bool Send(std::string_view text) const {
    while (!text.empty()) {
      const ssize_t n = send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      text.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }

  // The next line without its end; nothing at the end of the stream.
  std::optional<std::string> Line() {
    for (;;) {
      if (const auto end = buffer_.find("\r\n"); end != std::string::npos) {
        std::string line = buffer_.substr(0, end);
        buffer_.erase(0, end + 2);
        return line;
      }
      char piece[4096];
      pollfd fd{fd_, POLLIN, 0};
      if (poll(&fd, 1, static_cast<int>(std::chrono::milliseconds(kSoon).count())) != 1) return std::nullopt;
      const ssize_t n = recv(fd_, piece, sizeof piece, 0);
      if (n <= 0) return std::nullopt;
      buffer_.append(piece, static_cast<size_t>(n));
    }
  }

  // Greeting and capabilities.
  bool Negotiate() { return Line() && Send(R"({"execute":"qmp_capabilities"})") && Line() == R"({"return":{}})"; }

 private:
  int fd_;
  bool connected_ = false;
  std::string buffer_;
};

}  // namespace faultline
