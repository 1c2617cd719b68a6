#include "vmm/storm/control_block.h"

#include <gtest/gtest.h>

#include <thread>

#include "tests/vmm/storm/fake_memory.h"

namespace faultline {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

StormOptions TwoVcpus() {
  StormOptions options = SmallStorm();
  options.vcpus = 2;
  return options;
}

storm_abi::VcpuBlock* Vcpu(FakeMemory& memory, unsigned index) { return storm_abi::VcpuBlockOf(memory.block, index); }

TEST(ControlBlock, WaitsUntilEveryVcpuHasLeft) {
  FakeMemory memory(TwoVcpus());
  std::thread vcpus([&] {
    for (unsigned i = 0; i < 2; ++i) {
      uint64_t request = 0;
      while ((request = storm_abi::Load(&Vcpu(memory, i)->leave_request)) == 0) std::this_thread::yield();
      EXPECT_EQ(storm_abi::LeaveSlot(request), 1U);
      storm_abi::Store(&Vcpu(memory, i)->leave_answer, storm_abi::LeaveAnswer(request, false));
    }
  });
  EXPECT_EQ(memory.control.AskToLeave(1, Clock::now() + seconds(60)), ControlBlock::Answer::kAllLeft);
  vcpus.join();
}

TEST(ControlBlock, TakesOneRefusalForAll) {
  FakeMemory memory(TwoVcpus());
  std::thread vcpu([&] {
    uint64_t request = 0;
    while ((request = storm_abi::Load(&Vcpu(memory, 0)->leave_request)) == 0) std::this_thread::yield();
    storm_abi::Store(&Vcpu(memory, 0)->leave_answer, storm_abi::LeaveAnswer(request, true));
  });
  EXPECT_EQ(memory.control.AskToLeave(1, Clock::now() + seconds(60)), ControlBlock::Answer::kRefused);
  vcpu.join();
}

TEST(ControlBlock, GivesUpAskingAtTheDeadline) {
  FakeMemory memory(TwoVcpus());
  EXPECT_EQ(memory.control.AskToLeave(0, Clock::now() + milliseconds(1)), ControlBlock::Answer::kNoAnswer);
}

TEST(ControlBlock, IgnoresAnAnswerToAnEarlierRequest) {
  FakeMemory memory(SmallStorm());
  EXPECT_EQ(memory.control.AskToLeave(0, Clock::now()), ControlBlock::Answer::kNoAnswer);
  const uint64_t old = storm_abi::Load(&Vcpu(memory, 0)->leave_request);
  memory.control.Withdraw();
  storm_abi::Store(&Vcpu(memory, 0)->leave_answer, storm_abi::LeaveAnswer(old, false));
  EXPECT_EQ(memory.control.AskToLeave(0, Clock::now()), ControlBlock::Answer::kNoAnswer);
}

TEST(ControlBlock, PausesARunningVcpuAndLetsItGoOn) {
  FakeMemory memory(SmallStorm());
  memory.Plug(0, 1);
  std::thread vcpu([&] { storm_abi::StormWorker<FakeMemory>(memory.block, 0, memory).Run(); });
  ASSERT_TRUE(memory.control.Pause(Clock::now() + seconds(60)));
  // Paused: only the heartbeat moves.
  const uint64_t reads = memory.control.totals().reads;
  const uint64_t beat = memory.control.heartbeat(0);
  while (memory.control.heartbeat(0) < beat + 10) std::this_thread::yield();
  EXPECT_EQ(memory.control.totals().reads, reads);
  memory.control.Resume();
  while (memory.control.totals().reads == reads) std::this_thread::yield();
  memory.control.Stop();
  vcpu.join();
}

TEST(ControlBlock, GivesUpPausingAVcpuThatDoesNotAnswer) {
  FakeMemory memory(SmallStorm());
  EXPECT_FALSE(memory.control.Pause(Clock::now() + milliseconds(1)));
}

TEST(ControlBlock, StaysStoppedWhateverComesAfter) {
  FakeMemory memory(SmallStorm());
  memory.control.Stop();
  EXPECT_FALSE(memory.control.Pause(Clock::now() + seconds(60)));
  memory.control.Resume();
  EXPECT_EQ(storm_abi::CommandOf(storm_abi::Load(&memory.block->command)), storm_abi::Command::kStop);
}

TEST(ControlBlock, SumsLatencyOverVcpusInNanoseconds) {
  FakeMemory memory(TwoVcpus());
  for (unsigned i = 0; i < 2; ++i) {
    Vcpu(memory, i)->latency[storm_abi::LatencyBucket(i == 0 ? 10 : 60)] = 100;
    Vcpu(memory, i)->latency_max = i == 0 ? 10 : 60;
  }
  const StormQuantiles latency = memory.control.guest_latency(2e9);  // two ticks a nanosecond
  EXPECT_EQ(latency.p50, 30U);
  EXPECT_EQ(latency.max, 30U);
  EXPECT_EQ(memory.control.guest_latency(0).max, 0U);
}

}  // namespace
}  // namespace faultline
