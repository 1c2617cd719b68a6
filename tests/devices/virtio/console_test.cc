#include <gtest/gtest.h>

#include <string>

#include "devices/virtio/devices.h"
#include "tests/devices/virtio/virtio_world.h"

namespace faultline {
namespace {

constexpr unsigned kReceive = 0;
constexpr unsigned kTransmit = 1;

class ConsoleTest : public testing::Test {
 protected:
  ConsoleTest() {
    VirtioConsoleDevice device = MakeVirtioConsole(
        [this](std::span<const std::byte> bytes) {
          MutexLock lock(mutex);
          for (const std::byte byte : bytes) output += static_cast<char>(byte);
        },
        world.environment());
    input = &device.input;
    driver.emplace(world, world.pci.Add(std::move(device.function)));
    driver->Start(0, 2);
  }
  size_t Type(const std::string& text) { return input->QueueInput(std::as_bytes(std::span(text))); }
  std::string Output() {
    MutexLock lock(mutex);
    return output;
  }
  // Waits up to ten seconds for output of this length.
  std::string WaitOutput(size_t size) {
    for (int i = 0; i < 10000 && Output().size() < size; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return Output();
  }

  Mutex mutex;
  std::string output GUARDED_BY(mutex);
  VirtioWorld world;
  ConsoleInput* input = nullptr;
  std::optional<VirtioDriver> driver;
};

TEST_F(ConsoleTest, WhatTheGuestPrintsReachesTheSinkInOrder) {
  const Gpa at = driver->Allocate(64);
  driver->PutText(at, "hello, world");
  EXPECT_EQ(driver->Transfer(kTransmit, {{at, 5, false}, {at + Bytes(5), 7, false}}).written, 0U);
  driver->Transfer(kTransmit, {{at, 5, false}});
  EXPECT_EQ(WaitOutput(17), "hello, worldhello");
}

TEST_F(ConsoleTest, InputFillsTheBuffersTheGuestHasQueued) {
  const Gpa at = driver->Allocate(64);
  driver->Add(kReceive, {{at, 4, true}});
  driver->Add(kReceive, {{at + Bytes(16), 32, true}});
  driver->Kick(kReceive);
  EXPECT_EQ(Type("password"), 8U);
  EXPECT_EQ(driver->WaitUsed(kReceive).written, 4U);
  EXPECT_EQ(driver->WaitUsed(kReceive).written, 4U);
  EXPECT_EQ(driver->GetText(at, 4) + driver->GetText(at + Bytes(16), 4), "password");
}

TEST_F(ConsoleTest, InputWaitsForABufferAndIsNotLost) {
  EXPECT_EQ(Type("early"), 5U);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const Gpa at = driver->Allocate(16);
  EXPECT_EQ(driver->Transfer(kReceive, {{at, 16, true}}).written, 5U);
  EXPECT_EQ(driver->GetText(at, 5), "early");
}

TEST_F(ConsoleTest, TooMuchInputIsTakenOnlyInPart) {
  EXPECT_EQ(Type(std::string(70000, 'a')), 65536U);
  EXPECT_EQ(Type("b"), 0U);
}

TEST_F(ConsoleTest, AFloodOfOutputPassesThrough) {
  const Gpa at = driver->Allocate(32768);
  driver->PutText(at, std::string(32768, 'z'));
  for (int i = 0; i < 8; ++i) driver->Add(kTransmit, {{at, 32768, false}});
  driver->Kick(kTransmit);
  EXPECT_EQ(WaitOutput(8 * 32768), std::string(8 * 32768, 'z'));
}

TEST_F(ConsoleTest, BuffersThatCannotBeReachedBreakTheDevice) {
  driver->Add(kTransmit, {{Gpa(0x7000'0000), 16, false}});
  driver->Kick(kTransmit);
  EXPECT_TRUE(driver->WaitNeedsReset());
  driver->Start(0, 2);
  driver->Add(kTransmit, {{Gpa(0), 0x4000'0000, false}});
  driver->Kick(kTransmit);
  EXPECT_TRUE(driver->WaitNeedsReset()) << "a gigabyte of output";
  driver->Start(0, 2);
  Type("x");
  driver->Add(kReceive, {{Gpa(0x7000'0000), 16, true}});
  driver->Kick(kReceive);
  EXPECT_TRUE(driver->WaitNeedsReset());
}

}  // namespace
}  // namespace faultline
