// A machine with the built-in guest, its console and its events recorded.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "guestmem/guest_memory.h"
#include "guestmem/mutex.h"
#include "vmm/machine/machine.h"

#define SKIP_WITHOUT_KVM() \
  if (access("/dev/kvm", R_OK | W_OK) != 0) GTEST_SKIP() << "/dev/kvm: " << strerror(errno)

namespace faultline {

class MachineUnderTest {
 public:
  static MachineConfig Config(unsigned cpus = 1) {
    MachineConfig config;
    config.name = "test";
    config.cpus = cpus;
    config.memory.boot = 64_MiB;
    config.memory.max = 2_GiB;
    config.memory.slots = 4;
    return config;
  }

  explicit MachineUnderTest(MachineConfig config = Config(), Host& host = Host::System()) {
    config.console_output = [this](std::span<const std::byte> data) {
      MutexLock lock(mutex_);
      for (const std::byte b : data) console_ += static_cast<char>(b);
      changed_.NotifyAll();
    };
    machine = std::make_unique<Machine>(host, config, [this](const MachineEvent& event) {
      MutexLock lock(mutex_);
      events_.push_back(event);
      changed_.NotifyAll();
    });
  }

  void Start() {
    machine->Start();
    EXPECT_TRUE(WaitForConsole("faultline> "));
  }

  // Waits until the guest has printed `text` since the last call that found its own; false after a long time.
  bool WaitForConsole(const std::string& text) {
    MutexLock lock(mutex_);
    while (true) {
      const size_t at = console_.find(text, console_read_);
      if (at != std::string::npos) {
        console_read_ = at + text.size();
        return true;
      }
      if (!changed_.WaitUntil(mutex_, std::chrono::steady_clock::now() + kPatience)) {
        ADD_FAILURE() << "'" << text << "' is not in: " << console_.substr(console_read_);
        return false;
      }
    }
  }
  // Whether the first device's pages come to `size`, sooner or later: a reader wakes the guest before it counts.
  bool ComesToHold(Bytes size) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (machine->MemoryDevices().at(0).present != size) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::yield();
    }
    return true;
  }
  // Types a line; what the guest echoes of it counts as read.
  void Type(const std::string& line) {
    const std::string typed = line + "\n";
    EXPECT_EQ(machine->ConsoleInput(std::as_bytes(std::span(typed))), typed.size());
    WaitForConsole(line);
  }

  template <class Event>
  std::vector<Event> EventsOf() const {
    MutexLock lock(mutex_);
    std::vector<Event> found;
    for (const auto& event : events_) {
      if (const auto* e = std::get_if<Event>(&event)) found.push_back(*e);
    }
    return found;
  }
  template <class Event>
  bool WaitForEvents(size_t count) {
    MutexLock lock(mutex_);
    while (true) {
      size_t found = 0;
      for (const auto& event : events_) found += std::holds_alternative<Event>(event) ? 1 : 0;
      if (found >= count) return true;
      if (!changed_.WaitUntil(mutex_, std::chrono::steady_clock::now() + kPatience)) {
        ADD_FAILURE() << "no such event came";
        return false;
      }
    }
  }

  MemoryDeviceInfo Plug(const std::string& id, Bytes size, std::shared_ptr<PageSource> source = nullptr) {
    PlugRequest request;
    request.id = id;
    request.size = size;
    request.source = std::move(source);
    return machine->PlugMemory(request);
  }
  // Unplugs and waits for the end.
  UnplugResult Unplug(const std::string& id, bool force,
                      std::optional<std::chrono::nanoseconds> timeout = std::nullopt) {
    BeginUnplug(id, force, timeout);
    return WaitForUnplug();
  }
  void BeginUnplug(const std::string& id, bool force, std::optional<std::chrono::nanoseconds> timeout = std::nullopt) {
    UnplugRequest request;
    request.id = id;
    request.force = force;
    request.timeout = timeout;
    machine->UnplugMemory(request, [this](const UnplugResult& result) {
      MutexLock lock(mutex_);
      unplugs_.push_back(result);
      changed_.NotifyAll();
    });
  }
  // The next end of an unplug that was begun here.
  UnplugResult WaitForUnplug() {
    MutexLock lock(mutex_);
    while (unplugs_.empty()) {
      if (!changed_.WaitUntil(mutex_, std::chrono::steady_clock::now() + kPatience)) {
        ADD_FAILURE() << "the unplug did not end";
        return {};
      }
    }
    const UnplugResult result = unplugs_.front();
    unplugs_.erase(unplugs_.begin());
    return result;
  }

  // What must be the same before and after whatever failed.
  void ExpectBooksAgree() {
    const MachineStatus status = machine->Status();
    Bytes plugged;
    for (const auto& device : machine->MemoryDevices()) plugged += device.gpa.size;
    EXPECT_EQ(status.plugged_memory, plugged);
    EXPECT_EQ(status.memslot_bytes, status.boot_memory + plugged);
    EXPECT_EQ(machine->memory().Regions().size(), machine->MemoryDevices().size() + 1);
  }

 private:
  static constexpr std::chrono::seconds kPatience{30};

  mutable Mutex mutex_;
  CondVar changed_;
  std::string console_ GUARDED_BY(mutex_);
  size_t console_read_ GUARDED_BY(mutex_) = 0;
  std::vector<MachineEvent> events_ GUARDED_BY(mutex_);
  std::vector<UnplugResult> unplugs_ GUARDED_BY(mutex_);

 public:
  std::unique_ptr<Machine> machine;  // last: ends before what it reports to
};

inline std::string Command(const std::string& verb, const GpaRange& range) {
  char text[64];
  snprintf(text, sizeof(text), "%s 0x%llx+%lluM", verb.c_str(), static_cast<unsigned long long>(range.start.value),
           static_cast<unsigned long long>(range.size.value >> 20));
  return text;
}

inline std::string HexText(Gpa gpa) {
  char text[24];
  snprintf(text, sizeof(text), "0x%llx", static_cast<unsigned long long>(gpa.value));
  return text;
}

}  // namespace faultline
