// Every register of every device at every width and every offset, past its end too, with nasty values and
// with random sequences: what a guest that means harm can do. Nothing may crash, hang, or write outside
// the access (the address sanitizer watches, and guard bytes do).
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <random>
#include <vector>

#include "devices/acpi_power.h"
#include "devices/debug_exit.h"
#include "devices/i8042.h"
#include "devices/idle_port.h"
#include "devices/ioapic.h"
#include "devices/memory_hotplug.h"
#include "devices/panic_port.h"
#include "devices/pit_channel2.h"
#include "devices/rtc.h"
#include "devices/serial.h"

namespace faultline {
namespace {

class IgnoringListener final : public MemoryHotplugListener {
 public:
  void OnRequestSeen(unsigned /*slot*/) override {}
  void OnEject(unsigned slot) override { worst_slot = std::max(worst_slot, slot); }
  void OnOst(unsigned slot, uint32_t /*event*/, uint32_t /*status*/) override {
    worst_slot = std::max(worst_slot, slot);
  }
  void OnEventRaised() override {}
  unsigned worst_slot = 0;
};

// Nobody listens to what a device does.
class Nobody final : public IrqLine, public MsiHost, public IoapicRoutes {
 public:
  void SetLevel(bool /*asserted*/) noexcept override {}
  std::unique_ptr<MsiVector> NewVector() override { return nullptr; }
  void Send(const MsiMessage& /*message*/) noexcept override {}
  void SetLevelRoute(unsigned /*pin*/, std::optional<MsiMessage> /*message*/) noexcept override {}
};

Nobody& NobodyListens() {
  static Nobody nobody;
  return nobody;
}

std::shared_ptr<PitChannel2> StoppedPit() {
  return std::make_shared<PitChannel2>([] { return uint64_t{0}; });
}

struct Victim {
  const char* name;
  Bytes size;
  std::function<std::shared_ptr<BusDevice>()> make;
};

IgnoringListener& Listener() {
  static IgnoringListener listener;
  return listener;
}

void PrintTo(const Victim& victim, std::ostream* os) { *os << victim.name; }

class HostileAccess : public testing::TestWithParam<Victim> {
 protected:
  static constexpr size_t kMaxWidth = 16;

  void ReadChecked(BusDevice& device, uint64_t offset, size_t width) {
    constexpr std::byte kGuard{0xc3};
    std::vector<std::byte> first(width + 2, kGuard);
    device.Read(Bytes(offset), std::span(first).subspan(1, width));
    EXPECT_EQ(first.front(), kGuard);
    EXPECT_EQ(first.back(), kGuard);
  }
  void Write(BusDevice& device, uint64_t offset, size_t width, uint64_t value) {
    std::vector<std::byte> bytes(width);
    StoreLittleEndian(value, bytes);
    device.Write(Bytes(offset), bytes);
  }
};

TEST_P(HostileAccess, EveryRegisterAtEveryWidthIsSafeToReadAndWrite) {
  const auto device = GetParam().make();
  for (uint64_t offset = 0; offset < GetParam().size.value + 8; ++offset) {
    for (size_t width = 1; width <= kMaxWidth; ++width) {
      for (const uint64_t value : {0ULL, 1ULL, 0x80ULL, 0x7fffffffULL, 0x80000000ULL, ~0ULL}) {
        Write(*device, offset, width, value);
        ReadChecked(*device, offset, width);
      }
    }
  }
}

TEST_P(HostileAccess, ReadsFillEveryByteSoThatNothingOfTheHostLeaks) {
  for (uint64_t offset = 0; offset < GetParam().size.value; ++offset) {
    for (size_t width = 1; width <= kMaxWidth; ++width) {
      // The same access to two fresh devices into differently soiled buffers must give the same bytes.
      std::vector<std::byte> zeros(width, std::byte{0x00});
      std::vector<std::byte> ones(width, std::byte{0xff});
      GetParam().make()->Read(Bytes(offset), zeros);
      GetParam().make()->Read(Bytes(offset), ones);
      EXPECT_EQ(zeros, ones) << "offset " << offset << " width " << width;
    }
  }
}

TEST_P(HostileAccess, FarOffsetsAreSafe) {
  const auto device = GetParam().make();
  for (const uint64_t offset : {0x100ULL, 0x7fffffffULL, 0xffffffffULL, 0x7fffffffffffffffULL}) {
    Write(*device, offset, 4, ~0ULL);
    ReadChecked(*device, offset, 4);
  }
}

TEST_P(HostileAccess, RandomSequencesAreSafe) {
  const auto device = GetParam().make();
  std::mt19937_64 random(20240229);  // NOLINT(cert-msc51-cpp): repeatable
  for (int i = 0; i < 50000; ++i) {
    const uint64_t offset = random() % GetParam().size.value;
    const size_t width = size_t{1} << random() % 4;
    if (random() % 2 == 0) {
      ReadChecked(*device, offset, width);
    } else {
      Write(*device, offset, width, random() % 4 == 0 ? random() : random() % 256);
    }
  }
  EXPECT_LT(Listener().worst_slot, 3U) << "a slot that does not exist was reported";
}

INSTANTIATE_TEST_SUITE_P(
    Devices, HostileAccess,
    testing::Values(
        Victim{"Serial", Serial::kPortCount, [] { return std::make_shared<Serial>(nullptr); }},
        Victim{"MemoryHotplug", MemoryHotplug::kPortCount,
               [] {
                 auto hotplug = std::make_shared<MemoryHotplug>(3, Listener());
                 hotplug->Insert(1, {Gpa(0x1'0000'0000), Bytes(0x800'0000)}, 0);
                 return hotplug;
               }},
        Victim{"DebugExit", DebugExit::kPortCount, [] { return std::make_shared<DebugExit>([](uint32_t) {}); }},
        Victim{"Ioapic", Ioapic::kWindow, [] { return std::make_shared<Ioapic>(NobodyListens(), NobodyListens()); }},
        Victim{"AcpiPower", AcpiPower::kPortCount,
               [] {
                 return std::make_shared<AcpiPower>(AcpiPower::Requests{[] {}, [] {}}, NobodyListens());
               }},
        Victim{"I8042", I8042::kPortCount, [] { return std::make_shared<I8042>([] {}); }},
        Victim{"PanicPort", PanicPort::kPortCount, [] { return std::make_shared<PanicPort>([] {}); }},
        Victim{"Rtc", Rtc::kPortCount, [] { return std::make_shared<Rtc>([] { return std::time_t{0}; }); }},
        Victim{"PitCounter", PitChannel2::kCounterPortCount,
               [] {
                 auto pit = StoppedPit();
                 return std::shared_ptr<BusDevice>(pit, &pit->counter());
               }},
        Victim{"PitGate", PitChannel2::kGatePortCount,
               [] {
                 auto pit = StoppedPit();
                 return std::shared_ptr<BusDevice>(pit, &pit->gate());
               }},
        Victim{"IdlePort", IdlePort::kPortCount,
               [] {
                 auto port = std::make_shared<IdlePort>();
                 port->Interrupt();  // waiting is its job; here it must only be safe
                 return port;
               }}),
    [](const auto& victim) { return std::string(victim.param.name); });

}  // namespace
}  // namespace faultline
