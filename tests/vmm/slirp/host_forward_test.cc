#include "vmm/slirp/host_forward.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include "guestmem/error.h"

namespace faultline {
namespace {

std::string Text(in_addr address) { return inet_ntoa(address); }

TEST(HostForward, AFullForwardIsReadPartByPart) {
  const HostForward forward = ParseHostForward("udp:127.0.0.1:5353-10.0.2.20:53");
  EXPECT_TRUE(forward.udp);
  EXPECT_EQ(Text(forward.host_address), "127.0.0.1");
  EXPECT_EQ(forward.host_port, 5353);
  EXPECT_EQ(Text(forward.guest_address), "10.0.2.20");
  EXPECT_EQ(forward.guest_port, 53);
}

TEST(HostForward, ProtocolAndAddressesMayBeLeftOut) {
  const HostForward forward = ParseHostForward("::8080-:80");
  EXPECT_FALSE(forward.udp);
  EXPECT_EQ(forward.host_address.s_addr, 0U);
  EXPECT_EQ(forward.host_port, 8080);
  EXPECT_EQ(forward.guest_address.s_addr, 0U);
  EXPECT_EQ(forward.guest_port, 80);
  EXPECT_FALSE(ParseHostForward("tcp:127.0.0.1:8080-:80").udp);
}

TEST(HostForward, AnythingElseIsRefusedWithAnExample) {
  for (const char* text : {"", "tcp", "8080-80", "tcp::8080", "tcp::8080-80", "sctp::1-:2", "tcp::0-:80",
                           "tcp::70000-:80", "tcp:localhost:80-:80", "tcp::80-:80x", "tcp::-80:-80", "-:::"}) {
    try {
      ParseHostForward(text);
      ADD_FAILURE() << text;
    } catch (const UsageError& e) {
      EXPECT_EQ(std::string(e.what()), "port forward '" + std::string(text) +
                                           "' is not usable: give PROTOCOL:ADDRESS:PORT-ADDRESS:PORT such as "
                                           "tcp:127.0.0.1:8080-:80");
    }
  }
}

}  // namespace
}  // namespace faultline
