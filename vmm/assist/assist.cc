#include "vmm/assist/assist.h"

#include <Zydis/Zydis.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "vmm/assist/guest_paging.h"
#include "vmm/assist/refusal.h"

namespace faultline {
namespace {

constexpr size_t kMaxInstruction = 15;

constexpr uint8_t kBreakpoint = 3;
constexpr uint8_t kInvalidOpcode = 6;
constexpr uint8_t kDeviceNotAvailable = 7;
constexpr uint8_t kGeneralProtection = 13;
constexpr uint8_t kPageFaultVector = 14;

// RFLAGS.
constexpr uint64_t kCarry = 1U << 0, kParity = 1U << 2, kAuxiliary = 1U << 4, kZero = 1U << 6, kSign = 1U << 7,
                   kOverflow = 1U << 11, kAlignmentCheck = 1U << 18;
// MXCSR.
constexpr uint32_t kMxcsrReserved = 0xffff0000;
// CR4.
constexpr uint64_t kOsFxsr = 1U << 9;
// CR0.
constexpr uint64_t kMonitorCoprocessor = 1U << 1, kEmulation = 1U << 2, kTaskSwitched = 1U << 3;

ZydisMachineMode MachineMode(unsigned code_bits) {
  switch (code_bits) {
    case 16:
      return ZYDIS_MACHINE_MODE_LEGACY_16;
    case 32:
      return ZYDIS_MACHINE_MODE_LEGACY_32;
    default:
      return ZYDIS_MACHINE_MODE_LONG_64;
  }
}

AssistResult Exception(uint8_t vector, std::optional<uint32_t> error_code = std::nullopt) {
  AssistResult result;
  result.outcome = AssistResult::Outcome::kException;
  result.vector = vector;
  result.error_code = error_code;
  return result;
}

// One instruction on the state of one vCPU. Each step returns nothing to go on, or how it ended.
class Execution {
 public:
  struct FloatingPoint {
    X87Unit& unit;
    X87Access* access;  // null: there is none
  };
  Execution(GuestMemory& memory, FloatingPoint x87, AssistRegisters& registers,
            const ZydisDisassembledInstruction& instruction)
      : memory_(memory), x87_(x87), linear_(memory, registers), registers_(registers), instruction_(instruction) {}

  // Nothing when the instruction is none of those completed here.
  std::optional<std::pair<AssistKind, AssistResult>> Run() {
    switch (instruction_.info.mnemonic) {
      case ZYDIS_MNEMONIC_INT3:
        return std::pair(AssistKind::kInt3, Int3());
      case ZYDIS_MNEMONIC_FWAIT:
        return std::pair(AssistKind::kFwait, Fwait());
      case ZYDIS_MNEMONIC_CLAC:
      case ZYDIS_MNEMONIC_STAC:
        return std::pair(AssistKind::kClacStac, ClacStac());
      case ZYDIS_MNEMONIC_POPCNT:
        return std::pair(AssistKind::kPopcnt, Popcnt());
      case ZYDIS_MNEMONIC_CMPXCHG16B:
        return std::pair(AssistKind::kCmpxchg16b, Cmpxchg16b());
      case ZYDIS_MNEMONIC_LDMXCSR:
      case ZYDIS_MNEMONIC_STMXCSR:
        return std::pair(AssistKind::kMxcsr, Mxcsr());
      default:
        if (instruction_.info.meta.isa_ext != ZYDIS_ISA_EXT_X87) return std::nullopt;
        return std::pair(AssistKind::kX87, X87());
    }
  }

 private:
  AssistResult Completed() {
    registers_.rip += instruction_.info.length;
    AssistResult result;
    result.outcome = AssistResult::Outcome::kCompleted;
    return result;
  }

  AssistResult MemoryFailure(LinearResult failure) {
    if (failure == LinearResult::kUnsupported) return {};
    AssistResult result = Exception(kPageFaultVector, linear_.fault().error_code);
    result.cr2 = linear_.fault().address;
    return result;
  }

  // A trap: RIP points behind the instruction when the handler is entered.
  AssistResult Int3() {
    registers_.rip += instruction_.info.length;
    return Exception(kBreakpoint);
  }

  // Unmasked x87 exceptions do not happen in kernels, the only code that comes here.
  AssistResult Fwait() {
    constexpr uint64_t kBoth = kMonitorCoprocessor | kTaskSwitched;
    if ((registers_.cr0 & kBoth) == kBoth) return Exception(kDeviceNotAvailable);
    return Completed();
  }

  AssistResult ClacStac() {
    if (registers_.cpl != 0) return Exception(kInvalidOpcode);
    if (instruction_.info.mnemonic == ZYDIS_MNEMONIC_STAC) {
      registers_.rflags |= kAlignmentCheck;
    } else {
      registers_.rflags &= ~kAlignmentCheck;
    }
    return Completed();
  }

  uint64_t& Register(ZydisRegister name) {
    const ZydisRegister widest = ZydisRegisterGetLargestEnclosing(MachineMode(64), name);
    return registers_.gpr[static_cast<size_t>(ZydisRegisterGetId(widest))];
  }

  uint64_t EffectiveAddress(const ZydisDecodedOperand& operand) {
    const auto& memory = operand.mem;
    uint64_t address = memory.disp.has_displacement ? static_cast<uint64_t>(memory.disp.value) : 0;
    if (memory.base == ZYDIS_REGISTER_RIP || memory.base == ZYDIS_REGISTER_EIP) {
      address += registers_.rip + instruction_.info.length;
    } else if (memory.base != ZYDIS_REGISTER_NONE) {
      address += Register(memory.base);
    }
    if (memory.index != ZYDIS_REGISTER_NONE) address += Register(memory.index) * memory.scale;
    if (instruction_.info.address_width == 32) address &= 0xffffffff;
    if (instruction_.info.address_width == 16) address &= 0xffff;
    const uint64_t linear = address + SegmentBase(memory.segment);
    return registers_.code_bits == 64 ? linear : linear & 0xffffffff;
  }

  uint64_t SegmentBase(ZydisRegister segment) const {
    // In 64-bit mode the others count as zero (Intel SDM vol. 3A §3.4.4).
    const bool counts = registers_.code_bits != 64 || segment == ZYDIS_REGISTER_FS || segment == ZYDIS_REGISTER_GS;
    return counts ? registers_.segment_base[static_cast<size_t>(ZydisRegisterGetId(segment))] : 0;
  }

  AssistResult Popcnt() {
    const ZydisDecodedOperand& target = instruction_.operands[0];
    const ZydisDecodedOperand& source = instruction_.operands[1];
    const unsigned bits = instruction_.info.operand_width;
    const uint64_t mask = bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1;
    uint64_t value = 0;
    if (source.type == ZYDIS_OPERAND_TYPE_REGISTER) {
      value = Register(source.reg.value) & mask;
    } else {
      const LinearResult got =
          linear_.Read(EffectiveAddress(source), std::as_writable_bytes(std::span(&value, 1)).first(bits / 8));
      if (got != LinearResult::kOk) return MemoryFailure(got);
    }
    const auto count = static_cast<uint64_t>(std::popcount(value));
    uint64_t& to = Register(target.reg.value);
    // A 16-bit result leaves the rest of the register alone; a 32-bit one clears it.
    to = bits == 16 ? (to & ~mask) | count : count;
    registers_.rflags &= ~(kCarry | kParity | kAuxiliary | kZero | kSign | kOverflow);
    if (value == 0) registers_.rflags |= kZero;
    return Completed();
  }

  AssistResult Cmpxchg16b() {
    const uint64_t address = EffectiveAddress(instruction_.operands[0]);
    if (address % 16 != 0) return Exception(kGeneralProtection, 0);
    Gpa gpa;
    // It writes in either case: back what it read when the comparison fails.
    if (const LinearResult got = linear_.Translate(address, AccessKind::kWrite, &gpa); got != LinearResult::kOk) {
      return MemoryFailure(got);
    }
    const Pin pin = memory_.PinRange({gpa, Bytes(16)}, true, "the instruction assist", nullptr);
    if (!pin) return {};
    uint64_t& rax = registers_.gpr[0];
    const uint64_t rcx = registers_.gpr[1];
    uint64_t& rdx = registers_.gpr[2];
    const uint64_t rbx = registers_.gpr[3];
    auto* target = reinterpret_cast<uint64_t*>(pin.bytes().data());
    bool equal = false;
    // Locked, since other vCPUs may use the same bytes at this moment.
    asm volatile("lock cmpxchg16b %1"
                 : "=@ccz"(equal), "+m"(*target), "+a"(rax), "+d"(rdx)
                 : "b"(rbx), "c"(rcx)
                 : "memory");
    registers_.rflags = equal ? registers_.rflags | kZero : registers_.rflags & ~kZero;
    return Completed();
  }

  // Those that read or set the control and status words themselves, and do not wait for exceptions.
  bool AdministersX87() const {
    switch (instruction_.info.mnemonic) {
      case ZYDIS_MNEMONIC_FLDCW:
      case ZYDIS_MNEMONIC_FNSTCW:
      case ZYDIS_MNEMONIC_FNSTSW:
      case ZYDIS_MNEMONIC_FLDENV:
      case ZYDIS_MNEMONIC_FNSTENV:
      case ZYDIS_MNEMONIC_FRSTOR:
      case ZYDIS_MNEMONIC_FNSAVE:
      case ZYDIS_MNEMONIC_FNINIT:
      case ZYDIS_MNEMONIC_FNCLEX:
        return true;
      default:
        return false;
    }
  }

  AssistResult X87() {
    if (x87_.access == nullptr) return {};
    if ((registers_.cr0 & (kEmulation | kTaskSwitched)) != 0) return Exception(kDeviceNotAvailable);
    const std::span operands = std::span(instruction_.operands).first(instruction_.info.operand_count);
    const auto memory = std::ranges::find(operands, ZYDIS_OPERAND_TYPE_MEMORY, &ZydisDecodedOperand::type);
    alignas(16) std::array<std::byte, X87Unit::kOperandSize> buffer{};
    uint64_t address = 0;
    std::span<std::byte> bytes;
    if (memory != operands.end()) {
      address = EffectiveAddress(*memory);
      bytes = std::span(buffer).first(std::min<size_t>(memory->size / 8, buffer.size()));
      if ((memory->actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0) {
        if (const LinearResult got = linear_.Read(address, bytes); got != LinearResult::kOk) return MemoryFailure(got);
      }
    }
    X87State state = x87_.access->Load();
    X87Unit::Effect effect;
    const X87Unit::Instruction instruction{instruction_.info.opcode, ModRm(), AdministersX87()};
    if (!x87_.unit.Run(instruction, registers_.rflags, state, buffer, &effect)) return {};
    if (memory != operands.end() && (memory->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0) {
      if (const LinearResult got = linear_.Write(address, bytes); got != LinearResult::kOk) return MemoryFailure(got);
    }
    x87_.access->Store(state);
    registers_.rflags = effect.rflags;
    const bool to_ax = instruction_.info.mnemonic == ZYDIS_MNEMONIC_FNSTSW && memory == operands.end();
    if (to_ax) registers_.gpr[0] = (registers_.gpr[0] & ~uint64_t{0xffff}) | (effect.rax & 0xffff);
    return Completed();
  }

  AssistResult Mxcsr() {
    if (x87_.access == nullptr) return {};
    if ((registers_.cr0 & kEmulation) != 0 || (registers_.cr4 & kOsFxsr) == 0) return Exception(kInvalidOpcode);
    if ((registers_.cr0 & kTaskSwitched) != 0) return Exception(kDeviceNotAvailable);
    const uint64_t address = EffectiveAddress(instruction_.operands[0]);
    uint32_t value = 0;
    const std::span bytes = std::as_writable_bytes(std::span(&value, 1));
    if (instruction_.info.mnemonic == ZYDIS_MNEMONIC_STMXCSR) {
      value = x87_.access->LoadMxcsr();
      if (const LinearResult got = linear_.Write(address, bytes); got != LinearResult::kOk) return MemoryFailure(got);
      return Completed();
    }
    if (const LinearResult got = linear_.Read(address, bytes); got != LinearResult::kOk) return MemoryFailure(got);
    if ((value & kMxcsrReserved) != 0) return Exception(kGeneralProtection, 0);
    x87_.access->StoreMxcsr(value);
    return Completed();
  }

  uint8_t ModRm() const {
    const auto& modrm = instruction_.info.raw.modrm;
    return static_cast<uint8_t>(modrm.mod << 6 | modrm.reg << 3 | modrm.rm);
  }

  GuestMemory& memory_;
  FloatingPoint x87_;
  LinearMemory linear_;
  AssistRegisters& registers_;
  const ZydisDisassembledInstruction& instruction_;
};

}  // namespace

std::string_view ToString(AssistKind kind) {
  switch (kind) {
    case AssistKind::kInt3:
      return "int3";
    case AssistKind::kFwait:
      return "fwait";
    case AssistKind::kClacStac:
      return "clac/stac";
    case AssistKind::kPopcnt:
      return "popcnt";
    case AssistKind::kCmpxchg16b:
      return "cmpxchg16b";
    case AssistKind::kX87:
      return "x87";
    case AssistKind::kMxcsr:
      return "ldmxcsr/stmxcsr";
  }
  return "unknown";
}

AssistResult InstructionAssist::Complete(AssistRegisters& registers, std::span<const uint8_t> bytes, unsigned vcpu,
                                         X87Access* x87) {
  std::array<uint8_t, kMaxInstruction> fetched{};
  if (bytes.empty()) {
    LinearMemory linear(memory_, registers);
    const uint64_t base = registers.code_bits == 64 ? 0 : registers.segment_base[AssistRegisters::kCs];
    const size_t size = linear.ReadPrefix(base + registers.rip, std::as_writable_bytes(std::span(fetched)));
    bytes = std::span(fetched).first(size);
  }
  ZydisDisassembledInstruction instruction;
  const bool decoded = ZYAN_SUCCESS(
      ZydisDisassembleIntel(MachineMode(registers.code_bits), registers.rip, bytes.data(), bytes.size(), &instruction));
  if (decoded) {
    const AssistRegisters before = registers;
    auto done = Execution(memory_, {x87_unit_, x87}, registers, instruction).Run();
    if (done && done->second.outcome != AssistResult::Outcome::kRefused) {
      counts_[static_cast<size_t>(done->first)].fetch_add(1, std::memory_order_relaxed);
      return done->second;
    }
    registers = before;
  }
  AssistResult refused;
  refused.sentence = RefusalText(vcpu, registers, bytes, decoded ? &instruction : nullptr);
  return refused;
}

}  // namespace faultline
