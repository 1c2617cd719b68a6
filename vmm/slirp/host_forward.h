// Port forwards as people write them: "tcp:127.0.0.1:8080-:80", the syntax of QEMU's hostfwd.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <string>

namespace faultline {

struct HostForward {
  bool udp = false;
  in_addr host_address = {};  // any, unless given
  uint16_t host_port = 0;
  in_addr guest_address = {};  // zero: the address that DHCP gives the guest
  uint16_t guest_port = 0;
};

// [tcp|udp]:[HOSTADDRESS]:HOSTPORT-[GUESTADDRESS]:GUESTPORT, tcp when left out; throws UsageError.
HostForward ParseHostForward(const std::string& text);

}  // namespace faultline
