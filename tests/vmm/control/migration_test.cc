// A real machine leaves and comes in through a pipe, and every way in which that can go wrong half-way.
#include "vmm/control/migration.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <nlohmann/json.hpp>

#include "guestmem/error.h"
#include "tests/vmm/machine/machine_under_test.h"
#include "vmm/control/machine_control.h"

namespace faultline {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    EXPECT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
    out = FileDescriptor(Host::System(), ends[0]);
    in = FileDescriptor(Host::System(), ends[1]);
  }
  FileDescriptor out, in;
};

FileDescriptor Duplicate(const FileDescriptor& fd) { return {Host::System(), fcntl(fd.get(), F_DUPFD_CLOEXEC, 3)}; }

class MigrationTest : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_KVM();
    // As the programs do.
    std::signal(SIGPIPE, SIG_IGN);
  }

  static MachineConfig Incoming() {
    MachineConfig config = MachineUnderTest::Config();
    config.incoming = true;
    return config;
  }
  Migration::Emit Recorder() {
    return [this](std::string_view name, const json& data) {
      MutexLock lock(mutex_);
      EXPECT_EQ(name, "MIGRATION");
      seen_.push_back(data.at("status"));
      changed_.NotifyAll();
    };
  }
  void WaitForEnd() {
    MutexLock lock(mutex_);
    const auto ended = [&]() REQUIRES(mutex_) {
      return !seen_.empty() && seen_.back() != "setup" && seen_.back() != "active";
    };
    while (!ended()) {
      if (!changed_.WaitUntil(mutex_, std::chrono::steady_clock::now() + std::chrono::seconds(60))) {
        FAIL() << "it did not end";
      }
    }
  }
  std::vector<std::string> TakeSeen() {
    MutexLock lock(mutex_);
    return std::exchange(seen_, {});
  }
  // The VM works on as if nothing had been.
  static void ExpectWorks(MachineUnderTest& vm) {
    vm.Type("mem");
    EXPECT_TRUE(vm.WaitForConsole("total"));
  }
  // A guest that counts in 16 MiB until something is typed.
  static void StartCounting(MachineUnderTest& vm) {
    vm.Start();
    vm.Type("count 0x400000+16M");
    vm.WaitForConsole("Enter to stop");
    // Its first round is over when it has counted in the last page.
    std::array<std::byte, kPageSize.value> last{};
    const auto is_zero = [](std::byte b) { return b == std::byte{0}; };
    while (std::ranges::all_of(last, is_zero)) {
      std::this_thread::yield();
      ASSERT_EQ(vm.machine->memory().Read(Gpa(0x400000) + (16_MiB - kPageSize), last), AccessResult::kOk);
    }
  }
  static void ExpectCountIsExact(MachineUnderTest& vm) {
    const std::string enter = "\n";
    vm.machine->ConsoleInput(std::as_bytes(std::span(enter)));
    EXPECT_TRUE(vm.WaitForConsole("exact"));
  }

  Mutex mutex_;
  CondVar changed_;
  std::vector<std::string> seen_ GUARDED_BY(mutex_);
};

TEST_F(MigrationTest, ACounterThatRunsInMemoryGoesOnExactlyOnTheOtherSide) {
  MachineUnderTest from;
  MachineUnderTest to(Incoming());
  Migration save(Recorder());
  Migration restore([](std::string_view, const json&) {});
  Pipe pipe;
  StartCounting(from);
  to.machine->Start();
  restore.Restore(*to.machine, std::move(pipe.out));
  save.Save(*from.machine, std::move(pipe.in), 1_GiB);
  WaitForEnd();
  EXPECT_THAT(TakeSeen(), ElementsAre("setup", "active", "completed"));
  EXPECT_EQ(from.machine->Status().state, RunState::kPaused);
  EXPECT_TRUE(save.Query().saved_last);
  EXPECT_GE(save.Query().transferred, 15_MiB);
  while (restore.active()) std::this_thread::yield();
  ASSERT_TRUE(restore.Query().restored()) << restore.Query().error;
  to.machine->Resume();
  ExpectCountIsExact(to);
  // Nothing was taken from the one that was saved.
  from.machine->Resume();
  ExpectCountIsExact(from);
}

TEST_F(MigrationTest, WhenTheOtherEndGoesAwayTheVmGoesOn) {
  MachineUnderTest vm;
  Migration migration(Recorder());
  Pipe pipe;
  StartCounting(vm);
  migration.Save(*vm.machine, std::move(pipe.in), 1_GiB);
  // The pipe holds less than that: the middle of the stream.
  std::array<char, 100000> some{};
  for (size_t n = 0; n < some.size();) {
    const ssize_t got = read(pipe.out.get(), some.data() + n, some.size() - n);
    ASSERT_GT(got, 0);
    n += static_cast<size_t>(got);
  }
  pipe.out.Reset();
  WaitForEnd();
  EXPECT_THAT(TakeSeen(), ElementsAre("setup", "active", "failed"));
  EXPECT_THAT(migration.Query().error, HasSubstr("is gone"));
  EXPECT_EQ(vm.machine->Status().state, RunState::kRunning);
  ExpectCountIsExact(vm);
}

TEST_F(MigrationTest, WhenTheDiskIsFullTheVmGoesOn) {
  MachineUnderTest vm;
  Migration migration(Recorder());
  StartCounting(vm);
  migration.Save(*vm.machine, FileDescriptor(Host::System(), open("/dev/full", O_WRONLY | O_CLOEXEC)), 1_GiB);
  WaitForEnd();
  EXPECT_THAT(migration.Query().error, HasSubstr("make room"));
  EXPECT_EQ(vm.machine->Status().state, RunState::kRunning);
  ExpectCountIsExact(vm);
}

TEST_F(MigrationTest, AVmThatWasPausedStaysPausedWhenItCannotBeSaved) {
  MachineUnderTest vm;
  Migration migration(Recorder());
  vm.Start();
  vm.machine->Pause();
  migration.Save(*vm.machine, FileDescriptor(Host::System(), open("/dev/full", O_WRONLY | O_CLOEXEC)), 1_GiB);
  WaitForEnd();
  EXPECT_EQ(vm.machine->Status().state, RunState::kPaused);
  vm.machine->Resume();
  ExpectWorks(vm);
}

TEST_F(MigrationTest, OneThatNobodyReadsIsCancelled) {
  MachineUnderTest vm;
  Migration migration(Recorder());
  Pipe pipe;
  StartCounting(vm);
  migration.Save(*vm.machine, std::move(pipe.in), 1_GiB);
  EXPECT_THROW(migration.Save(*vm.machine, {}, 1_GiB), UsageError) << "one at a time";
  migration.Cancel();
  WaitForEnd();
  EXPECT_THAT(TakeSeen(), ElementsAre("setup", "active", "cancelled"));
  EXPECT_EQ(vm.machine->Status().state, RunState::kRunning);
  ExpectCountIsExact(vm);
}

TEST_F(MigrationTest, APauseThatIsAskedForMeanwhileOutlivesTheFailure) {
  MachineUnderTest vm;
  Migration migration(Recorder());
  Pipe pipe;
  StartCounting(vm);
  migration.Save(*vm.machine, std::move(pipe.in), 1_GiB);
  migration.KeepPaused();
  migration.Cancel();
  WaitForEnd();
  EXPECT_EQ(vm.machine->Status().state, RunState::kPaused);
}

TEST_F(MigrationTest, TheEndOfTheProgramEndsIt) {
  MachineUnderTest vm;
  Pipe pipe;
  StartCounting(vm);
  Migration migration(Recorder());
  migration.Save(*vm.machine, std::move(pipe.in), 1_GiB);
  vm.machine->Stop();
}

TEST_F(MigrationTest, ALimitOnTheRateIsKept) {
  MachineUnderTest vm;
  Migration migration(Recorder());
  StartCounting(vm);
  const auto began = std::chrono::steady_clock::now();
  migration.Save(*vm.machine, FileDescriptor(Host::System(), memfd_create("saved", MFD_CLOEXEC)), 32_MiB);
  WaitForEnd();
  ASSERT_GE(migration.Query().transferred, 15_MiB);
  EXPECT_GE(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(400))
      << "half a second, less what was said before";
}

TEST_F(MigrationTest, WhatIsNoSavedVmIsRefusedAndNothingRuns) {
  MachineUnderTest vm(Incoming());
  vm.machine->Start();
  Migration migration(Recorder());
  Pipe pipe;
  ASSERT_EQ(write(pipe.in.get(), "garbage, and not even much of it", 32), 32);
  pipe.in.Reset();
  migration.Restore(*vm.machine, std::move(pipe.out));
  WaitForEnd();
  EXPECT_THAT(TakeSeen(), ElementsAre("setup", "active", "failed"));
  EXPECT_THAT(migration.Query().error, HasSubstr("not a saved VM"));
  EXPECT_FALSE(migration.Query().restored());
}

class ControlledMachine : public MigrationTest {
 protected:
  void Make(const MachineConfig& config) {
    host_.emplace(config, [](const MachineEvent&) {});
    control_.emplace(*host_, VmControl::Surroundings{},
                     MachineControl::Program{.quit = [] {}, .reset = [this] { ++resets_; }, .emit = Recorder()});
    host_->machine().Start();
  }

  static PlugRequest Dimm() {
    PlugRequest request;
    request.id = "dimm";
    request.size = 64_MiB;
    return request;
  }

  int resets_ = 0;
  std::optional<MachineHost> host_;
  std::optional<MachineControl> control_;
};

TEST_F(ControlledMachine, IsNotChangedWhileItIsSaved) {
  Make(MachineUnderTest::Config());
  Pipe pipe;
  control_->Save(Duplicate(pipe.in));
  EXPECT_THROW(control_->Resume(), UsageError);
  EXPECT_THROW(control_->Reset(), UsageError);
  EXPECT_THROW(control_->RequestShutdown(), UsageError);
  EXPECT_THROW(control_->PlugMemory(Dimm()), UsageError);
  EXPECT_THROW(control_->UnplugMemory(UnplugRequest{}), UsageError);
  EXPECT_THROW(control_->Save(Duplicate(pipe.in)), UsageError);
  control_->CancelMigration();
  WaitForEnd();
  control_->Resume();
  control_->Reset();
  EXPECT_EQ(resets_, 1);
}

TEST_F(ControlledMachine, WaitsForAStateAndTakesOne) {
  Make(Incoming());
  EXPECT_THROW(control_->Resume(), UsageError) << "there is nothing to run";
  EXPECT_THROW(control_->PlugMemory(Dimm()), UsageError);
  EXPECT_THROW(control_->Save({}), UsageError);
  MachineUnderTest from;
  StartCounting(from);
  Pipe pipe;
  Migration save([](std::string_view, const json&) {});
  control_->Restore(std::move(pipe.out));
  save.Save(*from.machine, std::move(pipe.in), 1_GiB);
  WaitForEnd();
  ASSERT_TRUE(control_->MigrationState().restored()) << control_->MigrationState().error;
  EXPECT_THROW(control_->Restore({}), UsageError) << "once";
  control_->Resume();
  EXPECT_EQ(control_->Status().state, RunState::kRunning);
}

TEST_F(ControlledMachine, ThatCouldNotBeRestoredIsNotRun) {
  Make(Incoming());
  Pipe pipe;
  pipe.in.Reset();
  control_->Restore(std::move(pipe.out));
  WaitForEnd();
  EXPECT_THROW(control_->Resume(), UsageError);
  EXPECT_THROW(control_->Restore({}), UsageError);
}

TEST_F(ControlledMachine, StartsAnewAfterAResetAndNotFromTheSavedState) {
  Make(Incoming());
  host_->Restart(/*paused=*/true);
  EXPECT_FALSE(host_->machine().config().incoming);
}

}  // namespace
}  // namespace faultline
