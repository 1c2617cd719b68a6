#include "vmm/kvm/guest_cpuid.h"

#include <algorithm>
#include <bit>

namespace faultline {
namespace {

constexpr uint32_t kFeatures = 0x1;
constexpr uint32_t kIntelCaches = 0x4;
constexpr uint32_t kMoreFeatures = 0x7;
constexpr uint32_t kTopology = 0xb;
constexpr uint32_t kTopologyV2 = 0x1f;
constexpr uint32_t kHypervisorLeaves = 0x40000000;
constexpr uint32_t kAmdFeatures = 0x80000001;
constexpr uint32_t kAmdSizes = 0x80000008;
constexpr uint32_t kAmdCaches = 0x8000001d;
constexpr uint32_t kAmdTopology = 0x8000001e;

constexpr uint32_t kX2Apic = 1U << 21;         // leaf 1, ECX
constexpr uint32_t kDeadlineTimer = 1U << 24;  // leaf 1, ECX
constexpr uint32_t kHypervisor = 1U << 31;     // leaf 1, ECX
constexpr uint32_t kManyThreads = 1U << 28;    // leaf 1, EDX
constexpr uint32_t kAmdLegacyCores = 1U << 1;  // leaf 8000_0001H, ECX

// What ForInterpretedKernel leaves and takes away.
constexpr uint32_t kNehalem = 0x000106e5;  // leaf 1, EAX: family 6, model 1eH, stepping 5
constexpr uint32_t kNotInterpreted =       // leaf 1, ECX
    1U << 1 | 1U << 9 |                    // pclmulqdq, ssse3
    1U << 12 | 1U << 13 | 1U << 17 |       // fma, cmpxchg16b, pcid
    1U << 19 | 1U << 20 | 1U << 22 |       // sse4.1, sse4.2, movbe
    1U << 23 | 1U << 25 | 1U << 26 |       // popcnt, aes, xsave
    1U << 27 | 1U << 28 | 1U << 29;        // osxsave, avx, f16c
constexpr uint32_t kSmep = 1U << 7;        // leaf 7, EBX
constexpr uint32_t kRdseed = 1U << 18;     // leaf 7, EBX
constexpr uint32_t kLahf = 1U << 0;        // leaf 8000_0001H, ECX

uint32_t WithBits(uint32_t value, unsigned shift, unsigned width, uint32_t bits) {
  const uint32_t mask = ((1U << width) - 1) << shift;
  return (value & ~mask) | (std::min(bits, (1U << width) - 1) << shift);
}

// Both vendors describe caches alike: EAX has the level in bits 7:5 and the threads that share it, less one, in
// bits 25:14. The last level is everybody's, the others are one core's.
uint32_t CacheSharing(uint32_t eax, unsigned cpus) {
  constexpr uint32_t kLastLevel = 3;
  return WithBits(eax, 14, 12, (eax >> 5 & 7) >= kLastLevel ? cpus - 1 : 0);
}

class Builder {
 public:
  Builder(const kvm::CpuidList& supported, unsigned index, unsigned cpus, bool deadline_timer)
      : index_(index),
        cpus_(cpus),
        id_bits_(static_cast<uint32_t>(std::bit_width(cpus - 1))),
        deadline_timer_(deadline_timer) {
    list_.header.count = 0;
    for (uint32_t i = 0; i < supported.header.count; ++i) {
      kvm_cpuid_entry2 entry = supported.entries[i];
      if (entry.function == kTopology || entry.function == kTopologyV2) continue;
      Adjust(&entry);
      Append(entry);
    }
    if (MaxLeaf() >= kTopology) AppendTopology();
  }

  const kvm::CpuidList& list() const { return list_; }

 private:
  void Append(const kvm_cpuid_entry2& entry) {
    if (list_.header.count < kvm::kMaxCpuidEntries) list_.entries[list_.header.count++] = entry;
  }

  uint32_t MaxLeaf() const {
    for (uint32_t i = 0; i < list_.header.count; ++i) {
      if (list_.entries[i].function == 0) return list_.entries[i].eax;
    }
    return 0;
  }

  void Adjust(kvm_cpuid_entry2* entry) const {
    switch (entry->function) {
      case kFeatures:
        entry->ebx = WithBits(entry->ebx, 24, 8, index_);
        entry->ebx = WithBits(entry->ebx, 16, 8, 1U << id_bits_);
        entry->ecx |= kX2Apic | kHypervisor;
        if (deadline_timer_) entry->ecx |= kDeadlineTimer;
        entry->edx = cpus_ > 1 ? entry->edx | kManyThreads : entry->edx & ~kManyThreads;
        break;
      case kIntelCaches:
        if ((entry->eax & 0x1f) == 0) break;
        entry->eax = CacheSharing(entry->eax, cpus_);
        entry->eax = WithBits(entry->eax, 26, 6, (1U << id_bits_) - 1);
        break;
      case kAmdFeatures:
        entry->ecx = cpus_ > 1 ? entry->ecx | kAmdLegacyCores : entry->ecx & ~kAmdLegacyCores;
        break;
      case kAmdSizes:
        entry->ecx = WithBits(entry->ecx, 0, 8, cpus_ - 1);
        entry->ecx = WithBits(entry->ecx, 12, 4, id_bits_);
        break;
      case kAmdCaches:
        if ((entry->eax & 0x1f) != 0) entry->eax = CacheSharing(entry->eax, cpus_);
        break;
      case kAmdTopology:
        entry->eax = index_;
        entry->ebx = index_ & 0xff;  // core id; one thread in each
        entry->ecx = 0;              // one node
        break;
      default:
        break;
    }
  }

  void AppendTopology() {
    constexpr uint32_t kThreads = 1U << 8;
    constexpr uint32_t kCores = 2U << 8;
    kvm_cpuid_entry2 entry{};
    entry.function = kTopology;
    entry.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
    entry.edx = index_;
    entry.ebx = 1;
    entry.ecx = kThreads;
    Append(entry);
    entry.index = 1;
    entry.eax = id_bits_;
    entry.ebx = cpus_;
    entry.ecx = kCores | 1;
    Append(entry);
    entry.index = 2;
    entry.eax = entry.ebx = 0;
    entry.ecx = 2;
    Append(entry);
  }

  const unsigned index_;
  const unsigned cpus_;
  const uint32_t id_bits_;  // of an APIC id, for the cores
  const bool deadline_timer_;
  kvm::CpuidList list_{};
};

}  // namespace

kvm::CpuidList GuestCpuid(const kvm::CpuidList& supported, unsigned index, unsigned cpus, bool deadline_timer) {
  return Builder(supported, index, cpus, deadline_timer).list();
}

kvm::CpuidList ForInterpretedKernel(const kvm::CpuidList& list) {
  kvm::CpuidList changed{};
  for (uint32_t i = 0; i < list.header.count; ++i) {
    kvm_cpuid_entry2 entry = list.entries[i];
    switch (entry.function) {
      case 0:
        entry.eax = std::min(entry.eax, kTopology);
        entry.ebx = 0x756e6547;  // "Genu"
        entry.edx = 0x49656e69;  // "ineI"
        entry.ecx = 0x6c65746e;  // "ntel"
        break;
      case kFeatures:
        entry.eax = kNehalem;
        entry.ecx &= ~kNotInterpreted;
        break;
      case kMoreFeatures:
        entry.eax = entry.ecx = entry.edx = 0;
        entry.ebx &= kSmep | kRdseed;
        break;
      case kAmdFeatures:
        entry.ecx &= kLahf;
        break;
      case kAmdSizes:
        entry.ebx = 0;
        break;
      default:
        // The leaves of KVM's own features, whose hypercalls do not return; and those of XSAVE and later ones.
        if (entry.function >= kHypervisorLeaves && entry.function < kHypervisorLeaves + 0x100) continue;
        if (entry.function > kTopology && entry.function < kHypervisorLeaves) continue;
        break;
    }
    changed.entries[changed.header.count++] = entry;
  }
  return changed;
}

}  // namespace faultline
