// The memory functions the compiler expects, and the stand-in for a payload that is not linked in.
#include "vmm/builtin_guest/payload.h"

extern "C" {

void* memcpy(void* to, const void* from, size_t size) {
  void* const result = to;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size)::"memory");
  return result;
}

void* memmove(void* to, const void* from, size_t size) {
  auto* destination = static_cast<char*>(to);
  const auto* source = static_cast<const char*>(from);
  if (destination <= source || destination >= source + size) return memcpy(to, from, size);
  // Backwards, and opaque to the compiler, which would turn the loop into a call of this very function.
  for (size_t i = size; i > 0; --i) {
    destination[i - 1] = source[i - 1];
    asm volatile("" ::: "memory");
  }
  return to;
}

void* memset(void* to, int value, size_t size) {
  void* const result = to;
  asm volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(value) : "memory");
  return result;
}

int memcmp(const void* a, const void* b, size_t size) {
  const auto* left = static_cast<const unsigned char*>(a);
  const auto* right = static_cast<const unsigned char*>(b);
  for (size_t i = 0; i < size; ++i) {
    if (left[i] != right[i]) return left[i] < right[i] ? -1 : 1;
    asm volatile("" ::: "memory");
  }
  return 0;
}

// What pure virtual calls end in; the guest has none on purpose.
[[noreturn]] void __cxa_pure_virtual() {
  for (;;) faultline::guest::DebugExit(1);
}

[[gnu::weak]] void StormMain(uint32_t /*cpu_index*/) {
  for (;;) faultline::guest::DebugExit(1);
}

}  // extern "C"
