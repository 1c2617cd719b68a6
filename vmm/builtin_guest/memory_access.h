// Loads and stores to memory that may be taken away at any moment: one plain MOV each, which every KVM
// can complete as an access to an empty bus, where a compiler might choose something that it cannot.
#pragma once

#include <cstdint>

namespace faultline::guest {

inline constexpr uint64_t kPageBytes = 4096;
inline constexpr uint64_t kWordsPerPage = kPageBytes / sizeof(uint64_t);
// What a read of an empty bus gives.
inline constexpr uint64_t kAllOnes = ~uint64_t{0};

inline uint64_t Load(uint64_t address) {
  uint64_t value;
  asm volatile("movq (%1), %0" : "=r"(value) : "r"(address) : "memory");
  return value;
}
inline void Store(uint64_t address, uint64_t value) {
  asm volatile("movq %1, (%0)" ::"r"(address), "r"(value) : "memory");
}

}  // namespace faultline::guest
