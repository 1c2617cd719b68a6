// What to tell a person when an instruction can be completed neither by KVM nor by the assist.
#pragma once

#include <Zydis/Zydis.h>

#include <cstdint>
#include <span>
#include <string>

#include "vmm/assist/assist.h"

namespace faultline {

// One sentence: the instruction in words, where it is, the registers, and what avoids it. `instruction` is null when
// the bytes are none.
std::string RefusalText(unsigned vcpu, const AssistRegisters& registers, std::span<const uint8_t> bytes,
                        const ZydisDisassembledInstruction* instruction);

// The words of a Linux command line that keep a kernel from instructions of this kind; empty when none are known.
std::string AvoidingWords(const ZydisDecodedInstruction& instruction);

}  // namespace faultline
