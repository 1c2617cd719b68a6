// Where a PCI function sits: a bus, and there a slot and the function's number.
#pragma once

namespace faultline {

struct PciPlace {
  unsigned bus = 0;  // 0: the root; N: what lies behind the Nth root port
  unsigned slot = 0;
  unsigned function = 0;

  friend constexpr bool operator==(const PciPlace&, const PciPlace&) = default;
};

}  // namespace faultline
