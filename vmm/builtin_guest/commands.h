// The commands of the guest's console. vCPU 0 alone.
#pragma once

#include "vmm/builtin_guest/text.h"

namespace faultline::guest {

// Prints the memory there is, one line each.
void ShowMemory();

// Carries out one line that was typed, and prints the outcome. Lines that fail begin with "error:".
void RunCommand(Text line);

// Ends the VM cleanly.
[[noreturn]] void Halt();

}  // namespace faultline::guest
