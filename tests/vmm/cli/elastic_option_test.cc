#include "vmm/cli/elastic_option.h"

#include <gtest/gtest.h>

#include "guestmem/error.h"

namespace faultline {
namespace {

TEST(ElasticOption, VirtioMemTakesASizeAndKeys) {
  const VirtioMemOptions plain = ParseVirtioMemOption("4G", 2);
  EXPECT_EQ(plain.id, "vmem2");
  EXPECT_EQ(plain.size, 4_GiB);
  EXPECT_EQ(plain.requested, Bytes(0));
  EXPECT_EQ(plain.block_size(), 2_MiB);
  const VirtioMemOptions full = ParseVirtioMemOption("1G,requested=256M,block=4M,id=big,backing=memfd", 0);
  EXPECT_EQ(full.requested, 256_MiB);
  EXPECT_EQ(full.block_size(), 4_MiB);
  EXPECT_EQ(full.id, "big");
  EXPECT_EQ(full.backing->kind, BackingKind::kMemfd);
  EXPECT_EQ(ParseVirtioMemOption("1G,requested=0", 0).requested, Bytes(0));
}

TEST(ElasticOption, ABalloonIsOnOrSaysHow) {
  EXPECT_TRUE(ParseBalloonOption("on").deflate_on_oom);
  EXPECT_TRUE(ParseBalloonOption("on").reporting);
  const BalloonConfig balloon = ParseBalloonOption("reporting=off,size=64M,deflate-on-oom=off");
  EXPECT_EQ(balloon.target, 64_MiB);
  EXPECT_FALSE(balloon.reporting);
  EXPECT_FALSE(balloon.deflate_on_oom);
}

TEST(ElasticOption, WhatIsWrongIsNamed) {
  const auto refused = [](auto parse, const char* part) {
    try {
      parse();
      ADD_FAILURE() << "taken, where '" << part << "' is wrong";
    } catch (const UsageError& e) {
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
    }
  };
  for (const auto& [text, part] : {std::pair{"", "--virtio-mem"},
                                   {"3M", "multiple of 2M"},
                                   {"1G,", "last comma"},
                                   {"1G,id=a,id=b", "twice"},
                                   {"1G,block=1M", "multiple of 2M"},
                                   {"1G,colour=red", "colour"},
                                   {"1G,requested=x", "requested"},
                                   {"1G,backing=tape", "tape"}}) {
    refused([text = text] { ParseVirtioMemOption(text, 0); }, part);
  }
  for (const auto& [text, part] : {std::pair{"", "write on"},
                                   {"off", "unknown"},
                                   {"reporting=on,", "last comma"},
                                   {"reporting", "neither on nor off"},
                                   {"deflate-on-oom=maybe", "maybe"},
                                   {"size=lots", "lots"}}) {
    refused([text = text] { ParseBalloonOption(text); }, part);
  }
}

}  // namespace
}  // namespace faultline
