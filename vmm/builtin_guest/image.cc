// The linked guest, taken into the program as it is. FAULTLINE_GUEST_IMAGE is the path of the flat file.
#include "vmm/builtin_guest/loader.h"

asm(R"(
    .pushsection .rodata, "a", @progbits
    .balign 16
    .globl faultline_guest_image_start
    .hidden faultline_guest_image_start
faultline_guest_image_start:
    .incbin ")" FAULTLINE_GUEST_IMAGE R"("
    .globl faultline_guest_image_end
    .hidden faultline_guest_image_end
faultline_guest_image_end:
    .popsection
)");

extern "C" {
[[gnu::visibility("hidden")]] extern const std::byte faultline_guest_image_start[];
[[gnu::visibility("hidden")]] extern const std::byte faultline_guest_image_end[];
}

namespace faultline {

std::span<const std::byte> BuiltinGuestImage() { return {faultline_guest_image_start, faultline_guest_image_end}; }

}  // namespace faultline
