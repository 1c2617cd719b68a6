// Puts a guest kernel into a VM's memory and says in which state the first vCPU starts it.
//
// Kernels: Linux bzImage (and what follows its boot protocol, as memtest86+ does), ELF vmlinux, ELF with a PVH
// note (Xen, FreeBSD, unikernels), Multiboot 1. The file decides; nothing is trusted about it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "guestmem/guest_memory.h"
#include "guestmem/host.h"
#include "guestmem/types.h"

namespace faultline {

struct BootRequest {
  std::string kernel;        // a path
  std::string initrd;        // a path; empty: none. For Multiboot "PATH WORDS,PATH WORDS": the modules
  std::string command_line;  // as the user gave it
  // Words the machine wants on a Linux command line, each added only where the user's text has no word of that
  // name; see DefaultCommandLine.
  std::vector<std::string> default_words;

  std::vector<GpaRange> ram;       // plugged, in ascending order; the first starts at 0 and holds at least 2 MiB
  std::vector<GpaRange> reserved;  // what firmware tables and devices occupy: told to the guest, left alone
  Gpa rsdp;                        // of the ACPI tables; 0: none
  bool ram_is_zero = true;         // false when it may hold what an earlier VM left (a file): bss is then cleared
};

enum class KernelFormat : uint8_t {
  kBzImage,     // Linux/x86 boot protocol, 64-bit entry
  kVmlinux,     // ELF by the same protocol's 64-bit entry
  kPvh,         // ELF with an XEN_ELFNOTE_PHYS32_ENTRY note
  kMultiboot1,  // Multiboot specification 0.6.96
};
std::string_view ToString(KernelFormat format);

// How the first vCPU starts; the others wait for INIT and SIPI. Registers not named are zero, interrupts are off.
struct BootEntry {
  enum class Mode : uint8_t {
    kLong64,       // paging on with `cr3`, flat 64-bit code segment
    kProtected32,  // paging off, flat 32-bit segments
  };
  Mode mode = Mode::kLong64;
  uint64_t rip = 0;
  uint64_t rsp = 0;
  uint64_t rax = 0;
  uint64_t rbx = 0;
  uint64_t rsi = 0;
  Gpa cr3;
  Gpa gdt;                 // a GDT with the segments of vmm/boot/entry_state.h
  uint16_t gdt_limit = 0;  // in bytes, less one
};

struct LoadedKernel {
  BootEntry entry;
  KernelFormat format = KernelFormat::kVmlinux;
  GpaRange image;            // what the kernel occupies, its bss included
  GpaRange initrd;           // size 0: none
  std::string command_line;  // with the defaults
};

// Reads the files into guest memory, which is touched only where something is put. Blocks for the files. Throws
// Error with one sentence when a file cannot be read, is no kernel or does not fit.
LoadedKernel LoadKernel(Host& host, GuestMemory& memory, const BootRequest& request);

// True when this host's KVM runs guests without hardware virtualisation (the kvm_pvm module): guest kernels are
// interpreted there, while programs run natively and see the host's CPUID whatever the machine says.
bool IsSoftwareKvm(Host& host);

// What a Linux guest needs on its command line to use this machine's console and to end when it panics; on
// software KVM also what spares it work.
std::vector<std::string> DefaultCommandLine(bool software_kvm, unsigned tsc_khz);

}  // namespace faultline
