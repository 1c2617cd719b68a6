#include "devices/ioapic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "tests/devices/register_access.h"

namespace faultline {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr uint64_t kSelect = 0x00;
constexpr uint64_t kData = 0x10;
constexpr uint64_t kMasked = 1U << 16;
constexpr uint64_t kLevel = 1U << 15;
constexpr uint64_t kInService = 1U << 14;

class SentMessages final : public MsiHost {
 public:
  std::unique_ptr<MsiVector> NewVector() override { return nullptr; }
  void Send(const MsiMessage& message) noexcept override { vectors.push_back(message.data & 0xff); }
  std::vector<uint32_t> vectors;
};

class Routes final : public IoapicRoutes {
 public:
  void SetLevelRoute(unsigned pin, std::optional<MsiMessage> message) noexcept override {
    if (message) {
      level[pin] = *message;
    } else {
      level.erase(pin);
    }
  }
  std::map<unsigned, MsiMessage> level;
};

class IoapicTest : public testing::Test {
 protected:
  uint32_t Register(unsigned index) {
    WriteRegister(ioapic_, kSelect, 4, index);
    return static_cast<uint32_t>(ReadRegister(ioapic_, kData, 4));
  }
  void SetEntry(unsigned pin, uint64_t entry) {
    WriteRegister(ioapic_, kSelect, 4, 0x11 + 2 * pin);
    WriteRegister(ioapic_, kData, 4, entry >> 32);
    WriteRegister(ioapic_, kSelect, 4, 0x10 + 2 * pin);
    WriteRegister(ioapic_, kData, 4, entry & 0xffffffff);
  }

  SentMessages host_;
  Routes routes_;
  Ioapic ioapic_{host_, routes_};
};

TEST_F(IoapicTest, TellsItsVersionAndPinsAndStartsMasked) {
  EXPECT_EQ(Register(1), 0x00170011U);
  for (unsigned pin = 0; pin < Ioapic::kPins; ++pin) EXPECT_EQ(Register(0x10 + 2 * pin), kMasked) << pin;
  EXPECT_EQ(Register(0x40), 0U) << "past the last pin";
}

TEST_F(IoapicTest, ARisingEdgeIsSentOnceWithTheEntrysDestination) {
  SetEntry(4, uint64_t{3} << 56 | 0x31);
  ioapic_.line(4).SetLevel(true);
  ioapic_.line(4).SetLevel(false);
  ioapic_.line(4).SetLevel(true);
  EXPECT_THAT(host_.vectors, ElementsAre(0x31, 0x31));
  EXPECT_THAT(routes_.level, IsEmpty()) << "nobody waits for the end of an edge";
}

TEST_F(IoapicTest, AnEdgeWhileMaskedIsSentWhenThePinIsUnmasked) {
  ioapic_.line(4).SetLevel(true);
  ioapic_.line(4).SetLevel(false);
  EXPECT_THAT(host_.vectors, IsEmpty());
  SetEntry(4, 0x31);
  EXPECT_THAT(host_.vectors, ElementsAre(0x31));
}

TEST_F(IoapicTest, ALevelStaysInServiceUntilItsEndAndComesAgainWhileTheLineIsUp) {
  SetEntry(17, uint64_t{2} << 56 | kLevel | 0x52);
  ASSERT_EQ(routes_.level.size(), 1U);
  EXPECT_EQ(routes_.level[17].address, 0xfee02000U);
  EXPECT_EQ(routes_.level[17].data, 0xc052U);
  ioapic_.line(17).SetLevel(true);
  ioapic_.line(17).SetLevel(false);
  ioapic_.line(17).SetLevel(true);
  EXPECT_THAT(host_.vectors, ElementsAre(0x52)) << "not again before its end";
  EXPECT_EQ(Register(0x10 + 2 * 17) & kInService, kInService);
  ioapic_.EndOfInterrupt(0x53);
  EXPECT_THAT(host_.vectors, ElementsAre(0x52)) << "that was another vector";
  ioapic_.EndOfInterrupt(0x52);
  EXPECT_THAT(host_.vectors, ElementsAre(0x52, 0x52)) << "the line is still up";
  ioapic_.line(17).SetLevel(false);
  ioapic_.EndOfInterrupt(0x52);
  EXPECT_THAT(host_.vectors, ElementsAre(0x52, 0x52));
  EXPECT_EQ(Register(0x10 + 2 * 17) & kInService, 0U);
}

TEST_F(IoapicTest, AMaskedLevelPinHasNoRouteAndIsSentWhenUnmasked) {
  SetEntry(9, kLevel | 0x60);
  SetEntry(9, kLevel | kMasked | 0x60);
  EXPECT_THAT(routes_.level, IsEmpty());
  ioapic_.line(9).SetLevel(true);
  EXPECT_THAT(host_.vectors, IsEmpty());
  SetEntry(9, kLevel | 0x60);
  EXPECT_THAT(host_.vectors, ElementsAre(0x60));
}

TEST_F(IoapicTest, ALevelPinThatIsMaskedWhileItIsInServiceIsServedAgainAfterItsEnd) {
  SetEntry(9, kLevel | 0x60);
  ioapic_.line(9).SetLevel(true);
  SetEntry(9, kLevel | kMasked | 0x60);
  EXPECT_EQ(routes_.level.size(), 1U) << "or the host would not tell the end";
  ioapic_.EndOfInterrupt(0x60);
  EXPECT_THAT(host_.vectors, ElementsAre(0x60)) << "masked";
  SetEntry(9, kLevel | 0x60);
  EXPECT_THAT(host_.vectors, ElementsAre(0x60, 0x60));
}

TEST_F(IoapicTest, AGuestCannotWriteTheReadOnlyBits) {
  SetEntry(9, kLevel | kInService | 1U << 12 | 0x60);
  EXPECT_EQ(Register(0x10 + 2 * 9), kLevel | 0x60);
}

TEST_F(IoapicTest, ResetMasksAllPinsAndForgetsRoutes) {
  SetEntry(9, kLevel | 0x60);
  ioapic_.Reset();
  EXPECT_THAT(routes_.level, IsEmpty());
  EXPECT_EQ(Register(0x10 + 2 * 9), kMasked);
}

}  // namespace
}  // namespace faultline
