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
