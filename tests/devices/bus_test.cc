#include "devices/bus.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "guestmem/error.h"

namespace faultline {
namespace {

// Remembers the last access.
class Probe final : public BusDevice {
 public:
  explicit Probe(uint8_t answer = 0) : answer_(answer) {}
  void Read(Bytes offset, std::span<std::byte> out) override {
    last_offset = offset.value;
    for (std::byte& byte : out) byte = std::byte{answer_};
  }
  void Write(Bytes offset, std::span<const std::byte> data) override {
    last_offset = offset.value;
    last_value = LoadLittleEndian(data);
  }
  std::atomic<uint64_t> last_offset{~0ULL};
  std::atomic<uint64_t> last_value{0};

 private:
  const uint8_t answer_;
};

bool ReadAt(const Bus& bus, uint64_t address, size_t width, uint64_t* value = nullptr) {
  std::vector<std::byte> bytes(width);
  const bool claimed = bus.Read(address, bytes);
  if (value != nullptr) *value = LoadLittleEndian(bytes);
  return claimed;
}

TEST(Bus, AnAccessReachesTheDeviceThatOwnsItsAddress) {
  Bus bus;
  Probe low(0x11);
  Probe high(0x22);
  bus.Attach(0x100, Bytes(8), low);
  bus.Attach(0x200, Bytes(8), high);
  uint64_t value = 0;
  EXPECT_TRUE(ReadAt(bus, 0x203, 2, &value));
  EXPECT_EQ(value, 0x2222U);
  EXPECT_EQ(high.last_offset, 3U);
  const std::array data = {std::byte{0x34}, std::byte{0x12}};
  EXPECT_TRUE(bus.Write(0x106, data));
  EXPECT_EQ(low.last_offset, 6U);
  EXPECT_EQ(low.last_value, 0x1234U);
}

TEST(Bus, AnAccessThatNobodyOwnsIsLeftToTheCaller) {
  Bus bus;
  Probe probe(0x11);
  bus.Attach(0x100, Bytes(8), probe);
  for (const uint64_t address : {0x0ULL, 0xffULL, 0x108ULL, ~0ULL}) {
    std::array bytes = {std::byte{0x5a}};
    EXPECT_FALSE(bus.Read(address, bytes)) << std::hex << address;
    EXPECT_EQ(bytes[0], std::byte{0x5a}) << "left untouched";
    EXPECT_FALSE(bus.Write(address, bytes)) << std::hex << address;
  }
  EXPECT_EQ(probe.last_offset, ~0ULL);
}

TEST(Bus, AnAccessThatStraddlesTheEndOfADeviceIsUnclaimed) {
  Bus bus;
  Probe left;
  Probe right;
  bus.Attach(0x100, Bytes(8), left);
  bus.Attach(0x108, Bytes(8), right);
  EXPECT_TRUE(ReadAt(bus, 0x104, 4));
  EXPECT_FALSE(ReadAt(bus, 0x105, 4)) << "half in one device, half in the next";
  EXPECT_FALSE(ReadAt(bus, 0xfe, 4)) << "begins before the device";
  EXPECT_FALSE(ReadAt(bus, 0x10e, 4)) << "ends behind it";
}

TEST(Bus, AnEmptyAccessAndOneThatWrapsAroundAreUnclaimed) {
  Bus bus;
  Probe bottom;
  Probe top;
  bus.Attach(0, Bytes(16), bottom);
  bus.Attach(~0ULL - 15, Bytes(16), top);
  EXPECT_FALSE(ReadAt(bus, 4, 0));
  EXPECT_TRUE(ReadAt(bus, ~0ULL - 3, 4));
  EXPECT_FALSE(ReadAt(bus, ~0ULL - 3, 8));
}

TEST(Bus, RangesThatOverlapAreRefusedAndChangeNothing) {
  Bus bus;
  Probe first(0x11);
  Probe second(0x22);
  bus.Attach(0x100, Bytes(8), first);
  EXPECT_THROW(bus.Attach(0x100, Bytes(8), second), Error);
  EXPECT_THROW(bus.Attach(0x107, Bytes(1), second), Error);
  EXPECT_THROW(bus.Attach(0xf9, Bytes(8), second), Error);
  EXPECT_THROW(bus.Attach(0x0, Bytes(0x1000), second), Error);
  uint64_t value = 0;
  EXPECT_TRUE(ReadAt(bus, 0x100, 1, &value));
  EXPECT_EQ(value, 0x11U);
  EXPECT_NO_THROW(bus.Attach(0xf8, Bytes(8), second)) << "touching is not overlapping";
}

TEST(Bus, ARangeThatIsEmptyOrWrapsAroundIsRefused) {
  Bus bus;
  Probe probe;
  EXPECT_THROW(bus.Attach(0x100, Bytes(0), probe), Error);
  EXPECT_THROW(bus.Attach(~0ULL, Bytes(2), probe), Error);
  EXPECT_NO_THROW(bus.Attach(~0ULL, Bytes(1), probe));
}

TEST(Bus, ADetachedDeviceIsNoLongerReached) {
  Bus bus;
  Probe probe;
  bus.Attach(0x100, Bytes(8), probe);
  EXPECT_FALSE(bus.Detach(0x104)) << "only its base names it";
  EXPECT_TRUE(bus.Detach(0x100));
  EXPECT_FALSE(bus.Detach(0x100));
  EXPECT_FALSE(ReadAt(bus, 0x100, 1));
}

// A device that moves away while it answers, as one behind a PCI BAR does.
class SelfMover final : public BusDevice {
 public:
  explicit SelfMover(Bus& bus) : bus_(bus) {}
  void Read(Bytes /*offset*/, std::span<std::byte> out) override { StoreLittleEndian(0, out); }
  void Write(Bytes /*offset*/, std::span<const std::byte> data) override {
    bus_.Detach(0x100);
    bus_.Attach(LoadLittleEndian(data), Bytes(8), *this);
  }

 private:
  Bus& bus_;
};

TEST(Bus, ADeviceMayMoveItselfWhileItAnswers) {
  Bus bus;
  SelfMover mover(bus);
  bus.Attach(0x100, Bytes(8), mover);
  const std::array data = {std::byte{0x00}, std::byte{0x03}};
  EXPECT_TRUE(bus.Write(0x100, data));
  EXPECT_FALSE(ReadAt(bus, 0x100, 1));
  EXPECT_TRUE(ReadAt(bus, 0x300, 1));
}

TEST(Bus, AccessesFromManyThreadsSurviveDevicesThatComeAndGo) {
  Bus bus;
  Probe fixed(0x11);
  Probe moving(0x22);
  bus.Attach(0x1000, Bytes(8), fixed);
  std::atomic<bool> stop{false};
  std::atomic<bool> wrong{false};
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      while (!stop) {
        uint64_t value = 0;
        if (!ReadAt(bus, 0x1000, 1, &value) || value != 0x11) wrong = true;
        if (ReadAt(bus, 0x500, 1, &value) && value != 0x22) wrong = true;
      }
    });
  }
  for (int i = 0; i < 2000; ++i) {
    bus.Attach(0x500, Bytes(8), moving);
    bus.Detach(0x500);
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_FALSE(wrong);
}

TEST(LittleEndian, RegistersAreCutOffOrExtendedToTheAccess) {
  std::array<std::byte, 10> bytes = {};
  StoreLittleEndian(0x1122334455667788, bytes);
  EXPECT_EQ(bytes[0], std::byte{0x88});
  EXPECT_EQ(bytes[7], std::byte{0x11});
  EXPECT_EQ(bytes[8], std::byte{0});
  EXPECT_EQ(LoadLittleEndian(std::span(bytes).first(2)), 0x7788U);
  EXPECT_EQ(LoadLittleEndian(bytes), 0x1122334455667788U);
  EXPECT_EQ(LoadLittleEndian({}), 0U);
}

}  // namespace
}  // namespace faultline
