#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "guestmem/error.h"
#include "vmm/storm/storm.h"

namespace faultline {
namespace {

class WholeFile : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "whole_file_XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static std::string Content(const std::filesystem::path& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  size_t Files() const { return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder_), {})); }

  std::filesystem::path folder_;
};

TEST_F(WholeFile, HoldsTheContentAndReplacesAnOlderOne) {
  const auto path = folder_ / "report.html";
  WriteFileWhole(path, "old and longer");
  WriteFileWhole(path, "new");
  EXPECT_EQ(Content(path), "new");
  EXPECT_EQ(Files(), 1U);
}

TEST_F(WholeFile, LeavesTheOlderOneWhenThereIsNoRoom) {
  const auto path = folder_ / "report.html";
  WriteFileWhole(path, "old");
  // A limit on the size of files stands in for a disk that fills up half-way.
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto old_handler = signal(SIGXFSZ, SIG_IGN);
  const rlimit small{4096, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  EXPECT_THROW(WriteFileWhole(path, std::string(100'000, 'x')), Error);
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, old_handler);
  EXPECT_EQ(Content(path), "old");
  EXPECT_EQ(Files(), 1U);
}

TEST_F(WholeFile, SaysWhatToDoWhenTheDiskIsFull) {
  try {
    WriteFileWhole("/dev/full", "x");
    FAIL() << "was written";
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(),
                 "cannot write '/dev/full': No space left on device; free some space or choose another place");
  }
}

TEST_F(WholeFile, SaysWhatToDoWhenTheFolderIsMissing) {
  try {
    WriteFileWhole(folder_ / "none" / "report.html", "x");
    FAIL() << "was written";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("create its directory first"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace faultline
