#include "tests/guestmem/allocation_failure.h"

#include <atomic>
#include <cstdlib>

namespace faultline {
namespace {

thread_local uint64_t countdown = 0;  // 0: nothing armed
thread_local bool delivered = false;
std::atomic<int64_t> outstanding_count{0};

bool FailsNow() noexcept {
  if (countdown == 0) return false;
  if (--countdown != 0) return false;
  delivered = true;
  return true;
}

void* Allocate(size_t size, size_t alignment) noexcept {
  if (FailsNow()) return nullptr;
  if (size == 0) size = 1;
  void* p = alignment <= alignof(std::max_align_t)
                ? std::malloc(size)
                : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (p != nullptr) outstanding_count.fetch_add(1, std::memory_order_relaxed);
  return p;
}

void* AllocateOrThrow(size_t size, size_t alignment) {
  void* p = Allocate(size, alignment);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

void Free(void* p) noexcept {
  if (p == nullptr) return;
  outstanding_count.fetch_sub(1, std::memory_order_relaxed);
  std::free(p);
}

}  // namespace

void AllocationFailure::Arm(uint64_t nth) noexcept {
  delivered = false;
  countdown = nth;
}
bool AllocationFailure::Disarm() noexcept {
  countdown = 0;
  return delivered;
}
int64_t AllocationFailure::outstanding() noexcept { return outstanding_count.load(std::memory_order_relaxed); }

NoAllocationFailure::NoAllocationFailure() noexcept : saved_(countdown) { countdown = 0; }
NoAllocationFailure::~NoAllocationFailure() { countdown = saved_; }

}  // namespace faultline

void* operator new(size_t size) { return faultline::AllocateOrThrow(size, 0); }
void* operator new[](size_t size) { return faultline::AllocateOrThrow(size, 0); }
void* operator new(size_t size, std::align_val_t a) { return faultline::AllocateOrThrow(size, static_cast<size_t>(a)); }
void* operator new[](size_t size, std::align_val_t a) {
  return faultline::AllocateOrThrow(size, static_cast<size_t>(a));
}
void* operator new(size_t size, const std::nothrow_t&) noexcept { return faultline::Allocate(size, 0); }
void* operator new[](size_t size, const std::nothrow_t&) noexcept { return faultline::Allocate(size, 0); }
void* operator new(size_t size, std::align_val_t a, const std::nothrow_t&) noexcept {
  return faultline::Allocate(size, static_cast<size_t>(a));
}
void* operator new[](size_t size, std::align_val_t a, const std::nothrow_t&) noexcept {
  return faultline::Allocate(size, static_cast<size_t>(a));
}
void operator delete(void* p) noexcept { faultline::Free(p); }
void operator delete[](void* p) noexcept { faultline::Free(p); }
void operator delete(void* p, size_t) noexcept { faultline::Free(p); }
void operator delete[](void* p, size_t) noexcept { faultline::Free(p); }
void operator delete(void* p, std::align_val_t) noexcept { faultline::Free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { faultline::Free(p); }
void operator delete(void* p, size_t, std::align_val_t) noexcept { faultline::Free(p); }
void operator delete[](void* p, size_t, std::align_val_t) noexcept { faultline::Free(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { faultline::Free(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { faultline::Free(p); }
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept { faultline::Free(p); }
void operator delete[](void* p, std::align_val_t, const std::nothrow_t&) noexcept { faultline::Free(p); }
