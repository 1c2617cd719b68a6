#include "devices/serial.h"

#include <algorithm>
#include <utility>

#include "guestmem/error.h"

namespace faultline {
namespace {

// Register indices; 0 and 1 reach the divisor latch while LCR.DLAB is set.
enum Register : unsigned {
  kData,
  kInterruptEnable,
  kInterruptId,
  kLineControl,
  kModemControl,
  kLineStatus,
  kModemStatus,
  kScratch
};

constexpr uint8_t kIerReceive = 0x01;
constexpr uint8_t kIerTransmitEmpty = 0x02;
constexpr uint8_t kIerLineStatus = 0x04;
constexpr uint8_t kIerModemStatus = 0x08;
constexpr uint8_t kIerMask = 0x0f;

constexpr uint8_t kIirNone = 0x01;
constexpr uint8_t kIirModemStatus = 0x00;
constexpr uint8_t kIirTransmitEmpty = 0x02;
constexpr uint8_t kIirReceive = 0x04;
constexpr uint8_t kIirLineStatus = 0x06;
constexpr uint8_t kIirTimeout = 0x0c;
constexpr uint8_t kIirFifosOn = 0xc0;

constexpr uint8_t kFcrEnable = 0x01;
constexpr uint8_t kFcrClearReceive = 0x02;
constexpr uint8_t kFcrKept = 0xc9;  // enable, DMA mode, trigger level

constexpr uint8_t kLcrDivisorLatch = 0x80;

constexpr uint8_t kMcrDtr = 0x01;
constexpr uint8_t kMcrRts = 0x02;
constexpr uint8_t kMcrOut1 = 0x04;
constexpr uint8_t kMcrOut2 = 0x08;
constexpr uint8_t kMcrLoop = 0x10;
constexpr uint8_t kMcrMask = 0x1f;

constexpr uint8_t kLsrDataReady = 0x01;
constexpr uint8_t kLsrOverrun = 0x02;
constexpr uint8_t kLsrTransmitEmpty = 0x60;  // holding and shift register

constexpr uint8_t kMsrCts = 0x10;
constexpr uint8_t kMsrDsr = 0x20;
constexpr uint8_t kMsrRing = 0x40;
constexpr uint8_t kMsrCarrier = 0x80;
constexpr uint8_t kMsrDeltaRing = 0x04;

constexpr size_t kTriggerLevels[] = {1, 4, 8, 14};

}  // namespace

Serial::Serial(Output output, IrqLine* irq) : output_(std::move(output)), irq_(irq) {}

void Serial::Read(Bytes offset, std::span<std::byte> out) {
  const MutexLock lock(mutex_);
  for (size_t i = 0; i < out.size(); ++i) {
    const uint64_t index = offset.value + i;
    out[i] = index < kPortCount.value ? std::byte{ReadRegisterLocked(static_cast<unsigned>(index))} : std::byte{0xff};
  }
  UpdateIrqLocked();
}

void Serial::Write(Bytes offset, std::span<const std::byte> data) {
  for (size_t i = 0; i < data.size() && offset.value + i < kPortCount.value; ++i) {
    bool for_host = false;
    {
      const MutexLock lock(mutex_);
      for_host = WriteRegisterLocked(static_cast<unsigned>(offset.value + i), std::to_integer<uint8_t>(data[i]));
      UpdateIrqLocked();
    }
    if (for_host && output_) output_(data.subspan(i, 1));
  }
}

size_t Serial::QueueInput(std::span<const std::byte> input) {
  const MutexLock lock(mutex_);
  size_t taken = 0;
  while (taken < input.size() && host_queue_.size() < kMaxQueuedInput) {
    host_queue_.push_back(std::to_integer<uint8_t>(input[taken++]));
  }
  RefillLocked();
  UpdateIrqLocked();
  return taken;
}

size_t Serial::InputSpace() const {
  const MutexLock lock(mutex_);
  return kMaxQueuedInput - host_queue_.size();
}

uint8_t Serial::ReadRegisterLocked(unsigned index) {
  const bool divisor_latch = (line_control_ & kLcrDivisorLatch) != 0;
  switch (index) {
    case kData: {
      if (divisor_latch) return divisor_low_;
      if (fifo_size_ == 0) return 0;
      const uint8_t byte = fifo_[fifo_head_];
      fifo_head_ = (fifo_head_ + 1) % kFifoDepth;
      --fifo_size_;
      RefillLocked();
      return byte;
    }
    case kInterruptEnable:
      return divisor_latch ? divisor_high_ : interrupt_enable_;
    case kInterruptId: {
      const uint8_t pending = PendingInterruptLocked();
      // Reading it as the reported source is what acknowledges a transmitter-empty interrupt.
      if (pending == kIirTransmitEmpty) transmit_empty_pending_ = false;
      return pending | ((fifo_control_ & kFcrEnable) != 0 ? kIirFifosOn : uint8_t{0});
    }
    case kLineControl:
      return line_control_;
    case kModemControl:
      return modem_control_;
    case kLineStatus: {
      const uint8_t status = LineStatusLocked();
      line_errors_ = 0;
      return status;
    }
    case kModemStatus: {
      const uint8_t status = ModemLinesLocked() | modem_delta_;
      modem_delta_ = 0;
      return status;
    }
    default:
      return scratch_;
  }
}

bool Serial::WriteRegisterLocked(unsigned index, uint8_t value) {
  const bool divisor_latch = (line_control_ & kLcrDivisorLatch) != 0;
  switch (index) {
    case kData:
      if (divisor_latch) {
        divisor_low_ = value;
        return false;
      }
      transmit_empty_pending_ = true;
      if ((modem_control_ & kMcrLoop) == 0) return true;
      ReceiveLocked(value);
      return false;
    case kInterruptEnable:
      if (divisor_latch) {
        divisor_high_ = value;
        return false;
      }
      if ((value & ~interrupt_enable_ & kIerTransmitEmpty) != 0) transmit_empty_pending_ = true;
      interrupt_enable_ = value & kIerMask;
      return false;
    case kInterruptId:
      WriteFifoControlLocked(value);
      return false;
    case kLineControl:
      line_control_ = value;
      return false;
    case kModemControl:
      WriteModemControlLocked(value);
      return false;
    case kScratch:
      scratch_ = value;
      return false;
    default:  // line and modem status are read-only
      return false;
  }
}

void Serial::WriteFifoControlLocked(uint8_t value) {
  const bool switched = ((value ^ fifo_control_) & kFcrEnable) != 0;
  if (switched || (value & kFcrClearReceive) != 0) {
    fifo_size_ = 0;
    fifo_head_ = 0;
  }
  // The other bits only take effect together with the enable bit.
  fifo_control_ = (value & kFcrEnable) != 0 ? value & kFcrKept : 0;
  RefillLocked();
}

void Serial::WriteModemControlLocked(uint8_t value) {
  const uint8_t before = ModemLinesLocked();
  modem_control_ = value & kMcrMask;
  const uint8_t after = ModemLinesLocked();
  const uint8_t changed = before ^ after;
  if ((changed & kMsrCts) != 0) modem_delta_ |= kMsrCts >> 4;
  if ((changed & kMsrDsr) != 0) modem_delta_ |= kMsrDsr >> 4;
  if ((changed & kMsrCarrier) != 0) modem_delta_ |= kMsrCarrier >> 4;
  if ((before & ~after & kMsrRing) != 0) modem_delta_ |= kMsrDeltaRing;  // only the trailing edge counts
  RefillLocked();
}

uint8_t Serial::ModemLinesLocked() const {
  // Outside loopback a terminal is always attached and ready.
  if ((modem_control_ & kMcrLoop) == 0) return kMsrCts | kMsrDsr | kMsrCarrier;
  uint8_t lines = 0;
  if ((modem_control_ & kMcrRts) != 0) lines |= kMsrCts;
  if ((modem_control_ & kMcrDtr) != 0) lines |= kMsrDsr;
  if ((modem_control_ & kMcrOut1) != 0) lines |= kMsrRing;
  if ((modem_control_ & kMcrOut2) != 0) lines |= kMsrCarrier;
  return lines;
}

uint8_t Serial::LineStatusLocked() const {
  return kLsrTransmitEmpty | line_errors_ | (fifo_size_ != 0 ? kLsrDataReady : uint8_t{0});
}

uint8_t Serial::PendingInterruptLocked() const {
  if ((interrupt_enable_ & kIerLineStatus) != 0 && line_errors_ != 0) return kIirLineStatus;
  if ((interrupt_enable_ & kIerReceive) != 0 && fifo_size_ != 0) {
    const bool fifos_on = (fifo_control_ & kFcrEnable) != 0;
    return !fifos_on || fifo_size_ >= kTriggerLevels[fifo_control_ >> 6] ? kIirReceive : kIirTimeout;
  }
  if ((interrupt_enable_ & kIerTransmitEmpty) != 0 && transmit_empty_pending_) return kIirTransmitEmpty;
  if ((interrupt_enable_ & kIerModemStatus) != 0 && modem_delta_ != 0) return kIirModemStatus;
  return kIirNone;
}

size_t Serial::FifoCapacityLocked() const { return (fifo_control_ & kFcrEnable) != 0 ? kFifoDepth : 1; }

void Serial::ReceiveLocked(uint8_t byte) {
  if (fifo_size_ >= FifoCapacityLocked()) {
    line_errors_ |= kLsrOverrun;
    // Without FIFOs the newer byte wins; with them the older ones do.
    if (FifoCapacityLocked() == 1) fifo_[fifo_head_] = byte;
    return;
  }
  fifo_[(fifo_head_ + fifo_size_) % kFifoDepth] = byte;
  ++fifo_size_;
}

void Serial::RefillLocked() {
  // In loopback the receiver is cut off from the line; input waits for its end.
  if ((modem_control_ & kMcrLoop) != 0) return;
  while (!host_queue_.empty() && fifo_size_ < FifoCapacityLocked()) {
    ReceiveLocked(host_queue_.front());
    host_queue_.pop_front();
  }
}

void Serial::UpdateIrqLocked() {
  const bool level = PendingInterruptLocked() != kIirNone;
  if (level == irq_level_) return;
  irq_level_ = level;
  if (irq_ != nullptr) irq_->SetLevel(level);
}

Serial::State Serial::SaveState() const {
  const MutexLock lock(mutex_);
  State state;
  state.interrupt_enable = interrupt_enable_;
  state.fifo_control = fifo_control_;
  state.line_control = line_control_;
  state.modem_control = modem_control_;
  state.line_errors = line_errors_;
  state.modem_delta = modem_delta_;
  state.scratch = scratch_;
  state.divisor_low = divisor_low_;
  state.divisor_high = divisor_high_;
  state.transmit_empty_pending = transmit_empty_pending_;
  for (size_t i = 0; i < fifo_size_; ++i) state.fifo.push_back(fifo_[(fifo_head_ + i) % kFifoDepth]);
  state.queued.assign(host_queue_.begin(), host_queue_.end());
  return state;
}

void Serial::RestoreState(const State& state) {
  const size_t depth = (state.fifo_control & kFcrEnable) != 0 ? kFifoDepth : 1;
  if (state.fifo.size() > depth || state.queued.size() > kMaxQueuedInput) {
    throw Error("the saved state of the serial port holds more input than the port can: it is damaged; save it again");
  }
  const MutexLock lock(mutex_);
  interrupt_enable_ = state.interrupt_enable & kIerMask;
  fifo_control_ = state.fifo_control & kFcrKept;
  line_control_ = state.line_control;
  modem_control_ = state.modem_control & kMcrMask;
  line_errors_ = state.line_errors;
  modem_delta_ = state.modem_delta;
  scratch_ = state.scratch;
  divisor_low_ = state.divisor_low;
  divisor_high_ = state.divisor_high;
  transmit_empty_pending_ = state.transmit_empty_pending;
  fifo_head_ = 0;
  fifo_size_ = state.fifo.size();
  std::copy(state.fifo.begin(), state.fifo.end(), fifo_.begin());
  host_queue_.assign(state.queued.begin(), state.queued.end());
  UpdateIrqLocked();
}

}  // namespace faultline
