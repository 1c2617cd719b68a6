// What a disk has done: the requests of its guest, counted by the device and read by anyone.
//
// Shared by the device and whoever asks; outlives a reset of the machine in the disk's configuration. One thread at a
// time counts (the device holds its lock). Reading is thread-safe and waits for nobody: each figure is right by itself,
// and a request that ends meanwhile may be in one and not yet in another.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "guestmem/types.h"

namespace faultline {

class BlockCounters {
 public:
  // Writing zeroes is writing; a discard is an unmap.
  enum class Kind : uint8_t { kRead, kWrite, kFlush, kUnmap };
  struct Figures {
    uint64_t operations = 0;           // done as asked
    uint64_t failed = 0;               // by the host
    uint64_t invalid = 0;              // asked for what there is not; not tried
    Bytes moved;                       // by the operations
    std::chrono::nanoseconds took{0};  // from the device's look at a request to its end, done or failed, added up
  };

  void CountDone(Kind kind, Bytes moved, std::chrono::nanoseconds took) noexcept {
    Cell& cell = At(kind);
    Add(cell.operations, 1);
    Add(cell.moved, moved.value);
    Add(cell.took, static_cast<uint64_t>(took.count()));
  }
  void CountFailed(Kind kind, std::chrono::nanoseconds took) noexcept {
    Cell& cell = At(kind);
    Add(cell.failed, 1);
    Add(cell.took, static_cast<uint64_t>(took.count()));
  }
  void CountInvalid(Kind kind) noexcept { Add(At(kind).invalid, 1); }
  // The guest has written up to `end`, from the disk's start.
  void NoteWritten(Bytes end) noexcept {
    if (end.value > written_end_.load(std::memory_order_relaxed)) {
      written_end_.store(end.value, std::memory_order_relaxed);
    }
  }

  Figures figures(Kind kind) const noexcept {
    const Cell& cell = cells_[static_cast<size_t>(kind)];
    return {.operations = cell.operations.load(std::memory_order_relaxed),
            .failed = cell.failed.load(std::memory_order_relaxed),
            .invalid = cell.invalid.load(std::memory_order_relaxed),
            .moved = Bytes(cell.moved.load(std::memory_order_relaxed)),
            .took = std::chrono::nanoseconds(cell.took.load(std::memory_order_relaxed))};
  }
  // The end of what was written farthest back.
  Bytes written_end() const noexcept { return Bytes(written_end_.load(std::memory_order_relaxed)); }

 private:
  struct Cell {
    std::atomic<uint64_t> operations{0}, failed{0}, invalid{0}, moved{0}, took{0};
  };
  // One thread counts at a time, so no read-modify-write is needed.
  static void Add(std::atomic<uint64_t>& figure, uint64_t more) noexcept {
    figure.store(figure.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
  }
  Cell& At(Kind kind) noexcept { return cells_[static_cast<size_t>(kind)]; }

  std::array<Cell, 4> cells_;
  std::atomic<uint64_t> written_end_{0};
};

}  // namespace faultline
