#include "vmm/cli/device_option.h"

#include <gtest/gtest.h>

#include "guestmem/error.h"

namespace faultline {
namespace {

TEST(DeviceOption, ADiskIsAFileAndKeys) {
  EXPECT_EQ(ParseDiskOption("a.img").path, "a.img");
  const BlockConfig disk = ParseDiskOption("a.img,serial=x=1,readonly");
  EXPECT_TRUE(disk.read_only);
  EXPECT_EQ(disk.serial, "x=1");
}

TEST(DeviceOption, ANetworkMayForwardManyPorts) {
  const NetCardConfig card =
      ParseNetOption("user,hostfwd=tcp::1-:1,mac=52:54:00:00:00:09,hostfwd=tcp::2-:2,restricted");
  EXPECT_EQ(card.user.host_forwards, (std::vector<std::string>{"tcp::1-:1", "tcp::2-:2"}));
  EXPECT_TRUE(card.user.restricted);
  EXPECT_EQ(card.mac->back(), 9);
  EXPECT_EQ(ParseNetOption("tap:t0").tap, "t0");
}

TEST(DeviceOption, WhatIsWrongIsNamed) {
  const auto expect_refused = [](auto parse, const char* text, const char* part) {
    try {
      parse(text);
      ADD_FAILURE() << text << " was taken";
    } catch (const UsageError& e) {
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << text << ": " << e.what();
    }
  };
  for (const auto& [text, part] : {std::pair{"", "name a file"},
                                   {"a.img,", "last comma"},
                                   {"a.img,,readonly", "unknown"},
                                   {"a.img,readonly=yes", "readonly=yes"},
                                   {"a.img,readonly,readonly", "twice"}}) {
    expect_refused(ParseDiskOption, text, part);
  }
  for (const auto& [text, part] : {std::pair{"", "no network"},
                                   {"tap:", "no network"},
                                   {"user,", "last comma"},
                                   {"tap:t0,restricted", "there is mac=ADDRESS"},
                                   {"user,restricted,restricted", "twice"}}) {
    expect_refused(ParseNetOption, text, part);
  }
}

}  // namespace
}  // namespace faultline
