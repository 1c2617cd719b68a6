// Where everything of a PC lies: addresses, ports and interrupt lines that no device names by itself.
#pragma once

#include <cstdint>

#include "guestmem/types.h"

namespace faultline::pc {

// Below 3 GiB is memory; from there to 4 GiB, devices.
inline constexpr GpaRange kPciWindow{Gpa(0xc0000000), 512_MiB};
inline constexpr GpaRange kEcam{Gpa(0xe0000000), 32_MiB};  // of PciBus::kBuses
inline constexpr Gpa kIoapic{0xfec00000};
inline constexpr Gpa kLocalApic{0xfee00000};

// Firmware's tables lie where a BIOS would be; the guest's memory there is not used for anything else.
inline constexpr GpaRange kFirmware{Gpa(0xe0000), 128_KiB};
// No memory for the guest: video memory and ROMs of a PC.
inline constexpr GpaRange kHole{Gpa(0xa0000), 384_KiB};

// Pins of the IOAPIC.
inline constexpr unsigned kSerialPin = 4;
inline constexpr unsigned kEventPin = 9;
inline constexpr unsigned kFirstPciPin = 16;  // of the four lines of IntxRouter

}  // namespace faultline::pc
