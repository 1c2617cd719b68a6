#include "vmm/builtin_guest/loader.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <string>

#include "devices/debug_exit.h"
#include "devices/idle_port.h"
#include "devices/memory_hotplug.h"
#include "devices/serial.h"
#include "guestmem/error.h"
#include "vmm/builtin_guest/abi.h"
#include "vmm/builtin_guest/page_tables.h"

namespace faultline {
namespace {

static_assert(guest::kSerialPort == Serial::kCom1Port);
static_assert(guest::kDebugExitPort == DebugExit::kPort);
static_assert(guest::kIdlePort == IdlePort::kPort);
static_assert(guest::kHotplugPort == MemoryHotplug::kPort);
static_assert(guest::kMaxHotplugSlots == MemoryHotplug::kMaxSlots);

void CheckConfig(const BuiltinGuestConfig& config) {
  if (config.cpus == 0 || config.cpus > guest::kMaxCpus) {
    throw UsageError("the built-in guest runs on 1 to " + std::to_string(guest::kMaxCpus) + " vCPUs, not " +
                     std::to_string(config.cpus));
  }
  const auto& boot = config.boot_ram;
  if (boot.empty() || boot.front().start != Gpa(0) || boot.front().size < Bytes(guest::kReservedEnd)) {
    throw UsageError("the built-in guest needs at least 2M of boot memory at address 0");
  }
  if (boot.size() > guest::kMaxBootRanges) {
    throw UsageError("the built-in guest takes boot memory in at most " + std::to_string(guest::kMaxBootRanges) +
                     " pieces");
  }
  if (config.hotplug_slots > guest::kMaxHotplugSlots) {
    throw UsageError("the built-in guest knows at most " + std::to_string(guest::kMaxHotplugSlots) +
                     " memory slots, not " + std::to_string(config.hotplug_slots));
  }
}

void WriteOrThrow(GuestMemory& memory, uint64_t address, std::span<const std::byte> data) {
  if (memory.Write(Gpa(address), data) != AccessResult::kOk) {
    throw Error("the built-in guest does not go into guest memory at its start; is the host out of memory?");
  }
}

// The image's header (start.S): where its zero-initialised data lies.
struct ImageHeader {
  uint64_t jump;
  uint64_t bss_start;
  uint64_t bss_end;
};

void WriteImage(GuestMemory& memory) {
  const std::span<const std::byte> image = BuiltinGuestImage();
  ImageHeader header;
  std::memcpy(&header, image.data(), sizeof(header));
  WriteOrThrow(memory, guest::kImageAddress, image);
  // Boot memory backed by a file may hold what an earlier VM left there.
  const std::vector<std::byte> zeroes(header.bss_end - header.bss_start);
  WriteOrThrow(memory, header.bss_start, zeroes);
}

void WriteTss(GuestMemory& memory) {
  std::array<std::byte, guest::kTssSize> tss = {};
  constexpr size_t kIoMapBaseField = 102;
  StoreLittleEndian(guest::kTssIoMapOffset, std::span(tss).subspan(kIoMapBaseField, 2));
  // A processor reads two bytes at a time, so the bitmap ends with a byte of ones.
  tss.back() = std::byte{0xff};
  WriteOrThrow(memory, guest::kTssAddress, tss);
}

void WriteMailbox(GuestMemory& memory, const BuiltinGuestConfig& config) {
  guest::Mailbox box = {};
  box.magic = guest::kMailboxMagic;
  box.version = guest::kMailboxVersion;
  box.mode = config.mode == BuiltinGuestMode::kStorm ? guest::kModeStorm : guest::kModeConsole;
  box.cpu_count = config.cpus;
  box.hotplug_slots = config.hotplug_slots;
  box.boot_range_count = static_cast<uint32_t>(config.boot_ram.size());
  std::ranges::transform(config.boot_ram, box.boot_ranges, [](const GpaRange& range) {
    return guest::MemoryRange{range.start.value, range.size.value};
  });
  box.hotplug_window = {config.hotplug_window.start.value, config.hotplug_window.size.value};
  WriteOrThrow(memory, guest::kMailboxAddress, std::as_bytes(std::span(&box, 1)));
}

IdentityPageTables BuildPageTables(const BuiltinGuestConfig& config) {
  const Gpa base(guest::kStacksAddress + config.cpus * guest::kStackSize);
  IdentityPageTables tables(base, Gpa(guest::kReservedEnd) - base, config.gib_pages);
  for (const GpaRange& range : config.boot_ram) tables.Map(range);
  tables.Map(config.hotplug_window);
  for (const GpaRange& range : config.also_mapped) tables.Map(range);
  return tables;
}

}  // namespace

std::vector<CpuEntry> LoadBuiltinGuest(GuestMemory& memory, const BuiltinGuestConfig& config) {
  CheckConfig(config);
  const IdentityPageTables tables = BuildPageTables(config);
  WriteImage(memory);
  WriteTss(memory);
  WriteMailbox(memory, config);
  WriteOrThrow(memory, tables.root().value, std::as_bytes(std::span(tables.tables())));
  std::vector<CpuEntry> entries(config.cpus);
  for (uint64_t cpu = 0; cpu < config.cpus; ++cpu) {
    entries[cpu] = {.rip = guest::kImageAddress,
                    .rsp = guest::kStacksAddress + (cpu + 1) * guest::kStackSize,
                    .rdi = cpu,
                    .cr3 = tables.root().value,
                    .tss_base = guest::kTssAddress,
                    .tss_limit = guest::kTssSize - 1};
    // Brings the stack's page in now: cheaper than the fault that each vCPU would start with.
    constexpr std::array<std::byte, sizeof(uint64_t)> kNoReturnAddress = {};
    WriteOrThrow(memory, entries[cpu].rsp - kNoReturnAddress.size(), kNoReturnAddress);
  }
  return entries;
}

bool RequestBuiltinGuestShutdown(GuestMemory& memory) noexcept {
  const uint32_t yes = 1;
  return memory.Write(Gpa(guest::kMailboxAddress + offsetof(guest::Mailbox, shutdown)),
                      std::as_bytes(std::span(&yes, 1))) == AccessResult::kOk;
}

}  // namespace faultline
