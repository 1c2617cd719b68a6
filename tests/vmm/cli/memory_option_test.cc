#include "vmm/cli/memory_option.h"

#include <gtest/gtest.h>

#include "guestmem/error.h"

namespace faultline {
namespace {

TEST(MemoryOption, TakesASizeAndKeysInAnyOrder) {
  const MemoryConfig m = ParseMemoryOption("256M,slots=16,max=4G,backing=memfd,fault-around=64K");
  EXPECT_EQ(m.boot, 256_MiB);
  EXPECT_EQ(m.max, 4_GiB);
  EXPECT_EQ(m.slots, 16U);
  EXPECT_EQ(m.backing.kind, BackingKind::kMemfd);
  EXPECT_EQ(m.fault_around.pages, 16U);
  EXPECT_EQ(ParseMemoryOption("2G").boot, 2_GiB);
  EXPECT_EQ(ParseMemoryOption("max=1G,slots=1").boot, MemoryConfig{}.boot) << "the size may be left out";
}

TEST(MemoryOption, AutomaticIsOffOnOrADryRun) {
  EXPECT_EQ(ParseMemoryOption("256M").automatic, AutoMemoryMode::kOff);
  EXPECT_EQ(ParseMemoryOption("256M,auto").automatic, AutoMemoryMode::kOn);
  EXPECT_EQ(ParseMemoryOption("256M,auto=dry-run,max=1G").automatic, AutoMemoryMode::kDryRun);
}

TEST(MemoryOption, NamesThePartThatIsWrong) {
  const std::pair<const char*, const char*> kBad[] = {
      {"", "--memory"},
      {"256", "multiple of 2M"},
      {"3M", "multiple of 2M"},
      {"0", "nothing"},
      {"256M,", "last comma"},
      {"256M,,max=1G", "unknown"},
      {"256M,max", "max"},
      {"256M,max=", "max"},
      {"256M,max=1", "multiple of 2M"},
      {"256M,max=99999999999999999G", "64 bits"},
      {"256M,slots=-1", "slots"},
      {"256M,slots=257", "slots"},
      {"256M,slots=1,slots=2", "twice"},
      {"256M,color=red", "color=red"},
      {"256M,512M", "512M"},
      {"256M,backing=tape", "tape"},
      {"256M,fault-around=3", "fault"},
      {"256M,auto=perhaps", "'perhaps'"},
  };
  for (const auto& [text, part] : kBad) {
    try {
      ParseMemoryOption(text);
      ADD_FAILURE() << text << " was taken";
    } catch (const UsageError& e) {
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << text << ": " << e.what();
    }
  }
}

}  // namespace
}  // namespace faultline
