#include "vmm/builtin_guest/memory_map.h"

#include "vmm/builtin_guest/console.h"
#include "vmm/builtin_guest/memory_access.h"
#include "vmm/builtin_guest/payload.h"

namespace faultline::guest {
namespace {

// The hot-plug registers (QEMU docs/specs/acpi_mem_hotplug).
constexpr uint16_t kSelector = kHotplugPort;
constexpr uint16_t kOstEvent = kHotplugPort + 0x04;
constexpr uint16_t kOstStatus = kHotplugPort + 0x08;
constexpr uint16_t kStatusControl = kHotplugPort + 0x14;
constexpr uint8_t kEnabled = 0x01;
constexpr uint8_t kInsertEvent = 0x02;
constexpr uint8_t kRemoveEvent = 0x04;
constexpr uint8_t kEject = 0x08;

// _OST events and codes (ACPI 6.5 §6.3.5).
constexpr uint32_t kDeviceCheck = 0x01;
constexpr uint32_t kEjectionRequest = 0x03;
constexpr uint32_t kSuccess = 0x00;
constexpr uint32_t kFailure = 0x01;
constexpr uint32_t kInUseByApplication = 0x81;
constexpr uint32_t kDeviceBusy = 0x82;
constexpr uint32_t kEjectionPending = 0x84;

constexpr unsigned kMaxHolds = 64;

constinit Block blocks[kMaxBlocks] = {};
constinit unsigned block_count = 0;
constinit uint32_t last_incarnation = 0;
constinit MemoryRange holds[kMaxHolds] = {};
constinit unsigned hold_count = 0;

uint64_t In64(uint16_t port) {
  const uint64_t low = In32(port);
  return low | uint64_t{In32(port + 4)} << 32;
}

void ReportStatus(uint32_t event, uint32_t status) {
  Out32(kOstEvent, event);
  Out32(kOstStatus, status);
}

bool IsMappedForPlug(uint64_t start, uint64_t size) {
  const uint64_t window_start = mailbox().hotplug_window.start;
  const uint64_t window_size = mailbox().hotplug_window.size;
  return size >= kPageBytes && size <= window_size && start >= window_start &&
         start - window_start <= window_size - size;
}

bool PageIsZero(uint64_t page) {
  for (uint64_t i = 0; i < kWordsPerPage; ++i) {
    if (Load(page + i * sizeof(uint64_t)) != 0) return false;
  }
  return true;
}

// Memory must come empty. Looks at both ends only: looking at all of it would populate all of it.
bool EndsAreZero(const Block& block) { return PageIsZero(block.start) && PageIsZero(block.end() - kPageBytes); }

void Forget(Block& block) {
  ReleaseHolds(block.start, block.size);
  block.state = BlockState::kAbsent;
}

void TakeIntoUse(unsigned index, bool quietly) {
  Block& block = blocks[index];
  const Block before = block;
  Out8(kStatusControl, kInsertEvent);  // acknowledge first: a change after this raises it again
  const uint64_t start = In64(kHotplugPort);
  const uint64_t size = In64(kHotplugPort + 8);
  if (!IsMappedForPlug(start, size)) {
    ReportStatus(kDeviceCheck, kFailure);
    return;
  }
  block.start = start;
  block.size = size;
  block.state = BlockState::kOnline;
  const bool zero = EndsAreZero(block);
  // Ejected, but the machine did not take it and hands it back: what it holds is still ours.
  const bool handed_back =
      !zero && before.state == BlockState::kEjected && before.start == start && before.size == size;
  if (!handed_back) block.incarnation = ++last_incarnation;
  ReportStatus(kDeviceCheck, kSuccess);
  if (quietly) return;
  BeginNotice();
  PutBlockName(index);
  PrintLine(handed_back ? " handed back: " : " plugged: ", Size{size}, " at ", Hex{start},
            handed_back ? ", contents kept"
            : zero      ? ", zero"
                        : ", NOT zero");
  EndNotice();
}

void NoticeGone(unsigned index) {
  Block& block = blocks[index];
  BeginNotice();
  PutBlockName(index);
  PrintLine(block.state == BlockState::kOnline ? " gone without being asked for: " : " removed: ", Size{block.size},
            " at ", Hex{block.start});
  EndNotice();
  Forget(block);
}

void AnswerEjectRequest(unsigned index) {
  Block& block = blocks[index];
  Out8(kStatusControl, kRemoveEvent);
  const bool held = block.state == BlockState::kOnline && IsHeld(block);
  if (held || block.busy) {
    ReportStatus(kEjectionRequest, held ? kInUseByApplication : kDeviceBusy);
    BeginNotice();
    PutBlockName(index);
    PrintLine(" eject refused: ", held ? "held" : "a command is using it");
    EndNotice();
    return;
  }
  ReportStatus(kEjectionRequest, kEjectionPending);
  block.state = BlockState::kEjected;
  Out8(kStatusControl, kEject);
  BeginNotice();
  PutBlockName(index);
  PrintLine(" ejected: ", Size{block.size}, " at ", Hex{block.start});
  EndNotice();
}

void PollSlot(unsigned slot, bool quietly) {
  const unsigned index = kFirstSlotBlock + slot;
  Block& block = blocks[index];
  Out32(kSelector, slot);
  const uint8_t status = In8(kStatusControl);
  if ((status & kEnabled) == 0) {
    if (block.state != BlockState::kAbsent) NoticeGone(index);
    return;
  }
  if ((status & kInsertEvent) != 0) {
    if (block.state == BlockState::kOnline) NoticeGone(index);
    TakeIntoUse(index, quietly);
  }
  if ((status & kRemoveEvent) != 0) AnswerEjectRequest(index);
}

}  // namespace

unsigned BlockCount() { return block_count; }
Block& BlockAt(unsigned index) { return blocks[index]; }

void PutBlockName(unsigned index) {
  if (index < kFirstSlotBlock) {
    Print("boot");
  } else {
    Print("dimm", index - kFirstSlotBlock);
  }
}

void InitMemoryMap() {
  const volatile Mailbox& box = mailbox();
  for (unsigned i = 0; i < box.boot_range_count && i < kMaxBootRanges; ++i) {
    uint64_t start = box.boot_ranges[i].start;
    const uint64_t end = start + box.boot_ranges[i].size;
    if (start < kReservedEnd) start = kReservedEnd;
    if (start >= end) continue;
    blocks[i].start = start;
    blocks[i].size = end - start;
    blocks[i].state = BlockState::kOnline;
  }
  const uint32_t slots = box.hotplug_slots;
  block_count = kFirstSlotBlock + (slots < kMaxHotplugSlots ? slots : kMaxHotplugSlots);
}

void PollSlots(bool quietly) {
  for (unsigned slot = 0; slot < block_count - kFirstSlotBlock; ++slot) PollSlot(slot, quietly);
}

bool ShutdownRequested() { return mailbox().shutdown != 0; }

bool AddHold(uint64_t start, uint64_t size) {
  if (hold_count == kMaxHolds) return false;
  holds[hold_count++] = {start, size};
  return true;
}

unsigned ReleaseHolds(uint64_t start, uint64_t size) {
  unsigned kept = 0;
  for (unsigned i = 0; i < hold_count; ++i) {
    const bool overlaps = holds[i].start < start + size && start < holds[i].start + holds[i].size;
    if (!overlaps) holds[kept++] = holds[i];
  }
  const unsigned released = hold_count - kept;
  hold_count = kept;
  return released;
}

bool IsHeld(const Block& block) {
  for (unsigned i = 0; i < hold_count; ++i) {
    if (block.Overlaps(holds[i].start, holds[i].start + holds[i].size)) return true;
  }
  return false;
}

}  // namespace faultline::guest
