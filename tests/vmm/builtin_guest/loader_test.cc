#include "vmm/builtin_guest/loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "guestmem/error.h"
#include "guestmem/guest_memory.h"
#include "vmm/builtin_guest/abi.h"

namespace faultline {
namespace {

class LoaderTest : public testing::Test {
 protected:
  void PlugBoot(Bytes size) {
    RegionSpec spec;
    spec.name = "boot";
    spec.gpa = {Gpa(0), size};
    memory_.Plug(spec);
  }
  BuiltinGuestConfig Config() const {
    return {
        .cpus = 2, .boot_ram = {{Gpa(0), 4_MiB}}, .hotplug_window = {Gpa(0x1'0000'0000), 1_GiB}, .hotplug_slots = 16};
  }
  template <class T>
  T ReadAt(uint64_t address) {
    T value{};
    EXPECT_EQ(memory_.Read(Gpa(address), std::as_writable_bytes(std::span(&value, 1))), AccessResult::kOk);
    return value;
  }

  NullListener listener_;
  GuestMemory memory_{Host::System(), listener_, [] {
                        GuestMemoryOptions options;
                        options.userfault = false;
                        return options;
                      }()};
};

TEST_F(LoaderTest, EveryVcpuGetsItsOwnStackAndTheSameStart) {
  PlugBoot(4_MiB);
  BuiltinGuestConfig config = Config();
  config.cpus = guest::kMaxCpus;
  const std::vector<CpuEntry> entries = LoadBuiltinGuest(memory_, config);
  ASSERT_EQ(entries.size(), guest::kMaxCpus);
  for (uint64_t i = 0; i < entries.size(); ++i) {
    EXPECT_EQ(entries[i].rip, guest::kImageAddress);
    EXPECT_EQ(entries[i].rdi, i);
    EXPECT_EQ(entries[i].cr3, entries[0].cr3);
    EXPECT_EQ(entries[i].rsp % 16, 0U);
    EXPECT_GE(entries[i].rsp - guest::kStackSize, guest::kStacksAddress + i * guest::kStackSize);
    EXPECT_LE(entries[i].rsp, entries[0].cr3) << "the page tables follow the stacks";
  }
}

TEST_F(LoaderTest, TheImageLiesAtItsAddressAndFitsItsPlace) {
  PlugBoot(4_MiB);
  LoadBuiltinGuest(memory_, Config());
  const std::span<const std::byte> image = BuiltinGuestImage();
  ASSERT_FALSE(image.empty());
  std::vector<std::byte> loaded(image.size());
  ASSERT_EQ(memory_.Read(Gpa(guest::kImageAddress), loaded), AccessResult::kOk);
  EXPECT_TRUE(std::ranges::equal(image, loaded));
  EXPECT_LT(guest::kImageAddress + image.size(), guest::kImageEnd);
}

TEST_F(LoaderTest, TheMailboxDescribesTheMachine) {
  PlugBoot(4_MiB);
  BuiltinGuestConfig config = Config();
  config.mode = BuiltinGuestMode::kStorm;
  LoadBuiltinGuest(memory_, config);
  const auto box = ReadAt<guest::Mailbox>(guest::kMailboxAddress);
  EXPECT_EQ(box.magic, guest::kMailboxMagic);
  EXPECT_EQ(box.version, guest::kMailboxVersion);
  EXPECT_EQ(box.mode, guest::kModeStorm);
  EXPECT_EQ(box.cpu_count, 2U);
  EXPECT_EQ(box.hotplug_slots, 16U);
  ASSERT_EQ(box.boot_range_count, 1U);
  EXPECT_EQ(box.boot_ranges[0].size, (4_MiB).value);
  EXPECT_EQ(box.hotplug_window.start, 0x1'0000'0000U);
  EXPECT_EQ(box.hotplug_window.size, (1_GiB).value);
  EXPECT_EQ(box.shutdown, 0U);
}

TEST_F(LoaderTest, AShutdownRequestReachesTheMailbox) {
  PlugBoot(4_MiB);
  LoadBuiltinGuest(memory_, Config());
  EXPECT_TRUE(RequestBuiltinGuestShutdown(memory_));
  EXPECT_EQ(ReadAt<guest::Mailbox>(guest::kMailboxAddress).shutdown, 1U);
}

TEST_F(LoaderTest, AShutdownRequestWithoutMemoryIsReported) { EXPECT_FALSE(RequestBuiltinGuestShutdown(memory_)); }

TEST_F(LoaderTest, LeftoversInBootMemoryDoNotReachTheGuest) {
  PlugBoot(4_MiB);
  const std::vector<std::byte> leftovers((2_MiB).value, std::byte{0xee});
  ASSERT_EQ(memory_.Write(Gpa(0), leftovers), AccessResult::kOk);
  const std::vector<CpuEntry> entries = LoadBuiltinGuest(memory_, Config());
  std::array<uint64_t, 3> header{};  // start.S: the zero-initialised data's place comes second and third
  std::memcpy(header.data(), BuiltinGuestImage().data(), sizeof(header));
  // It was linked for the place it is loaded at: its zeroes follow it.
  EXPECT_GE(header[1], guest::kImageAddress + BuiltinGuestImage().size());
  EXPECT_LT(header[1], guest::kImageAddress + BuiltinGuestImage().size() + 64);
  ASSERT_LT(header[1], header[2]);
  ASSERT_LE(header[2], guest::kImageEnd);
  for (uint64_t at = header[1]; at < header[2]; at += 8) ASSERT_EQ(ReadAt<uint64_t>(at), 0U) << std::hex << at;
  // Every port bit the guest relies on is clear in the task state segment.
  for (const uint16_t port : {guest::kSerialPort, guest::kDebugExitPort, guest::kIdlePort, guest::kHotplugPort}) {
    EXPECT_EQ(ReadAt<uint32_t>(entries[0].tss_base + guest::kTssIoMapOffset + port / 8), 0U) << port;
  }
  EXPECT_EQ(ReadAt<uint16_t>(entries[0].tss_base + 102), guest::kTssIoMapOffset);
}

TEST_F(LoaderTest, AConfigOutsideTheLimitsIsRefusedBeforeAnythingIsWritten) {
  PlugBoot(4_MiB);
  const auto refused = [&](auto change) {
    BuiltinGuestConfig config = Config();
    change(config);
    EXPECT_THROW(LoadBuiltinGuest(memory_, config), UsageError);
  };
  refused([](auto& c) { c.cpus = 0; });
  refused([](auto& c) { c.cpus = guest::kMaxCpus + 1; });
  refused([](auto& c) { c.boot_ram.clear(); });
  refused([](auto& c) { c.boot_ram = {{Gpa(0), 1_MiB}}; });
  refused([](auto& c) { c.boot_ram = {{Gpa(0x200000), 4_MiB}}; });
  refused([](auto& c) { c.boot_ram.resize(guest::kMaxBootRanges + 1); });
  refused([](auto& c) { c.hotplug_slots = guest::kMaxHotplugSlots + 1; });
  EXPECT_EQ(ReadAt<guest::Mailbox>(guest::kMailboxAddress).magic, 0U);
}

TEST_F(LoaderTest, AWindowTooLargeForSmallPagesIsRefusedAndFitsWithLargeOnes) {
  PlugBoot(4_MiB);
  BuiltinGuestConfig config = Config();
  config.hotplug_window.size = 512_GiB;
  EXPECT_THROW(LoadBuiltinGuest(memory_, config), UsageError);
  config.gib_pages = true;
  EXPECT_NO_THROW(LoadBuiltinGuest(memory_, config));
}

TEST_F(LoaderTest, MissingBootMemoryIsAnErrorWithASentence) {
  EXPECT_THROW(LoadBuiltinGuest(memory_, Config()), Error);
}

TEST_F(LoaderTest, LoadingTouchesLittleMemory) {
  PlugBoot(4_MiB);
  LoadBuiltinGuest(memory_, Config());
  // Image, mailbox, task state, page tables: what an idle VM pays for its guest.
  EXPECT_LE(memory_.present_bytes(), 256_KiB);
}

}  // namespace
}  // namespace faultline
