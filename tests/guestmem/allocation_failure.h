// Fails the Nth heap allocation of the calling thread. A test program that links allocation_failure.cc
// has every form of operator new replaced; other threads are never touched.
//
// Model: Seastar's alloc_failure_injector.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

namespace faultline {

class AllocationFailure {
 public:
  // The `nth` allocation (from 1) of this thread from now on throws bad_alloc, or returns null where the
  // nothrow form was used. One failure, then all is well again.
  static void Arm(uint64_t nth) noexcept;
  // Returns whether the failure was delivered since Arm.
  static bool Disarm() noexcept;

  // Allocations not yet freed, of all threads.
  static int64_t outstanding() noexcept;
};

// Keeps what the test framework allocates out of the count.
class NoAllocationFailure {
 public:
  NoAllocationFailure() noexcept;
  ~NoAllocationFailure();
  NoAllocationFailure(const NoAllocationFailure&) = delete;
  NoAllocationFailure& operator=(const NoAllocationFailure&) = delete;

 private:
  uint64_t saved_;
};

}  // namespace faultline
