// A 16550A serial port: the guest's console.
//
// Owned by the machine; the guest sees eight byte-wide registers (National Semiconductor PC16550D data
// sheet, table 2), the host a byte sink and a queue of input. One leaf lock guards all state, so every
// member is thread-safe; nothing here blocks. Transmission is instantaneous: the transmitter is always
// empty, and there is no baud-rate timing, so a receive FIFO below its trigger level reports the
// character timeout at once.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <vector>

#include "devices/bus.h"
#include "devices/irq_line.h"
#include "guestmem/mutex.h"

namespace faultline {

class Serial final : public BusDevice {
 public:
  static constexpr uint64_t kCom1Port = 0x3f8;
  static constexpr Bytes kPortCount{8};
  static constexpr size_t kFifoDepth = 16;
  // Input that waits on the host side for room in the receive FIFO.
  static constexpr size_t kMaxQueuedInput = 65536;

  // Receives what the guest sends, in order for each vCPU, on that vCPU's thread and without any lock
  // held: concurrent calls are possible when several vCPUs send at once. Must not block for long.
  using Output = std::function<void(std::span<const std::byte>)>;

  // `output` may be empty (the bytes are dropped); `irq` may be null, and otherwise outlives this.
  explicit Serial(Output output, IrqLine* irq = nullptr);

  // Registers are one byte wide: a wider access reads or writes consecutive registers, low byte first;
  // offsets past the last register read as ones and ignore writes.
  void Read(Bytes offset, std::span<std::byte> out) override;
  void Write(Bytes offset, std::span<const std::byte> data) override;

  // Hands bytes to the guest. Returns how many were taken: fewer than offered when the queue is full;
  // offer the rest again later (see InputSpace).
  size_t QueueInput(std::span<const std::byte> input);
  // How many bytes QueueInput would take now.
  size_t InputSpace() const;

  // All that a guest could tell one port from another by: the registers that keep something, and input on its way.
  struct State {
    uint8_t interrupt_enable = 0;
    uint8_t fifo_control = 0;
    uint8_t line_control = 0;
    uint8_t modem_control = 0;
    uint8_t line_errors = 0;
    uint8_t modem_delta = 0;
    uint8_t scratch = 0;
    uint8_t divisor_low = 0;
    uint8_t divisor_high = 0;
    bool transmit_empty_pending = false;
    std::vector<uint8_t> fifo;    // oldest first
    std::vector<uint8_t> queued;  // behind it, on the host's side
  };
  State SaveState() const;
  // Throws Error, with nothing changed, for a state that no port can have.
  void RestoreState(const State& state);

 private:
  uint8_t ReadRegisterLocked(unsigned index) REQUIRES(mutex_);
  // True when the byte is for the host side.
  bool WriteRegisterLocked(unsigned index, uint8_t value) REQUIRES(mutex_);
  void WriteFifoControlLocked(uint8_t value) REQUIRES(mutex_);
  void WriteModemControlLocked(uint8_t value) REQUIRES(mutex_);
  uint8_t ModemLinesLocked() const REQUIRES(mutex_);
  uint8_t LineStatusLocked() const REQUIRES(mutex_);
  uint8_t PendingInterruptLocked() const REQUIRES(mutex_);
  size_t FifoCapacityLocked() const REQUIRES(mutex_);
  void ReceiveLocked(uint8_t byte) REQUIRES(mutex_);
  void RefillLocked() REQUIRES(mutex_);
  void UpdateIrqLocked() REQUIRES(mutex_);

  const Output output_;
  IrqLine* const irq_;

  mutable Mutex mutex_;
  std::deque<uint8_t> host_queue_ GUARDED_BY(mutex_);
  // The receive FIFO, or the one-byte receive buffer while FIFOs are off: a ring.
  std::array<uint8_t, kFifoDepth> fifo_ GUARDED_BY(mutex_) = {};
  size_t fifo_head_ GUARDED_BY(mutex_) = 0;
  size_t fifo_size_ GUARDED_BY(mutex_) = 0;
  uint8_t interrupt_enable_ GUARDED_BY(mutex_) = 0;
  uint8_t fifo_control_ GUARDED_BY(mutex_) = 0;
  uint8_t line_control_ GUARDED_BY(mutex_) = 0;
  uint8_t modem_control_ GUARDED_BY(mutex_) = 0;
  uint8_t line_errors_ GUARDED_BY(mutex_) = 0;
  uint8_t modem_delta_ GUARDED_BY(mutex_) = 0;
  uint8_t scratch_ GUARDED_BY(mutex_) = 0;
  uint8_t divisor_low_ GUARDED_BY(mutex_) = 12;  // 9600 baud
  uint8_t divisor_high_ GUARDED_BY(mutex_) = 0;
  bool transmit_empty_pending_ GUARDED_BY(mutex_) = false;
  bool irq_level_ GUARDED_BY(mutex_) = false;
};

}  // namespace faultline
