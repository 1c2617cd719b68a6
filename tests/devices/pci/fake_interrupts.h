// An interrupt controller for tests: lines that remember their level, message vectors that count.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <tuple>
#include <vector>

#include "devices/irq_line.h"
#include "devices/msi.h"
#include "guestmem/error.h"
#include "guestmem/mutex.h"

namespace faultline {

class FakeLine final : public IrqLine {
 public:
  void SetLevel(bool asserted) noexcept override {
    level = asserted;
    ++changes;
  }
  std::atomic<bool> level{false};
  std::atomic<unsigned> changes{0};
};

class FakeMsiHost final : public MsiHost {
 public:
  std::unique_ptr<MsiVector> NewVector() override {
    if (vectors_left == 0) throw Error("no vector left");
    --vectors_left;
    return std::make_unique<Vector>(*this);
  }
  void Send(const MsiMessage& message) noexcept override {
    ++sends;
    Count(message);
  }

  // How often a message with this data was sent, by vector or by Send.
  unsigned received(uint32_t data) const {
    MutexLock lock(mutex_);
    const auto it = received_.find(data);
    return it == received_.end() ? 0 : it->second;
  }
  // Waits up to ten seconds for the `count`th message with this data.
  bool WaitFor(uint32_t data, unsigned count) const {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    MutexLock lock(mutex_);
    while (received_[data] < count) {
      if (!arrived_.WaitUntil(mutex_, deadline)) return received_[data] >= count;
    }
    return true;
  }

  unsigned vectors_left = 1000;
  std::atomic<unsigned> set_messages{0};
  std::atomic<unsigned> sends{0};

 private:
  class Vector final : public MsiVector {
   public:
    explicit Vector(FakeMsiHost& host) : host_(host) {}
    ~Vector() override { ++host_.vectors_left; }
    void SetMessage(std::optional<MsiMessage> message) override {
      ++host_.set_messages;
      MutexLock lock(host_.mutex_);
      message_ = message;
    }
    void Trigger() noexcept override {
      std::optional<MsiMessage> message;
      {
        MutexLock lock(host_.mutex_);
        message = message_;
      }
      if (message) host_.Count(*message);
    }

   private:
    FakeMsiHost& host_;
    std::optional<MsiMessage> message_;
  };
  void Count(const MsiMessage& message) noexcept {
    MutexLock lock(mutex_);
    ++received_[message.data];
    arrived_.NotifyAll();
  }

  mutable Mutex mutex_;
  mutable CondVar arrived_;
  mutable std::map<uint32_t, unsigned> received_ GUARDED_BY(mutex_);
};

}  // namespace faultline
