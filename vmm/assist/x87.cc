#include "vmm/assist/x87.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>

namespace faultline {
namespace {

constexpr size_t kPage = 4096;
constexpr uint16_t kAllMasked = 0x3f;
constexpr uint32_t kDefaultMxcsr = 0x1f80;
constexpr uint64_t kArithmeticFlags = 0x8d5;
constexpr uint64_t kAlwaysSet = 0x2;

struct alignas(16) FxsaveImage {
  X87State::Environment environment;
  uint32_t mxcsr = kDefaultMxcsr;
  uint32_t mxcsr_mask = 0;
  std::array<std::array<std::byte, 16>, 8> stack{};
  std::array<std::byte, 352> rest{};
};
static_assert(sizeof(FxsaveImage) == 512);

// void code(image in rdi, operand in rsi, unused, flags in rcx, host's image in r8), and two results.
struct Results {
  uint64_t rax;
  uint64_t rdx;
};
using Code = Results (*)(void* image, void* operand, uint64_t unused, uint64_t flags, void* host_image);

constexpr std::array<uint8_t, 10> kBefore = {
    0x49, 0x0f, 0xae, 0x00,  // fxsave64 [r8]
    0x48, 0x0f, 0xae, 0x0f,  // fxrstor64 [rdi]
    0x51, 0x9d,              // push rcx; popfq
};
constexpr std::array<uint8_t, 11> kAfter = {
    0x9c, 0x5a,              // pushfq; pop rdx
    0x48, 0x0f, 0xae, 0x07,  // fxsave64 [rdi]
    0x49, 0x0f, 0xae, 0x08,  // fxrstor64 [r8]
    0xc3,
};
constexpr uint8_t kAtRsi = 0x06;         // a ModRM byte: memory at rsi
constexpr uint8_t kRegisterForm = 0xc0;  // its mode bits, when it names no memory
constexpr uint8_t kOperation = 0x38;     // its bits that say which instruction

}  // namespace

X87Unit::~X87Unit() {
  MutexLock lock(mutex_);
  if (writable_ != nullptr) munmap(writable_, kPage);
  if (executable_ != nullptr) munmap(executable_, kPage);
}

bool X87Unit::PrepareLocked() {
  if (executable_ != nullptr) return true;
  // Never writable and executable at one address.
  const int fd = memfd_create("x87", MFD_CLOEXEC);
  if (fd < 0) return false;
  void* writable = MAP_FAILED;
  void* executable = MAP_FAILED;
  if (ftruncate(fd, kPage) == 0) {
    writable = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    executable = mmap(nullptr, kPage, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
  }
  close(fd);
  if (writable == MAP_FAILED || executable == MAP_FAILED) {
    if (writable != MAP_FAILED) munmap(writable, kPage);
    if (executable != MAP_FAILED) munmap(executable, kPage);
    return false;
  }
  writable_ = static_cast<uint8_t*>(writable);
  executable_ = static_cast<uint8_t*>(executable);
  return true;
}

bool X87Unit::Run(const Instruction& instruction, uint64_t rflags, X87State& state,
                  std::span<std::byte, kOperandSize> operand, Effect* effect) {
  MutexLock lock(mutex_);
  if (!PrepareLocked()) return false;
  const bool in_registers = (instruction.modrm & kRegisterForm) == kRegisterForm;
  uint8_t* at = writable_;
  std::memcpy(at, kBefore.data(), kBefore.size());
  at += kBefore.size();
  *at++ = instruction.opcode;
  *at++ = in_registers ? instruction.modrm : static_cast<uint8_t>((instruction.modrm & kOperation) | kAtRsi);
  std::memcpy(at, kAfter.data(), kAfter.size());

  FxsaveImage image;
  FxsaveImage host_image;
  image.environment = state.environment;
  image.stack = state.stack;
  uint16_t& control = image.environment.control;
  const unsigned masks = control & kAllMasked;
  if (!instruction.administrative) control |= kAllMasked;
  Code code;
  std::memcpy(&code, &executable_, sizeof(code));
  // The code just written is what runs: x86 keeps them coherent, and the lock is a serialising step for others.
  std::atomic_signal_fence(std::memory_order_seq_cst);
  const Results results = code(&image, operand.data(), 0, (rflags & kArithmeticFlags) | kAlwaysSet, &host_image);
  if (!instruction.administrative) {
    control = static_cast<uint16_t>((control & ~unsigned{kAllMasked}) | masks);
  }
  state = {image.environment, image.stack};
  effect->rax = results.rax;
  effect->rflags = (rflags & ~kArithmeticFlags) | (results.rdx & kArithmeticFlags);
  return true;
}

}  // namespace faultline
