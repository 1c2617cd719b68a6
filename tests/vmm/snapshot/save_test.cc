// A guest saved in the middle of its work and restored into another machine, which goes on as if nothing had been.
#include "vmm/snapshot/save.h"

#include <nlohmann/json.hpp>

#include "guestmem/error.h"
#include "tests/guestmem/failing_host.h"
#include "tests/vmm/machine/machine_under_test.h"
#include "tests/vmm/snapshot/saved_file.h"
#include "vmm/snapshot/stream.h"

namespace faultline {
namespace {

using nlohmann::json;

class SaveTest : public testing::Test {
 protected:
  void SetUp() override { SKIP_WITHOUT_KVM(); }

  static MachineConfig Incoming(unsigned cpus = 1) {
    MachineConfig config = MachineUnderTest::Config(cpus);
    config.incoming = true;
    return config;
  }

  static void Save(MachineUnderTest& vm, const SavedFile& file, Host& host = Host::System()) {
    SnapshotWriter writer(host, file.Rewound(), kNotCancelled);
    SaveProgress progress;
    SaveMachine(*vm.machine, writer, progress);
    EXPECT_EQ(progress.done.load(), progress.total.load());
  }

  static void Restore(const SavedFile& file, MachineUnderTest& vm, Host& host = Host::System()) {
    SnapshotReader reader(host, file.Rewound(), kNotCancelled);
    const json state = reader.ReadState();
    SaveProgress progress;
    RestoreMachine(*vm.machine, state, reader, progress);
  }

  template <class Action>
  static std::string FailureOf(Action&& action) {
    try {
      action();
      return {};
    } catch (const Error& e) {
      return e.what();
    }
  }
};

TEST_F(SaveTest, ARestoredGuestHasItsMemoryAndGoesOn) {
  const SavedFile file;
  GpaRange dimm;
  {
    MachineUnderTest vm;
    vm.Start();
    dimm = vm.Plug("dimm", 64_MiB).gpa;
    vm.WaitForConsole("faultline> ");
    vm.Type(Command("fill", dimm));
    vm.WaitForConsole("filled");
    vm.machine->Pause();
    Save(vm, file);
  }
  MachineUnderTest vm(Incoming());
  Restore(file, vm);
  vm.machine->Start();
  vm.machine->Resume();
  ASSERT_EQ(vm.machine->MemoryDevices().size(), 1u);
  EXPECT_EQ(vm.machine->MemoryDevices()[0].gpa, dimm);
  vm.ExpectBooksAgree();
  vm.Type(Command("check", dimm));
  EXPECT_TRUE(vm.WaitForConsole("check ok: 16384 pages good"));
  const UnplugResult unplug = vm.Unplug("dimm", false);
  EXPECT_EQ(unplug.outcome, UnplugOutcome::kDone) << unplug.reason;
}

TEST_F(SaveTest, WorkThatWasUnderWayOnAllVcpusIsFinishedByTheRestoredGuest) {
  const SavedFile file;
  GpaRange dimm;
  {
    MachineUnderTest vm(MachineUnderTest::Config(2));
    vm.Start();
    dimm = vm.Plug("dimm", 256_MiB).gpa;
    vm.WaitForConsole("faultline> ");
    vm.Type(Command("fill", dimm));
    // Somewhere in the middle.
    while (vm.machine->MemoryDevices().at(0).present < 16_MiB) std::this_thread::yield();
    vm.machine->Pause();
    Save(vm, file);
  }
  MachineUnderTest vm(Incoming(2));
  Restore(file, vm);
  vm.machine->Start();
  vm.machine->Resume();
  EXPECT_TRUE(vm.WaitForConsole("filled"));
  vm.Type(Command("check", dimm));
  EXPECT_TRUE(vm.WaitForConsole("check ok: 65536 pages good"));
}

TEST_F(SaveTest, TheSavedMachineGoesOnToo) {
  MachineUnderTest vm;
  vm.Start();
  vm.machine->Pause();
  const SavedFile file;
  Save(vm, file);
  vm.machine->Resume();
  vm.Type("mem");
  EXPECT_TRUE(vm.WaitForConsole("total"));
}

TEST_F(SaveTest, OnlyMemoryThatHoldsSomethingIsWritten) {
  MachineUnderTest vm;
  vm.Start();
  vm.machine->Pause();
  const SavedFile file;
  Save(vm, file);
  EXPECT_LT(file.Bytes().size(), (1_MiB).value);
}

TEST_F(SaveTest, TypedInputThatTheGuestHasNotReadIsKept) {
  const SavedFile file;
  {
    MachineUnderTest vm;
    vm.Start();
    vm.machine->Pause();
    const std::string typed = "mem\n";
    ASSERT_EQ(vm.machine->ConsoleInput(std::as_bytes(std::span(typed))), typed.size());
    Save(vm, file);
  }
  MachineUnderTest vm(Incoming());
  Restore(file, vm);
  vm.machine->Start();
  vm.machine->Resume();
  EXPECT_TRUE(vm.WaitForConsole("total"));
}

TEST_F(SaveTest, ARunningMachineIsNotSaved) {
  MachineUnderTest vm;
  vm.Start();
  EXPECT_THROW(vm.machine->SaveState(), UsageError);
}

TEST_F(SaveTest, AMachineWhoseUnplugIsUnderWayIsNotSaved) {
  MachineUnderTest vm;
  vm.Start();
  const GpaRange dimm = vm.Plug("dimm", 64_MiB).gpa;
  vm.WaitForConsole("faultline> ");
  vm.machine->Pause();
  vm.BeginUnplug("dimm", false);  // nobody answers
  const std::string failure = FailureOf([&] { vm.machine->SaveState(); });
  EXPECT_THAT(failure, testing::HasSubstr("'dimm'"));
  vm.machine->Resume();
  EXPECT_EQ(vm.WaitForUnplug().outcome, UnplugOutcome::kDone) << HexText(dimm.start);
}

TEST_F(SaveTest, AMachineThatWaitsAtAnAccessToUnpluggedMemoryIsNotSaved) {
  MachineConfig config = MachineUnderTest::Config();
  config.on_unplugged_access = UnpluggedPolicy::kStop;
  MachineUnderTest vm(config);
  vm.Start();
  const GpaRange dimm = vm.Plug("dimm", 64_MiB).gpa;
  vm.WaitForConsole("faultline> ");
  ASSERT_EQ(vm.Unplug("dimm", true).outcome, UnplugOutcome::kDone);
  const std::string typed = "peek " + HexText(dimm.start) + "\n";
  vm.machine->ConsoleInput(std::as_bytes(std::span(typed)));
  ASSERT_TRUE(vm.WaitForEvents<PausedEvent>(1));
  EXPECT_THAT(FailureOf([&] { vm.machine->SaveState(); }), testing::HasSubstr("resume it, then save it"));
}

TEST_F(SaveTest, AMachineOfAnotherMakeIsRefusedByName) {
  MachineUnderTest vm;
  const json state = vm.machine->SaveState();
  MachineConfig more_cpus = Incoming(2);
  MachineUnderTest other(more_cpus);
  EXPECT_THAT(FailureOf([&] { other.machine->RestoreState(state); }), testing::HasSubstr("cpus"));
  MachineConfig more_memory = Incoming();
  more_memory.memory.boot = 128_MiB;
  MachineUnderTest larger(more_memory);
  EXPECT_THAT(FailureOf([&] { larger.machine->RestoreState(state); }), testing::HasSubstr("memory"));
  MachineUnderTest loaded;
  EXPECT_THROW(loaded.machine->RestoreState(state), UsageError);
}

// Each member removed, and each replaced by something of another kind.
TEST_F(SaveTest, ADamagedStateIsAnErrorNeverACrash) {
  MachineUnderTest vm(MachineUnderTest::Config());
  vm.Plug("dimm", 2_MiB);
  const json state = vm.machine->SaveState();
  std::vector<json::json_pointer> places;
  const std::function<void(const json&, const json::json_pointer&)> collect = [&](const json& value,
                                                                                  const json::json_pointer& at) {
    if (!at.empty()) places.push_back(at);
    if (value.is_object()) {
      for (const auto& [key, member] : value.items()) collect(member, at / key);
    } else if (value.is_array()) {
      for (size_t i = 0; i < std::min<size_t>(value.size(), 2); ++i) collect(value[i], at / i);
    }
  };
  collect(state, json::json_pointer());
  ASSERT_GT(places.size(), 30u);
  for (const auto& place : places) {
    for (const bool remove : {true, false}) {
      json damaged = state;
      if (remove) {
        json& parent = damaged[place.parent_pointer()];
        if (!parent.is_object()) continue;
        parent.erase(place.back());
      } else {
        damaged[place] = json{{"what", "is this"}};
      }
      SCOPED_TRACE(place.to_string() + (remove ? " removed" : " replaced"));
      // These do not have to match.
      const bool free = place.to_string().find("/config/name") == 0 || place.to_string().find("/config/backing") == 0 ||
                        place.to_string().find("/config/fault-around") == 0 ||
                        place.to_string().find("/config/on-unplugged-access") == 0;
      MachineUnderTest into(Incoming());
      const std::string failure = FailureOf([&] { into.machine->RestoreState(damaged); });
      const bool optional = remove && (place.back() == "lapic" || place.back() == "mp-state");
      EXPECT_EQ(failure.empty(), free || optional) << failure;
    }
  }
}

TEST_F(SaveTest, EachFailingCallOfASaveIsToldAndLeavesTheMachineRunning) {
  FailingHost host;
  MachineUnderTest vm(MachineUnderTest::Config(), host);
  vm.Start();
  vm.machine->Pause();
  const auto mine = CallsOfThisThread();
  uint64_t calls = 0;
  {
    const SavedFile file;
    host.Count(mine);
    Save(vm, file, host);
    calls = host.seen();
    host.Disarm();
  }
  ASSERT_GT(calls, 20u);
  // All of the first, then the many alike a few at a time.
  for (uint64_t n = 1; n <= calls; n += n < 40 ? 1 : calls / 40 + 1) {
    const SavedFile file;
    host.Arm(n, EIO, mine);
    const std::string failure = FailureOf([&] { Save(vm, file, host); });
    host.Disarm();
    // A register that KVM does not tell is left out.
    if (failure.empty()) continue;
    EXPECT_GT(failure.size(), 20u);
  }
  vm.machine->Resume();
  vm.Type("mem");
  EXPECT_TRUE(vm.WaitForConsole("total"));
}

}  // namespace
}  // namespace faultline
