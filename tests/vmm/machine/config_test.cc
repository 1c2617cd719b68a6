#include "vmm/machine/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "guestmem/error.h"
#include "vmm/machine/size_text.h"

namespace faultline {
namespace {

using testing::HasSubstr;

MachineConfig Config(Bytes boot, Bytes max = Bytes(0), unsigned slots = 0) {
  MachineConfig config;
  config.name = "vm";
  config.memory.boot = boot;
  config.memory.max = max;
  config.memory.slots = slots;
  return config;
}

std::string Refusal(const MachineConfig& config) {
  try {
    Validate(config);
  } catch (const UsageError& e) {
    return e.what();
  }
  return "";
}

TEST(MachineConfig, TheDefaultMakesAMachine) { EXPECT_EQ(Refusal(MachineConfig{}), ""); }

TEST(MachineConfig, PluggableMemoryNeedsMaxAndSlotsTogether) {
  EXPECT_EQ(Refusal(Config(256_MiB, 4_GiB, 16)), "");
  EXPECT_THAT(Refusal(Config(256_MiB, 4_GiB, 0)), HasSubstr("slots"));
  EXPECT_THAT(Refusal(Config(256_MiB, Bytes(0), 16)), HasSubstr("max"));
  EXPECT_THAT(Refusal(Config(256_MiB, 4_GiB, 257)), HasSubstr("256"));
}

TEST(MachineConfig, VirtioMemLiesBehindTheWindowAndItsBlocksFit) {
  MachineConfig config = Config(256_MiB, 1_GiB, 2);
  config.memory.virtio_mem = {{"vmem0", 64_GiB, Bytes(0), Bytes(0), {}}, {"vmem1", 1_GiB, 256_MiB, 4_MiB, {}}};
  EXPECT_EQ(Refusal(config), "");
  EXPECT_EQ(config.memory.virtio_mem[0].block_size(), 32_MiB) << "2048 blocks at most, unless asked for";
  const MemoryLayout layout = MemoryLayout::For(config.memory);
  ASSERT_EQ(layout.virtio_mem.size(), 2U);
  EXPECT_GE(layout.virtio_mem[0].start, layout.window.end());
  EXPECT_TRUE(IsAligned(layout.virtio_mem[0].start, 1_GiB));
  EXPECT_GE(layout.virtio_mem[1].start, layout.virtio_mem[0].end());
  EXPECT_TRUE(layout.hot_pluggable().Contains(layout.window));
  EXPECT_TRUE(layout.hot_pluggable().Contains(layout.virtio_mem[1]));
}

TEST(MachineConfig, VirtioMemThatMakesNoDeviceIsNamed) {
  const auto with = [](VirtioMemOptions mem) {
    MachineConfig config = Config(256_MiB);
    config.boot.kernel = "vmlinux";
    config.memory.virtio_mem = {std::move(mem)};
    return Refusal(config);
  };
  EXPECT_THAT(with({"a", Bytes(0), Bytes(0), Bytes(0), {}}), HasSubstr("'a' cannot have 0 bytes"));
  EXPECT_THAT(with({"a", 64_MiB, 128_MiB, Bytes(0), {}}), HasSubstr("64 MiB at most"));
  EXPECT_THAT(with({"a", 64_MiB, Bytes(0), 3_MiB, {}}), HasSubstr("a block of 3 MiB"));
  EXPECT_THAT(with({"a", 66_MiB, Bytes(0), 4_MiB, {}}), HasSubstr("round them"));
  EXPECT_THAT(with({"", 64_MiB, Bytes(0), Bytes(0), {}}), HasSubstr("an id of its own"));
  EXPECT_THAT(with({"a", Bytes(1ULL << 46), Bytes(0), Bytes(0), {}}), HasSubstr("at most"));
  EXPECT_THAT(with({"a", 64_MiB, Bytes(0), Bytes(0), BackingSpec{BackingKind::kFile, "/x"}}), HasSubstr("a file"));
}

TEST(MachineConfig, SizesThatMakeNoMachineAreNamed) {
  EXPECT_THAT(Refusal(Config(Bytes(0))), HasSubstr("0 bytes"));
  EXPECT_THAT(Refusal(Config(1_MiB)), HasSubstr("1 MiB"));
  EXPECT_THAT(Refusal(Config(3_MiB)), HasSubstr("3 MiB"));
  EXPECT_THAT(Refusal(Config(256_MiB, 257_MiB, 1)), HasSubstr("257 MiB"));
  EXPECT_THAT(Refusal(Config(256_MiB, 128_MiB, 1)), HasSubstr("128 MiB"));
  EXPECT_THAT(Refusal(Config(Bytes(~0ULL & ~(kPlugGranule.value - 1)))), HasSubstr("more than a VM can have"));
  EXPECT_THAT(Refusal(Config(256_MiB, Bytes(1ULL << 63), 1)), HasSubstr("more than a VM can have"));
}

TEST(MachineConfig, CpuCountsThatMakeNoMachineAreNamed) {
  MachineConfig config;
  config.cpus = 0;
  EXPECT_THAT(Refusal(config), HasSubstr("0 CPUs"));
  config.cpus = 257;
  EXPECT_THAT(Refusal(config), HasSubstr("257 CPUs"));
}

TEST(MachineConfig, OneFileCannotBackTwoStretchesOfBootMemory) {
  MachineConfig config = Config(4_GiB);
  config.memory.backing = {BackingKind::kFile, "/tmp/memory"};
  EXPECT_THAT(Refusal(config), HasSubstr("3 GiB"));
}

TEST(MemoryLayout, SmallBootMemoryLiesLowAndTheWindowBeginsAt4GiB) {
  const auto layout = MemoryLayout::For(Config(256_MiB, 4_GiB, 16).memory);
  EXPECT_EQ(layout.low, (GpaRange{Gpa(0), 256_MiB}));
  EXPECT_EQ(layout.high.size, Bytes(0));
  EXPECT_EQ(layout.window.start, Gpa((4_GiB).value));
  EXPECT_EQ(layout.window.size, 4_GiB - 256_MiB + 32_MiB);
}

TEST(MemoryLayout, BootMemoryBeyond3GiBContinuesAt4GiBAndTheWindowFollows) {
  const auto layout = MemoryLayout::For(Config(3_GiB + 512_MiB, 8_GiB, 1).memory);
  EXPECT_EQ(layout.low.size, 3_GiB);
  EXPECT_EQ(layout.high, (GpaRange{Gpa((4_GiB).value), 512_MiB}));
  EXPECT_EQ(layout.window.start, Gpa((5_GiB).value));
}

TEST(MemoryLayout, WithoutSlotsThereIsNoWindow) {
  EXPECT_EQ(MemoryLayout::For(Config(256_MiB).memory).window.size, Bytes(0));
}

TEST(UnpluggedPolicy, EveryPolicyIsNamedAndParsed) {
  for (const auto policy : {UnpluggedPolicy::kOnes, UnpluggedPolicy::kStop, UnpluggedPolicy::kLog}) {
    EXPECT_EQ(ParseUnpluggedPolicy(ToString(policy)), policy);
  }
  EXPECT_THROW(ParseUnpluggedPolicy("zeroes"), UsageError);
  EXPECT_THROW(ParseUnpluggedPolicy(""), UsageError);
}

TEST(SizeText, TheLargestUnitThatDividesIsTaken) {
  EXPECT_EQ(SizeText(64_MiB), "64 MiB");
  EXPECT_EQ(SizeText(1_GiB + 1_KiB), "1048577 KiB");
  EXPECT_EQ(SizeText(Bytes(4097)), "4097 bytes");
  EXPECT_EQ(SizeText(Bytes(0)), "0 bytes");
}

}  // namespace
}  // namespace faultline
