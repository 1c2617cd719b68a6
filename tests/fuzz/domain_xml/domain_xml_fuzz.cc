// Any text is either a domain or refused with a sentence; and a domain that was read can be written, unless there are
// names in it that XML cannot hold, and is then read as the same one.
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "guestmem/error.h"
#include "vmm/domain_xml/domain.h"

namespace {

std::optional<std::string> Written(const faultline::Domain& domain) {
  try {
    return faultline::WriteDomain(domain, "/usr/bin/qemu-system-faultline");
  } catch (const faultline::UsageError& e) {
    if (std::string_view(e.what()).empty()) std::abort();
    return std::nullopt;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  faultline::Domain domain;
  try {
    domain = faultline::ReadDomain({reinterpret_cast<const char*>(data), size});
  } catch (const faultline::UsageError& e) {
    if (std::string_view(e.what()).empty()) std::abort();
    return 0;
  }
  const auto once = Written(domain);
  // What throws here is not caught.
  if (once && Written(faultline::ReadDomain(*once)) != once) std::abort();
  return 0;
}
