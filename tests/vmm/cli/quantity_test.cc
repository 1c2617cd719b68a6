#include "vmm/cli/quantity.h"

#include <gtest/gtest.h>

#include "guestmem/error.h"

namespace faultline {
namespace {

std::string SizeError(std::string_view text, Bytes unit = Bytes(1)) {
  try {
    ParseAlignedSize("SIZE", text, unit);
  } catch (const UsageError& e) {
    return e.what();
  }
  return "";
}

TEST(Size, IsAWholeNumberWithAPowerOf1024) {
  const std::pair<const char*, uint64_t> kGood[] = {{"1", 1},
                                                    {"4096", 4096},
                                                    {"64K", 64 << 10},
                                                    {"64k", 64 << 10},
                                                    {"256M", 256 << 20},
                                                    {"4G", 4ULL << 30},
                                                    {"1T", 1ULL << 40},
                                                    {"2P", 2ULL << 50},
                                                    {"256MiB", 256 << 20},
                                                    {"1gib", 1ULL << 30},
                                                    {"007M", 7 << 20},
                                                    {"8191P", 8191ULL << 50},
                                                    {"9223372036854775807", 9223372036854775807ULL}};
  for (const auto& [text, value] : kGood) EXPECT_EQ(ParseSize("SIZE", text), Bytes(value)) << text;
}

TEST(Size, AnythingElseIsRefusedBySentence) {
  for (const char* bad : {"", "M", "x", "12X", "1.5G", "-1", "+1", " 1", "1 ", "1 M", "0x10", "1MM", "1MB", "1KiBi",
                          "1Ki", "0", "0G", "1e3"}) {
    EXPECT_NE(SizeError(bad), "") << bad;
  }
}

TEST(Size, OverflowIsSeenInTheNumberAndInTheProduct) {
  for (const char* bad : {"18446744073709551616", "99999999999999999999999999", "8192P", "9223372036854775808",
                          "18014398509481984K", "17179869184G"}) {
    EXPECT_NE(SizeError(bad).find("64 bits"), std::string::npos) << bad;
  }
}

TEST(Size, AMisalignedOneIsAnsweredWithItsNeighbours) {
  EXPECT_EQ(SizeError("3M", 2_MiB), "SIZE: '3M' is not a multiple of 2M; take 2M or 4M");
  EXPECT_EQ(SizeError("1M", 2_MiB), "SIZE: '1M' is not a multiple of 2M; take 2M");
  EXPECT_EQ(SizeError("4M", 2_MiB), "");
  EXPECT_NE(SizeError("128", 2_MiB).find("without a letter is in bytes"), std::string::npos);
}

TEST(Size, AnErrorIsOneShortLineWhateverWasTyped) {
  const std::string error = SizeError("\n\033[31m" + std::string(10000, 'x'));
  EXPECT_LT(error.size(), 200U);
  EXPECT_EQ(error.find('\n'), std::string::npos);
  EXPECT_EQ(error.find('\033'), std::string::npos);
}

TEST(Size, WhatIsPrintedAsTypedReadsBack) {
  for (const uint64_t value : {1ULL, 1023ULL, 1024ULL, 4096ULL, 5000ULL, 256ULL << 20, 3ULL << 40, 1ULL << 50}) {
    EXPECT_EQ(ParseSize("SIZE", SizeAsTyped(Bytes(value))), Bytes(value));
  }
  EXPECT_EQ(SizeAsTyped(256_MiB), "256M");
  EXPECT_EQ(ReadableSize(256_MiB), "256 MiB");
  EXPECT_EQ(ReadableSize(Bytes(1536)), "1.5 KiB");
  EXPECT_EQ(ReadableSize(Bytes(0)), "0 B");
}

TEST(Duration, NeedsAUnit) {
  using namespace std::chrono_literals;
  EXPECT_EQ(ParseDuration("TIME", "500us"), 500us);
  EXPECT_EQ(ParseDuration("TIME", "20ms"), 20ms);
  EXPECT_EQ(ParseDuration("TIME", "5s"), 5s);
  EXPECT_EQ(ParseDuration("TIME", "2m"), 2min);
  EXPECT_EQ(ParseDuration("TIME", "1h"), 1h);
  EXPECT_EQ(ParseDuration("TIME", "0s"), 0s);
  for (const char* bad : {"", "5", "s", "-5s", "5 s", "5sec", "1.5s", "99999999999999999999s", "9999999999999h"}) {
    EXPECT_THROW(ParseDuration("TIME", bad), UsageError) << bad;
  }
}

TEST(Count, KeepsToItsRange) {
  EXPECT_EQ(ParseCount("N", "1", 1, 256), 1U);
  EXPECT_EQ(ParseCount("N", "256", 1, 256), 256U);
  EXPECT_EQ(ParseCount("N", "18446744073709551615", 0, UINT64_MAX), UINT64_MAX);
  for (const char* bad : {"", "0", "257", "x", "1x", "-1", "1.0", "18446744073709551616"}) {
    EXPECT_THROW(ParseCount("N", bad, 1, 256), UsageError) << bad;
  }
}

TEST(AddressText, IsHexOrDecimal) {
  EXPECT_EQ(ParseAddress("ADDR", "0x140000000"), Gpa(0x140000000));
  EXPECT_EQ(ParseAddress("ADDR", "4096"), Gpa(4096));
  for (const char* bad : {"", "0x", "140000000h", "-1", "0x1ffffffffffffffff"}) {
    EXPECT_THROW(ParseAddress("ADDR", bad), UsageError) << bad;
  }
}

}  // namespace
}  // namespace faultline
