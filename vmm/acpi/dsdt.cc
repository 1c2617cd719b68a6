// The compiled DSDT, taken into the program as it is. FAULTLINE_DSDT is the path of the AML file.
#include "vmm/acpi/tables.h"

asm(R"(
    .pushsection .rodata, "a", @progbits
    .balign 16
    .globl faultline_dsdt_start
    .hidden faultline_dsdt_start
faultline_dsdt_start:
    .incbin ")" FAULTLINE_DSDT R"("
    .globl faultline_dsdt_end
    .hidden faultline_dsdt_end
faultline_dsdt_end:
    .popsection
)");

extern "C" {
[[gnu::visibility("hidden")]] extern const std::byte faultline_dsdt_start[];
[[gnu::visibility("hidden")]] extern const std::byte faultline_dsdt_end[];
}

namespace faultline {

std::span<const std::byte> CompiledDsdt() { return {faultline_dsdt_start, faultline_dsdt_end}; }

}  // namespace faultline
