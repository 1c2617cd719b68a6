#include "vmm/slirp/host_forward.h"

#include <arpa/inet.h>

#include <charconv>
#include <optional>

#include "guestmem/error.h"

namespace faultline {
namespace {

std::optional<in_addr> ParseAddress(const std::string& text) {
  in_addr address = {};
  if (!text.empty() && inet_pton(AF_INET, text.c_str(), &address) != 1) return std::nullopt;
  return address;
}

std::optional<uint16_t> ParsePort(const std::string& text) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
}

struct Endpoint {
  std::optional<in_addr> address;
  std::optional<uint16_t> port;
};

// "ADDRESS:PORT", either side of the dash.
Endpoint ParseEndpoint(const std::string& text) {
  const size_t colon = text.find(':');
  if (colon == std::string::npos) return {};
  return {ParseAddress(text.substr(0, colon)), ParsePort(text.substr(colon + 1))};
}

}  // namespace

HostForward ParseHostForward(const std::string& text) {
  const auto wrong = [&] {
    return UsageError("port forward '" + text + "' is not usable: give PROTOCOL:ADDRESS:PORT-ADDRESS:PORT such as " +
                      "tcp:127.0.0.1:8080-:80");
  };
  const size_t colon = text.find(':');
  const size_t dash = text.find('-');
  if (colon == std::string::npos || dash == std::string::npos || dash < colon) throw wrong();
  const std::string protocol = text.substr(0, colon);
  const Endpoint host = ParseEndpoint(text.substr(colon + 1, dash - colon - 1));
  const Endpoint guest = ParseEndpoint(text.substr(dash + 1));
  if (!host.address || !host.port || !guest.address || !guest.port) throw wrong();
  if (!protocol.empty() && protocol != "tcp" && protocol != "udp") throw wrong();
  return {protocol == "udp", *host.address, *host.port, *guest.address, *guest.port};
}

}  // namespace faultline
