#include "vmm/kvm/guest_cpuid.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>

namespace faultline {
namespace {

// A processor with all leaves that tell of topology, as of a large host.
std::unique_ptr<kvm::CpuidList> Supported() {
  auto list = std::make_unique<kvm::CpuidList>();
  const auto add = [&](uint32_t function, uint32_t index, uint32_t eax, uint32_t ebx, uint32_t ecx, uint32_t edx) {
    kvm_cpuid_entry2& entry = list->entries[list->header.count++];
    entry = {};
    entry.function = function;
    entry.index = index;
    entry.eax = eax;
    entry.ebx = ebx;
    entry.ecx = ecx;
    entry.edx = edx;
  };
  list->header.count = 0;
  add(0x0, 0, 0x1f, 0, 0, 0);
  add(0x1, 0, 0, 0x2a400800, 0, 0);
  add(0x4, 0, 0xfc004121, 0, 0, 0);  // level 1
  add(0x4, 3, 0xfc0fc163, 0, 0, 0);  // level 3
  add(0xb, 0, 1, 2, 0x100, 42);
  add(0x1f, 0, 1, 2, 0x100, 42);
  add(0x80000008, 0, 0, 0, 0x703f, 0);
  add(0x8000001e, 0, 42, 0x115, 0x300, 0);
  return list;
}

bool Is(const kvm_cpuid_entry2& entry, uint32_t function, uint32_t index) {
  return entry.function == function && entry.index == index;
}

bool Has(const kvm::CpuidList& list, uint32_t function) {
  return std::any_of(list.entries, list.entries + list.header.count, [&](const auto& e) { return Is(e, function, 0); });
}

kvm_cpuid_entry2 Find(const kvm::CpuidList& list, uint32_t function, uint32_t index = 0) {
  for (uint32_t i = 0; i < list.header.count; ++i) {
    if (Is(list.entries[i], function, index)) return list.entries[i];
  }
  ADD_FAILURE() << "no leaf " << function << "." << index;
  return {};
}

TEST(GuestCpuid, GivesEachVcpuItsOwnApicIdEverywhere) {
  const auto supported = Supported();
  for (const unsigned index : {0U, 1U, 3U}) {
    const kvm::CpuidList list = GuestCpuid(*supported, index, 4, true);
    EXPECT_EQ(Find(list, 1).ebx >> 24, index);
    EXPECT_EQ(Find(list, 0xb, 0).edx, index);
    EXPECT_EQ(Find(list, 0xb, 1).edx, index);
    EXPECT_EQ(Find(list, 0x8000001e).eax, index);
  }
}

TEST(GuestCpuid, DescribesOneSocketOfCoresWithoutHyperThreading) {
  const auto supported = Supported();
  const kvm::CpuidList list = GuestCpuid(*supported, 0, 4, true);
  EXPECT_EQ(Find(list, 1).ebx >> 16 & 0xff, 4U);
  EXPECT_EQ(Find(list, 0xb, 0).ebx, 1U);
  EXPECT_EQ(Find(list, 0xb, 1).ebx, 4U);
  EXPECT_EQ(Find(list, 0xb, 1).eax, 2U) << "bits of an APIC id";
  EXPECT_EQ(Find(list, 0x80000008).ecx & 0xff, 3U);
  EXPECT_FALSE(Has(list, 0x1f)) << "leaf 0BH says it all";
  EXPECT_EQ(Find(list, 4, 0).eax >> 14 & 0xfff, 0U) << "the first level is one core's";
  EXPECT_EQ(Find(list, 4, 3).eax >> 14 & 0xfff, 3U) << "the last level is everybody's";
}

TEST(GuestCpuid, OffersWhatTheLocalApicInKvmCan) {
  const auto supported = Supported();
  const uint32_t with = Find(GuestCpuid(*supported, 0, 1, true), 1).ecx;
  const uint32_t without = Find(GuestCpuid(*supported, 0, 1, false), 1).ecx;
  EXPECT_EQ(with & (1U << 21), 1U << 21) << "x2APIC";
  EXPECT_EQ(with ^ without, 1U << 24) << "TSC deadline";
}

TEST(GuestCpuid, OfASingleProcessorSaysNothingOfOthers) {
  const kvm::CpuidList list = GuestCpuid(*Supported(), 0, 1, true);
  EXPECT_EQ(Find(list, 1).edx & (1U << 28), 0U);
  EXPECT_EQ(Find(list, 0xb, 1).eax, 0U);
}

TEST(GuestCpuid, OfAnInterpretedKernelIsIntelsOfFamilySix) {
  const kvm::CpuidList changed = ForInterpretedKernel(*Supported());
  const kvm_cpuid_entry2 vendor = Find(changed, 0);
  EXPECT_EQ(vendor.eax, 0xbU) << "the last leaf";
  std::array<char, 12> text{};
  std::memcpy(text.data(), &vendor.ebx, 4);
  std::memcpy(text.data() + 4, &vendor.edx, 4);
  std::memcpy(text.data() + 8, &vendor.ecx, 4);
  EXPECT_EQ(std::string(text.data(), text.size()), "GenuineIntel");
  EXPECT_EQ(Find(changed, 1).eax >> 8 & 0xf, 6U);
  EXPECT_EQ(Find(changed, 1).ebx, Find(*Supported(), 1).ebx) << "the vCPU's own APIC id";
}

TEST(GuestCpuid, OfAnInterpretedKernelHasNoFeatureThatTheInterpreterLacks) {
  const auto supported = Supported();
  const auto add = [&](uint32_t function, uint32_t bits) {
    kvm_cpuid_entry2& entry = supported->entries[supported->header.count++];
    entry = {};
    entry.function = function;
    entry.eax = entry.ebx = entry.ecx = entry.edx = bits;
  };
  supported->entries[1].ecx = ~0U;
  for (const uint32_t leaf : {0x7U, 0xdU, 0x40000000U, 0x40000001U, 0x80000001U}) add(leaf, ~0U);
  const kvm::CpuidList changed = ForInterpretedKernel(*supported);
  constexpr uint32_t kXsave = 1U << 26, kAvx = 1U << 28, kPopcnt = 1U << 23;
  EXPECT_EQ(Find(changed, 1).ecx & (kXsave | kAvx | kPopcnt), 0U);
  EXPECT_NE(Find(changed, 1).ecx & (1U << 21), 0U) << "x2APIC stays";
  constexpr uint32_t kFsgsbase = 1U << 0, kSmap = 1U << 20, kErms = 1U << 9;
  EXPECT_EQ(Find(changed, 7).ebx & (kFsgsbase | kSmap | kErms), 0U);
  EXPECT_EQ(Find(changed, 0x80000001).ecx, 1U) << "lahf";
  EXPECT_FALSE(Has(changed, 0xd)) << "XSAVE's leaf";
  EXPECT_FALSE(Has(changed, 0x40000000)) << "KVM's hypercalls do not return";
  EXPECT_FALSE(Has(changed, 0x40000001));
}

}  // namespace
}  // namespace faultline
