// Register accesses as a guest makes them, for tests of devices.
#pragma once

#include <cstdint>
#include <vector>

#include "devices/bus.h"

namespace faultline {

inline uint64_t ReadRegister(BusDevice& device, uint64_t offset, size_t width) {
  std::vector<std::byte> bytes(width, std::byte{0xa5});
  device.Read(Bytes(offset), bytes);
  return LoadLittleEndian(bytes);
}

inline void WriteRegister(BusDevice& device, uint64_t offset, size_t width, uint64_t value) {
  std::vector<std::byte> bytes(width);
  StoreLittleEndian(value, bytes);
  device.Write(Bytes(offset), bytes);
}

}  // namespace faultline
