#include "vmm/assist/refusal.h"

#include <array>
#include <cstdio>
#include <string_view>

#include "guestmem/hex.h"

namespace faultline {
namespace {

std::string BytesText(std::span<const uint8_t> bytes) {
  std::string text;
  for (const uint8_t byte : bytes) {
    std::array<char, 4> hex{};
    std::snprintf(hex.data(), hex.size(), "%s%02x", text.empty() ? "" : " ", byte);
    text += hex.data();
  }
  return text;
}

constexpr std::array<std::string_view, 16> kNames = {"RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
                                                     "R8",  "R9",  "R10", "R11", "R12", "R13", "R14", "R15"};

std::string RegistersText(const AssistRegisters& registers) {
  std::string text;
  for (size_t i = 0; i < kNames.size(); ++i) {
    text += std::string(kNames[i]) + ' ' + Hex(registers.gpr[i]) + ", ";
  }
  return text + "RFLAGS " + Hex(registers.rflags) + ", CR0 " + Hex(registers.cr0) + ", CR3 " + Hex(registers.cr3) +
         ", CR4 " + Hex(registers.cr4);
}

// An instruction-set extension by the words that switch it off; the first prefix that fits counts.
struct Avoidance {
  std::string_view extension;  // of Zydis' name of the instruction's set
  std::string_view words;
};
constexpr Avoidance kAvoidances[] = {
    {"AVX512", "clearcpuid=avx512f"},
    {"AVX", "clearcpuid=avx,avx2"},
    {"FMA", "clearcpuid=fma"},
    {"F16C", "clearcpuid=f16c"},
    {"XSAVE", "noxsave"},
    {"SMAP", "clearcpuid=smap"},
    {"RDWRFSGS", "clearcpuid=fsgsbase"},
    {"POPCNT", "clearcpuid=popcnt"},
    {"LZCNT", "clearcpuid=abm"},
    {"BMI1", "clearcpuid=bmi1"},
    {"BMI2", "clearcpuid=bmi2"},
    {"CMPXCHG16B", "clearcpuid=cx16"},
    {"MOVBE", "clearcpuid=movbe"},
    {"ADOX_ADCX", "clearcpuid=adx"},
    {"AES", "clearcpuid=aes"},
    {"VAES", "clearcpuid=vaes"},
    {"PCLMULQDQ", "clearcpuid=pclmulqdq"},
    {"VPCLMULQDQ", "clearcpuid=vpclmulqdq"},
    {"SHA", "clearcpuid=sha_ni"},
    {"SSSE3", "clearcpuid=ssse3"},
    {"SSE4A", "clearcpuid=sse4a"},
    {"SSE42", "clearcpuid=sse4_2"},
    {"SSE4", "clearcpuid=sse4_1,sse4_2"},
    {"INVPCID", "clearcpuid=invpcid,pcid"},
    {"RDPID", "clearcpuid=rdpid"},
    {"RDRAND", "clearcpuid=rdrand"},
    {"RDSEED", "clearcpuid=rdseed"},
    {"CLWB", "clearcpuid=clwb"},
    {"CLFLUSHOPT", "clearcpuid=clflushopt"},
    {"VTX", "nopv"},
    {"SVM", "nopv"},
};

std::string Advice(const AssistRegisters& registers, const ZydisDisassembledInstruction* instruction) {
  if (instruction != nullptr) {
    const std::string words = AvoidingWords(instruction->info);
    if (!words.empty()) return "boot the guest with " + words + " on its command line to keep it off such instructions";
  }
  if (registers.cpl == 0) return "no word on the guest's command line is known to avoid it; use another guest kernel";
  return "it is a program's, not the kernel's: use one built for fewer processor features";
}

}  // namespace

std::string AvoidingWords(const ZydisDecodedInstruction& instruction) {
  const std::string_view set = ZydisISASetGetString(instruction.meta.isa_set);
  for (const Avoidance& avoidance : kAvoidances) {
    if (set.substr(0, avoidance.extension.size()) == avoidance.extension) return std::string(avoidance.words);
  }
  return "";
}

std::string RefusalText(unsigned vcpu, const AssistRegisters& registers, std::span<const uint8_t> bytes,
                        const ZydisDisassembledInstruction* instruction) {
  std::string what = "an instruction that is none (bytes " + BytesText(bytes) + ")";
  if (instruction != nullptr) {
    what = "the instruction '" + std::string(instruction->text) + "' (bytes " +
           BytesText(bytes.first(instruction->info.length)) + ")";
  } else if (bytes.empty()) {
    what = "an instruction in memory that cannot be read";
  }
  return "the guest cannot go on: this host's KVM cannot interpret " + what + ", which vCPU " + std::to_string(vcpu) +
         " met at RIP " + Hex(registers.rip) + ", CPL " + std::to_string(registers.cpl) + "; " +
         Advice(registers, instruction) + " (" + RegistersText(registers) + ")";
}

}  // namespace faultline
