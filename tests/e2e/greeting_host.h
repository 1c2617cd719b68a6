// A program on the host for a guest to talk to, and the host's side of a connection into the guest.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>

namespace faultline::e2e {

inline sockaddr_in Loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// A bound socket and the port it got; 0 takes any.
inline int BoundSocket(int type, uint16_t* port) {
  const int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
  EXPECT_GE(fd, 0);
  sockaddr_in address = Loopback(*port);
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  socklen_t size = sizeof(address);
  EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  *port = ntohs(address.sin_port);
  return fd;
}

inline uint16_t FreeTcpPort() {
  uint16_t port = 0;
  close(BoundSocket(SOCK_STREAM, &port));
  return port;
}

// Answers "hello from the host" to whoever says "hello from the guest", over TCP and UDP on one port.
class GreetingHost {
 public:
  GreetingHost() : tcp_(BoundSocket(SOCK_STREAM, &port_)), udp_(BoundSocket(SOCK_DGRAM, &port_)) {
    EXPECT_EQ(listen(tcp_, 4), 0);
    thread_ = std::thread([this] { Serve(); });
  }
  ~GreetingHost() {
    eventfd_write(stop_, 1);
    thread_.join();
    close(tcp_);
    close(udp_);
    close(stop_);
  }
  GreetingHost(const GreetingHost&) = delete;
  GreetingHost& operator=(const GreetingHost&) = delete;

  uint16_t port() const { return port_; }

 private:
  static constexpr std::string_view kHello = "hello from the guest";
  static constexpr std::string_view kAnswer = "hello from the host";

  void Serve() const {
    while (true) {
      std::array<pollfd, 3> fds{{{stop_, POLLIN, 0}, {tcp_, POLLIN, 0}, {udp_, POLLIN, 0}}};
      if (poll(fds.data(), fds.size(), -1) < 0) return;
      if (fds[0].revents != 0) return;
      if (fds[1].revents != 0) {
        const int connection = accept4(tcp_, nullptr, nullptr, SOCK_CLOEXEC);
        Answer(connection);
        close(connection);
      }
      if (fds[2].revents != 0) Answer(udp_);
    }
  }
  static void Answer(int fd) {
    std::array<char, 256> text;
    sockaddr_in from{};
    socklen_t size = sizeof(from);
    const ssize_t got = recvfrom(fd, text.data(), text.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
    if (got <= 0 || std::string_view(text.data(), static_cast<size_t>(got)) != kHello) return;
    // A connection does not tell the address again.
    const bool has_address = size == sizeof(from) && from.sin_family == AF_INET;
    sendto(fd, kAnswer.data(), kAnswer.size(), MSG_NOSIGNAL, has_address ? reinterpret_cast<sockaddr*>(&from) : nullptr,
           has_address ? size : 0);
  }

  uint16_t port_ = 0;
  const int stop_ = eventfd(0, EFD_CLOEXEC);
  const int tcp_;
  const int udp_;
  std::thread thread_;
};

// Says `text` to a TCP port of this host and returns the answer.
inline std::string Greet(uint16_t port, std::string_view text) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to = Loopback(port);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
  EXPECT_EQ(send(fd, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  std::array<char, 256> answer;
  const ssize_t got = recv(fd, answer.data(), answer.size(), 0);
  close(fd);
  return {answer.data(), static_cast<size_t>(std::max<ssize_t>(got, 0))};
}

}  // namespace faultline::e2e
