// `faultline save` and `restore`: a guest goes on where it was, and whatever goes wrong leaves it running.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/e2e/program.h"

namespace faultline::e2e {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class SavedVm : public testing::Test {
 protected:
  void SetUp() override {
    if (!HasKvm()) GTEST_SKIP() << "/dev/kvm is not there or not for this user";
  }
  // Starts the VM "s", plugs a dimm into it, and has the guest count there.
  void StartCounting() {
    vm_.emplace(place_, Words{"run", "--name", "s", "--cpus", "2", "--memory", "64M,max=1G,slots=4"});
    vm_->ReadUntil(kPrompt);
    ASSERT_EQ(place_.Run({"memory", "plug", "s", "16M"}).status, 0);
    vm_->ReadUntil("zero\n");
    vm_->ReadUntil(kPrompt);
    vm_->Type("count dimm0\r");
    vm_->ReadUntil("Enter to stop\n");
    // A whole round.
    while (place_.Json({"memory", "list", "s"})[0].at("present") < 16U << 20) {
    }
  }
  static void ExpectCountIsExact(Terminal& vm) {
    vm.Type("\r");
    EXPECT_THAT(vm.ReadUntil(kPrompt), HasSubstr(" on 4096 pages: exact\n"));
  }
  std::string Status() const { return place_.Json({"info", "s"}).at("status"); }
  std::string file() const { return place_ / "s.saved"; }
  void Save() {
    const Answer saved = place_.Run({"save", "s", file()});
    ASSERT_EQ(saved.status, 0) << saved.err;
    EXPECT_THAT(saved.out, HasSubstr("`faultline restore " + file() + "` goes on from there\n"));
  }

  Workplace place_;
  std::optional<Terminal> vm_;
};

TEST_F(SavedVm, GoesOnWithItsCounterExactItsDimmAndItsName) {
  StartCounting();
  Save();
  EXPECT_EQ(vm_->Wait(), 0);
  EXPECT_EQ(place_.Json({"list"}), json::array());
  struct stat info {};
  ASSERT_EQ(stat(file().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U) << "the guest's memory is nobody else's business";
  EXPECT_FALSE(std::filesystem::exists(file() + ".partial"));
  Terminal restored(place_, {"restore", file()});
  restored.SetPatience(kPatience);
  ExpectCountIsExact(restored);
  const json devices = place_.Json({"memory", "list", "s"});
  ASSERT_EQ(devices.size(), 1U);
  EXPECT_EQ(devices[0].at("id"), "dimm0");
  EXPECT_EQ(place_.Run({"memory", "unplug", "s", "dimm0"}).status, 0) << "it is as pluggable as before";
  restored.ReadUntil("dimm0 ejected");
}

TEST_F(SavedVm, MayGoOnAndItsCopyToo) {
  StartCounting();
  const json saved = place_.Json({"save", "s", file(), "--keep"});
  EXPECT_EQ(saved.at("ended"), false);
  EXPECT_GE(saved.at("bytes"), 16U << 20);
  ExpectCountIsExact(*vm_);
  Terminal copy(place_, {"restore", file(), "--name", "copy"});
  ExpectCountIsExact(copy);
  EXPECT_EQ(place_.Json({"list"}).size(), 2U);
  copy.Signal(SIGTERM);
  EXPECT_EQ(copy.Wait(), 0);
  Terminal again(place_, {"restore", file(), "--name", "again", "--paused"});
  while (place_.Run({"info", "again"}).status != 0) {
  }
  while (place_.Json({"info", "again"}).at("memory").at("present") < 16U << 20) {
  }
  EXPECT_NE(place_.Json({"info", "again"}).at("status"), "running");
  while (place_.Run({"resume", "again"}).status != 0) {
  }
  ExpectCountIsExact(again);
}

TEST_F(SavedVm, GoesOnWhenThereIsNoRoomForIt) {
  StartCounting();
  const Answer saved = place_.Run({"save", "s", "/dev/full"});
  EXPECT_EQ(saved.status, 1);
  EXPECT_THAT(saved.err, HasSubstr("VM 's' was not saved and goes on: the saved VM could not be written"));
  EXPECT_EQ(Status(), "running");
  ExpectCountIsExact(*vm_);
}

TEST_F(SavedVm, AFileThatCannotBeWrittenIsRefusedAndAnOldOneStays) {
  StartCounting();
  EXPECT_EQ(place_.Run({"save", "s", place_.runtime_directory()}).status, 2);
  EXPECT_EQ(place_.Run({"save", "s", place_ / "no/such/place"}).status, 1);
  EXPECT_EQ(place_.Run({"save", "nobody", file()}).status, 2);
  EXPECT_FALSE(std::filesystem::exists(file() + ".partial"));
  Save();
  std::filesystem::create_directory(file() + ".partial");
  Terminal restored(place_, {"restore", file()});
  ExpectCountIsExact(restored);
  const Answer refused = place_.Run({"save", "s", file()});
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.err, HasSubstr("the VM goes on"));
  EXPECT_THAT(restored.Command("mem"), HasSubstr("total"));
  EXPECT_GT(std::filesystem::file_size(file()), 16U << 20);
}

TEST_F(SavedVm, ADamagedFileIsRefusedInOneSentence) {
  StartCounting();
  Save();
  const auto refusal = [this](const std::string& path) {
    const Answer answer = place_.Run({"restore", path, "--console", "none"});
    EXPECT_EQ(answer.status, 1) << path;
    EXPECT_EQ(std::ranges::count(answer.err, '\n'), 1) << answer.err;
    return answer.err;
  };
  const auto copy = [this](const std::string& name) {
    std::filesystem::copy_file(file(), place_ / name);
    return place_ / name;
  };
  const std::string shorter = copy("shorter");
  std::filesystem::resize_file(shorter, std::filesystem::file_size(file()) - 9);
  EXPECT_THAT(refusal(shorter), HasSubstr("ends early"));
  const std::string changed = copy("changed");
  const std::string future = copy("future");
  std::fstream(changed, std::ios::in | std::ios::out | std::ios::binary).seekp(-5000, std::ios::end).write("damage", 6);
  EXPECT_THAT(refusal(changed), HasSubstr("is damaged (a checksum does not match)"));
  std::fstream(future, std::ios::in | std::ios::out | std::ios::binary).seekp(8).write("\x07", 1);
  EXPECT_THAT(refusal(future), HasSubstr("format version 7"));
  EXPECT_THAT(refusal("/etc/passwd"), HasSubstr("not a saved VM"));
  EXPECT_THAT(refusal(place_ / "none"), HasSubstr("cannot be opened"));
  EXPECT_EQ(place_.Run({"restore", "/dev/zero"}).status, 1);
}

}  // namespace
}  // namespace faultline::e2e
