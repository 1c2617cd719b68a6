// How hard the host is pressed for memory.
#pragma once

#include <optional>
#include <string>

namespace faultline {

// The share of the last ten seconds, in percent, in which at least one task of the host waited for memory: "some
// avg10" of `path`. None where the kernel does not keep it (no CONFIG_PSI, or psi=0) or the text is not of that form.
// Does not block. Source: Documentation/accounting/psi.rst.
std::optional<double> HostMemoryPressure(const std::string& path = "/proc/pressure/memory");

}  // namespace faultline
