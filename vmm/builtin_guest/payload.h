// What guest code other than the console uses of the built-in guest's run time, and the hook through
// which the storm payload is started. Guest side only: compiled freestanding, runs at CPL 3.
//
// Rules for all guest code: no privileged or SSE instructions, no static constructors, no exceptions,
// at most 2 KiB of stack in all, and no access outside boot memory and the mapped windows (that faults, and
// a fault is a triple fault). An access to mapped memory that is not plugged is fine: reads give all-ones.
#pragma once

#include <cstddef>
#include <cstdint>

#include "vmm/builtin_guest/abi.h"

// Called once on every vCPU, index 0 to cpu_count - 1, when Mailbox::mode is kModeStorm. Not to return.
// The image has a weak definition that ends the VM with debug exit code 1.
extern "C" void StormMain(uint32_t cpu_index);

namespace faultline::guest {

inline volatile Mailbox& mailbox() { return *reinterpret_cast<volatile Mailbox*>(kMailboxAddress); }

inline void Out8(uint16_t port, uint8_t value) { asm volatile("outb %0, %1" ::"a"(value), "Nd"(port) : "memory"); }
inline void Out32(uint16_t port, uint32_t value) { asm volatile("outl %0, %1" ::"a"(value), "Nd"(port) : "memory"); }
inline uint8_t In8(uint16_t port) {
  uint8_t value;
  asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
  return value;
}
inline uint32_t In32(uint16_t port) {
  uint32_t value;
  asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
  return value;
}

inline void CpuRelax() { asm volatile("pause" ::: "memory"); }

// Gives the vCPU's thread away until something is notified, for 100 ms at most. True when something was
// since this vCPU's last call.
inline bool IdleWait() { return In32(kIdlePort) != 0; }
// Wakes every vCPU in IdleWait.
inline void WakeAll() { Out32(kIdlePort, 0); }

// Ends the VM; 0 is a clean end. Returns only if the VMM lets the vCPU run on.
inline void DebugExit(uint32_t code) { Out32(kDebugExitPort, code); }

}  // namespace faultline::guest

// As in <cstring>; the compiler calls these too.
extern "C" {
void* memcpy(void* to, const void* from, size_t size);
void* memmove(void* to, const void* from, size_t size);
void* memset(void* to, int value, size_t size);
int memcmp(const void* a, const void* b, size_t size);
}
