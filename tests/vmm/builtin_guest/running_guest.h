// A machine that runs the built-in guest, with its console at a test's hands.
#pragma once

#include <unistd.h>

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <string_view>

#include "guestmem/mutex.h"
#include "vmm/machine/machine.h"

namespace faultline {

inline bool HasKvm() { return access("/dev/kvm", R_OK | W_OK) == 0; }

class RunningGuest {
 public:
  static constexpr std::string_view kPrompt = "faultline> ";

  explicit RunningGuest(MachineConfig config) : machine_(Host::System(), Connect(std::move(config)), nullptr) {
    machine_.Start();
  }

  Machine& machine() { return machine_; }

  // What the guest printed from the last match on, up to and including `wanted`; nothing of it is matched
  // again. A text that says so when it does not come.
  std::string ReadUntil(std::string_view wanted) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    MutexLock lock(mutex_);
    for (;;) {
      const size_t at = output_.find(wanted, read_);
      if (at != std::string::npos) {
        const std::string text = output_.substr(read_, at + wanted.size() - read_);
        read_ = at + wanted.size();
        return text;
      }
      if (!changed_.WaitUntil(mutex_, deadline) && std::chrono::steady_clock::now() >= deadline) {
        return "<never saw \"" + std::string(wanted) + "\", but: " + output_.substr(read_) + ">";
      }
    }
  }

  void Type(std::string_view text) { machine_.ConsoleInput(std::as_bytes(std::span(text))); }

  // Types a command at the prompt and returns what it printed.
  std::string Run(const std::string& command) {
    Type(command + "\r");
    ReadUntil(command + "\r\n");
    std::string text = ReadUntil(kPrompt);
    if (text.ends_with(kPrompt)) text.resize(text.size() - kPrompt.size());
    return text;
  }

  MemoryDeviceInfo Plug(const std::string& id, Bytes size) {
    PlugRequest request;
    request.id = id;
    request.size = size;
    return machine_.PlugMemory(request);
  }
  // Plugs and waits for the guest to say that it uses it; what it said.
  std::string PlugAndWait(const std::string& id, Bytes size) {
    const MemoryDeviceInfo device = Plug(id, size);
    ReadUntil("dimm" + std::to_string(device.slot) + " plugged: ");
    return ReadUntil("\r\n");
  }
  // Blocks until the unplug has ended, well or not.
  UnplugResult Unplug(const std::string& id, bool force = false) {
    UnplugRequest request;
    request.id = id;
    request.force = force;
    auto done = std::make_shared<std::promise<UnplugResult>>();
    auto result = done->get_future();
    machine_.UnplugMemory(request, [done](const UnplugResult& r) { done->set_value(r); });
    return result.get();
  }

 private:
  MachineConfig Connect(MachineConfig config) {
    config.console_output = [this](std::span<const std::byte> data) {
      {
        MutexLock lock(mutex_);
        for (const std::byte byte : data) output_.push_back(static_cast<char>(byte));
      }
      changed_.NotifyAll();
    };
    return config;
  }

  Mutex mutex_;
  CondVar changed_;
  std::string output_ GUARDED_BY(mutex_);
  size_t read_ GUARDED_BY(mutex_) = 0;
  Machine machine_;
};

}  // namespace faultline
