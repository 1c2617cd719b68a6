#include "devices/idle_port.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "tests/devices/register_access.h"

namespace faultline {
namespace {

uint64_t Wait(IdlePort& port) { return ReadRegister(port, 0, 4); }

TEST(IdlePort, TheFirstReadOfAVcpuReturnsAtOnceSoThatItLooksAround) {
  IdlePort port;
  EXPECT_EQ(Wait(port), 1U);
}

TEST(IdlePort, AReadWithoutNewsGivesUpAfterItsLimit) {
  IdlePort port;
  Wait(port);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(Wait(port), 0U);
  EXPECT_GE(std::chrono::steady_clock::now() - start, IdlePort::kMaxWait);
}

TEST(IdlePort, ANotificationBetweenTwoReadsIsNotLost) {
  IdlePort port;
  Wait(port);
  port.Notify();
  EXPECT_EQ(Wait(port), 1U);
  EXPECT_EQ(Wait(port), 0U) << "and is delivered once";
}

TEST(IdlePort, EveryWaitingVcpuIsWoken) {
  IdlePort port;
  constexpr int kVcpus = 4;
  std::atomic<int> ready{0};
  std::atomic<int> woken{0};
  std::vector<std::thread> vcpus;
  for (int i = 0; i < kVcpus; ++i) {
    vcpus.emplace_back([&] {
      Wait(port);
      ++ready;
      // A time-out is no failure of the port: only a notification ends the wait for good.
      while (Wait(port) == 0) {
      }
      ++woken;
    });
  }
  while (ready < kVcpus) std::this_thread::yield();
  port.Notify();
  for (std::thread& vcpu : vcpus) vcpu.join();
  EXPECT_EQ(woken, kVcpus);
}

TEST(IdlePort, AGuestsWriteWakesItsOtherVcpus) {
  IdlePort port;
  std::atomic<bool> ready{false};
  std::thread vcpu([&] {
    Wait(port);
    ready = true;
    while (Wait(port) == 0) {
    }
  });
  while (!ready) std::this_thread::yield();
  WriteRegister(port, 0, 4, 0);
  vcpu.join();
}

TEST(IdlePort, InterruptedReadsReturnAtOnceUntilRearmed) {
  IdlePort port;
  Wait(port);
  port.Interrupt();
  // None of these may block: a thousand full waits would take more than a minute.
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(Wait(port), 0U);
  port.Rearm();
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(Wait(port), 0U);
  EXPECT_GE(std::chrono::steady_clock::now() - start, IdlePort::kMaxWait);
}

TEST(IdlePort, ANotificationDuringAnInterruptIsStillSeen) {
  IdlePort port;
  Wait(port);
  port.Interrupt();
  port.Notify();
  EXPECT_EQ(Wait(port), 1U);
}

TEST(IdlePort, NotificationsFromManyThreadsReachAReaderThatNeverMissesTheLast) {
  IdlePort port;
  std::atomic<int> work{0};
  constexpr int kItems = 3000;
  std::thread reader([&] {
    // Looks for work first and waits only when there is none: what a guest does.
    int seen = 0;
    while (seen < 2 * kItems) {
      if (work.load() == seen) Wait(port);
      seen = work.load();
    }
  });
  std::vector<std::thread> writers;
  for (int i = 0; i < 2; ++i) {
    writers.emplace_back([&] {
      for (int n = 0; n < kItems; ++n) {
        ++work;
        port.Notify();
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  reader.join();
  EXPECT_EQ(work, 2 * kItems);
}

}  // namespace
}  // namespace faultline
