// The helper program as a VM uses it: frames in, frames out, and what it says when it cannot start.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>

#include "devices/virtio/devices.h"
#include "guestmem/error.h"

namespace faultline {
namespace {

using Frame = std::string;

Frame Big16(unsigned value) { return {static_cast<char>(value >> 8), static_cast<char>(value)}; }
Frame Ip(const char* text) {
  Frame out(4, '\0');
  inet_pton(AF_INET, text, out.data());
  return out;
}
const Frame kGuestMac("\x52\x54\x00\x12\x34\x56", 6);
const Frame kBroadcast(6, '\xff');

unsigned Checksum(const Frame& data) {
  unsigned sum = 0;
  for (size_t i = 0; i < data.size(); ++i) sum += static_cast<uint8_t>(data[i]) << (i % 2 == 0 ? 8 : 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}
Frame Ethernet(const Frame& to, unsigned type, const Frame& payload) { return to + kGuestMac + Big16(type) + payload; }
Frame Ipv4(const Frame& from, const Frame& to, char protocol, const Frame& payload) {
  Frame header = Frame("\x45\x00", 2) + Big16(static_cast<unsigned>(20 + payload.size())) + Frame("\0\1\0\0\x40", 5) +
                 protocol + Frame(2, '\0') + from + to;
  header.replace(10, 2, Big16(Checksum(header)));
  return header + payload;
}
Frame Udp(unsigned from, unsigned to, const Frame& payload) {
  return Big16(from) + Big16(to) + Big16(static_cast<unsigned>(8 + payload.size())) + Big16(0) + payload;
}

class UserNetworkTest : public testing::Test {
 protected:
  static SlirpConfig Config(std::vector<std::string> forwards = {}) {
    return {.helper = FAULTLINE_SLIRP, .host_forwards = std::move(forwards)};
  }
  void Send(const Frame& frame) { backend->Send(std::as_bytes(std::span(frame))); }
  // The first frame that comes within ten seconds and has `what` in it; empty if none does.
  Frame WaitFor(const Frame& what) {
    for (int i = 0; i < 200; ++i) {
      pollfd ready = {backend->fd(), POLLIN, 0};
      if (poll(&ready, 1, 10000) != 1) return {};
      std::array<std::byte, 2048> bytes;
      const int64_t size = backend->Receive(bytes);
      if (size < 0) return {};
      Frame frame(static_cast<size_t>(size), '\0');
      std::memcpy(frame.data(), bytes.data(), frame.size());
      if (frame.find(what) != Frame::npos) return frame;
    }
    return {};
  }
  // Says who we are, as every guest does early on; returns the gateway's MAC address.
  Frame Arp() {
    const Frame request =
        Frame("\0\1\x08\0\6\4\0\1", 8) + kGuestMac + Ip("10.0.2.15") + Frame(6, '\0') + Ip("10.0.2.2");
    Send(Ethernet(kBroadcast, 0x0806, request));
    const Frame reply = WaitFor(Frame("\0\1\x08\0\6\4\0\2", 8));
    return reply.size() < 28 ? Frame() : reply.substr(22, 6);
  }
  std::unique_ptr<NetBackend> backend;
};

TEST_F(UserNetworkTest, DhcpOffersAnAddressAndTheGatewayAnswersPings) {
  backend = MakeSlirpBackend(Config());
  const Frame bootp = Frame("\1\1\6\0", 4) + "\x12\x34\x56\x78" + Frame(20, '\0') + kGuestMac + Frame(202, '\0') +
                      "\x63\x82\x53\x63" + Frame("\x35\1\1\xff", 4);
  Send(Ethernet(kBroadcast, 0x0800, Ipv4(Ip("0.0.0.0"), Ip("255.255.255.255"), 17, Udp(68, 67, bootp))));
  EXPECT_FALSE(WaitFor(Ip("10.0.2.15")).empty()) << "no offer";
  const Frame gateway = Arp();
  ASSERT_EQ(gateway.size(), 6U);
  Frame echo = Frame("\x08\0\0\0\1\2\0\1", 8) + "are you there?";
  echo.replace(2, 2, Big16(Checksum(echo)));
  Send(Ethernet(gateway, 0x0800, Ipv4(Ip("10.0.2.15"), Ip("10.0.2.2"), 1, echo)));
  const Frame reply = WaitFor("are you there?");
  ASSERT_GT(reply.size(), 34U);
  EXPECT_EQ(reply[34], 0) << "echo reply";
}

TEST_F(UserNetworkTest, AForwardedPortReachesTheGuestAndItsAnswerComesBack) {
  // A port that was free a moment ago.
  const int probe = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ASSERT_EQ(bind(probe, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(getsockname(probe, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const std::string forward = "udp:127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "-:7";
  EXPECT_THROW(MakeSlirpBackend(Config({forward})), Error) << "the port is taken";
  close(probe);
  backend = MakeSlirpBackend(Config({forward}));
  const Frame gateway = Arp();
  ASSERT_EQ(gateway.size(), 6U);

  const int peer = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(connect(peer, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(send(peer, "knock", 5, 0), 5);
  const Frame knock = WaitFor("knock");
  ASSERT_GE(knock.size(), 47U);
  const Frame from = knock.substr(26, 4);
  const unsigned port = static_cast<uint8_t>(knock[34]) * 256U + static_cast<uint8_t>(knock[35]);
  Send(Ethernet(gateway, 0x0800, Ipv4(Ip("10.0.2.15"), from, 17, Udp(7, port, "come in"))));
  pollfd ready = {peer, POLLIN, 0};
  ASSERT_EQ(poll(&ready, 1, 10000), 1);
  std::array<char, 64> text = {};
  EXPECT_EQ(recv(peer, text.data(), text.size(), 0), 7);
  EXPECT_STREQ(text.data(), "come in");
  close(peer);
}

TEST_F(UserNetworkTest, WhatKeepsItFromStartingIsSaidInOneSentence) {
  EXPECT_THROW(MakeSlirpBackend(Config({"tcp:nonsense"})), UsageError);
  SlirpConfig config = Config();
  config.helper = "/no/such/faultline-slirp";
  try {
    MakeSlirpBackend(config);
    FAIL() << "made a backend";
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(),
                 "user networking needs its helper program '/no/such/faultline-slirp' (No such file or directory): "
                 "install it beside faultline, or build the target faultline-slirp");
  }
  config.helper = "/bin/true";
  EXPECT_THROW(MakeSlirpBackend(config), Error) << "a helper that says nothing";
}

TEST_F(UserNetworkTest, FramesThatMakeNoSenseDoNotEndIt) {
  backend = MakeSlirpBackend(Config());
  for (const size_t size : {1U, 13U, 14U, 20U, 60U, 1500U}) {
    for (const char fill : {'\0', '\x45', '\xff'}) {
      Send(Frame(size, fill));
      Send(Ethernet(kBroadcast, 0x0800, Frame(size, fill)));
      Send(Ethernet(kBroadcast, 0x0806, Frame(size, fill)));
    }
  }
  EXPECT_EQ(Arp().size(), 6U) << "still there";
}

}  // namespace
}  // namespace faultline
