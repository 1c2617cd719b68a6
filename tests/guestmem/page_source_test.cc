#include "guestmem/page_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <vector>

#include "guestmem/error.h"
#include "tests/guestmem/failing_host.h"

namespace faultline {
namespace {

class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& content) {
    const int fd = mkstemp(path_.data());
    close(fd);
    std::ofstream(path_) << content;
  }
  ~TemporaryFile() { unlink(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_ = "/tmp/page_source_test.XXXXXX";
};

std::vector<std::byte> ReadFrom(PageSource& source, uint64_t offset, size_t size) {
  std::vector<std::byte> out(size, std::byte{0xee});
  EXPECT_EQ(source.Read(Bytes(offset), out), 0);
  return out;
}

TEST(PageSourceTest, ZeroesAreThereWithoutCopyingUpToAWholeLeaf) {
  const auto source = ParsePageSource(Host::System(), "zero");
  EXPECT_FALSE(source->may_block());
  EXPECT_TRUE(source->all_zero());
  const std::byte* direct = source->Direct(1_GiB, kLeafSpan);
  ASSERT_NE(direct, nullptr);
  for (size_t i = 0; i < kLeafSpan.value; ++i) ASSERT_EQ(direct[i], std::byte{0});
  for (const std::byte b : ReadFrom(*source, 12345, 9000)) ASSERT_EQ(b, std::byte{0});
}

TEST(PageSourceTest, AFileGivesItsBytesAndZeroesPastItsEnd) {
  const std::string content = "faultline" + std::string(5000, 'x');
  const TemporaryFile file(content);
  const auto source = ParsePageSource(Host::System(), "file:" + file.path());
  EXPECT_TRUE(source->may_block());
  EXPECT_FALSE(source->all_zero());
  EXPECT_EQ(source->Direct(Bytes(0), kPageSize), nullptr);
  const auto first = ReadFrom(*source, 0, 4096);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(first.data()), first.size()), content.substr(0, 4096));
  const auto second = ReadFrom(*source, 4096, 4096);
  for (size_t i = 0; i < second.size(); ++i) {
    ASSERT_EQ(second[i], i < content.size() - 4096 ? std::byte{'x'} : std::byte{0}) << i;
  }
  for (const std::byte b : ReadFrom(*source, 1 << 20, 4096)) ASSERT_EQ(b, std::byte{0});
}

TEST(PageSourceTest, AnInterruptedFileReadGoesOnAndAFailedOneIsReported) {
  const TemporaryFile file("data");
  FailingHost host;
  const auto source = MakeFileSource(host, file.path());
  std::vector<std::byte> out(4096);
  host.Arm(1, EINTR, CallsOfKind(HostCallKind::kPread), 3);
  EXPECT_EQ(source->Read(Bytes(0), out), 0);
  EXPECT_EQ(out[0], std::byte{'d'});
  host.Arm(1, EIO, CallsOfKind(HostCallKind::kPread));
  EXPECT_EQ(source->Read(Bytes(0), out), -EIO);
}

TEST(PageSourceTest, AFileThatCannotBeReadIsRefusedByNameAndNothingStaysOpen) {
  FailingHost host;
  for (const char* path : {"/nonexistent/pages", "/"}) {
    try {
      (void)MakeFileSource(host, path);
      FAIL() << path;
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), ::testing::HasSubstr(path));
    }
  }
  EXPECT_EQ(host.open_descriptors(), 0u);
}

TEST(PageSourceTest, ADelayedSourceGivesZeroesLater) {
  const auto source = ParsePageSource(Host::System(), "delay:1ms");
  EXPECT_TRUE(source->may_block());
  for (const std::byte b : ReadFrom(*source, 0, 4096)) ASSERT_EQ(b, std::byte{0});
}

TEST(PageSourceTest, WhatIsNotASourceIsAUsageErrorThatSaysWhatIs) {
  for (const char* text : {"", "nil", "zeros", "file", "file:", "delay", "delay:", "delay:ms", "delay:5", "delay:-1ms",
                           "delay:5parsecs", "delay:99999999999999999999s", "delay:2000000h", "delay:7200s"}) {
    try {
      (void)ParsePageSource(Host::System(), text);
      FAIL() << text;
    } catch (const UsageError& e) {
      EXPECT_GT(std::string(e.what()).size(), 20u);
    }
  }
  for (const char* text : {"delay:0ms", "delay:50us", "delay:1s", "delay:10ns"}) {
    EXPECT_NO_THROW((void)ParsePageSource(Host::System(), text)) << text;
  }
}

}  // namespace
}  // namespace faultline
