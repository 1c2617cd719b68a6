#include "devices/pit_channel2.h"

namespace faultline {
namespace {

constexpr uint64_t kChannel2 = 2;
constexpr uint64_t kCommand = 3;

constexpr uint8_t kHighByte = 2;
constexpr uint8_t kBothBytes = 3;
constexpr uint32_t kWholeRange = 0x10000;

// Port 0x61.
constexpr uint8_t kGateOn = 1U << 0;
constexpr uint8_t kSpeaker = 1U << 1;
constexpr uint8_t kRefresh = 1U << 4;  // toggles all the time
constexpr uint8_t kOutput = 1U << 5;

constexpr uint64_t kNsPerSecond = 1'000'000'000;
constexpr uint64_t kRefreshNs = 15'000;

constexpr uint8_t kOneShot = 0;  // mode 0: output rises once, when the count has run out
constexpr uint8_t kModeMask = 7;

}  // namespace

uint64_t PitChannel2::TicksLocked() const {
  if (!loaded_ || !running_) return 0;
  const uint64_t ns = now_() - started_ns_;
  return ns / kNsPerSecond * kFrequency + ns % kNsPerSecond * kFrequency / kNsPerSecond;
}

uint16_t PitChannel2::CountLocked() const {
  const uint64_t ticks = TicksLocked();
  // Mode 0 runs through zero and on from the top; the others start over from the count.
  if (mode_ == kOneShot) return static_cast<uint16_t>(reload_ - ticks);
  return static_cast<uint16_t>(reload_ - ticks % reload_);
}

bool PitChannel2::OutputLocked() const {
  const uint64_t ticks = TicksLocked();
  if (mode_ == kOneShot) return loaded_ && ticks >= reload_;
  return ticks % reload_ < reload_ / 2;
}

void PitChannel2::WriteCommandLocked(uint8_t value) {
  if (value >> 6 != kChannel2) return;
  const uint8_t access = value >> 4 & 3;
  if (access == 0) {
    latched_ = CountLocked();
    latch_ = true;
    high_next_read_ = false;
    return;
  }
  access_ = access;
  mode_ = value >> 1 & kModeMask;
  loaded_ = latch_ = high_next_read_ = high_next_write_ = false;
}

void PitChannel2::WriteCountLocked(uint8_t value) {
  uint32_t count = value;
  if (access_ == kHighByte) count <<= 8;
  if (access_ == kBothBytes) {
    if (!high_next_write_) {
      pending_low_ = value;
      high_next_write_ = true;
      return;
    }
    high_next_write_ = false;
    count = uint32_t{value} << 8 | pending_low_;
  }
  reload_ = count == 0 ? kWholeRange : count;
  loaded_ = true;
  started_ns_ = now_();
}

void PitChannel2::Counter::Read(Bytes offset, std::span<std::byte> out) {
  MutexLock lock(pit_->mutex_);
  uint8_t value = 0;
  if (offset.value == kChannel2) {
    const uint16_t count = pit_->latch_ ? pit_->latched_ : pit_->CountLocked();
    const bool high = pit_->access_ == kHighByte || (pit_->access_ == kBothBytes && pit_->high_next_read_);
    value = static_cast<uint8_t>(high ? count >> 8 : count);
    const bool last = pit_->access_ != kBothBytes || pit_->high_next_read_;
    if (last) pit_->latch_ = false;
    pit_->high_next_read_ = !last;
  }
  StoreLittleEndian(value, out);
}

void PitChannel2::Counter::Write(Bytes offset, std::span<const std::byte> data) {
  const auto value = std::to_integer<uint8_t>(data[0]);
  MutexLock lock(pit_->mutex_);
  if (offset.value == kCommand) pit_->WriteCommandLocked(value);
  if (offset.value == kChannel2) pit_->WriteCountLocked(value);
}

void PitChannel2::Gate::Read(Bytes /*offset*/, std::span<std::byte> out) {
  MutexLock lock(pit_->mutex_);
  uint8_t value = pit_->gate_bits_;
  if (pit_->OutputLocked()) value |= kOutput;
  if (pit_->now_() / kRefreshNs % 2 != 0) value |= kRefresh;
  StoreLittleEndian(value, out);
}

void PitChannel2::Gate::Write(Bytes /*offset*/, std::span<const std::byte> data) {
  MutexLock lock(pit_->mutex_);
  pit_->gate_bits_ = std::to_integer<uint8_t>(data[0]) & (kGateOn | kSpeaker);
  const bool on = (pit_->gate_bits_ & kGateOn) != 0;
  if (on && !pit_->running_) pit_->started_ns_ = pit_->now_();
  pit_->running_ = on;
}

}  // namespace faultline
