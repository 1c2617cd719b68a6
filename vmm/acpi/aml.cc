// The compiled ASL, taken into the program as it is. FAULTLINE_AML is the folder of the AML files.
#include <string>

#include "guestmem/error.h"
#include "vmm/acpi/tables.h"

// One file, between two symbols.
#define FAULTLINE_EMBED(name)                                                      \
  asm(".pushsection .rodata, \"a\", @progbits\n"                                   \
      ".balign 16\n"                                                               \
      ".globl faultline_" #name                                                    \
      "_start\n"                                                                   \
      ".hidden faultline_" #name                                                   \
      "_start\n"                                                                   \
      "faultline_" #name                                                           \
      "_start:\n"                                                                  \
      ".incbin \"" FAULTLINE_AML "/" #name                                         \
      ".aml\"\n"                                                                   \
      ".globl faultline_" #name                                                    \
      "_end\n"                                                                     \
      ".hidden faultline_" #name                                                   \
      "_end\n"                                                                     \
      "faultline_" #name                                                           \
      "_end:\n"                                                                    \
      ".popsection\n");                                                            \
  extern "C" {                                                                     \
  [[gnu::visibility("hidden")]] extern const std::byte faultline_##name##_start[]; \
  [[gnu::visibility("hidden")]] extern const std::byte faultline_##name##_end[];   \
  }

FAULTLINE_EMBED(dsdt)
FAULTLINE_EMBED(memory_slots_4)
FAULTLINE_EMBED(memory_slots_16)
FAULTLINE_EMBED(memory_slots_64)
FAULTLINE_EMBED(memory_slots_256)

namespace faultline {

std::span<const std::byte> CompiledDsdt() { return {faultline_dsdt_start, faultline_dsdt_end}; }

std::span<const std::byte> CompiledMemorySlots(unsigned slots) {
  if (slots <= 4) return {faultline_memory_slots_4_start, faultline_memory_slots_4_end};
  if (slots <= 16) return {faultline_memory_slots_16_start, faultline_memory_slots_16_end};
  if (slots <= 64) return {faultline_memory_slots_64_start, faultline_memory_slots_64_end};
  if (slots <= 256) return {faultline_memory_slots_256_start, faultline_memory_slots_256_end};
  throw UsageError("the ACPI tables have 256 memory slots at most, not " + std::to_string(slots) + "; ask for fewer");
}

}  // namespace faultline
