#include "vmm/boot/entry_state.h"

#include <gtest/gtest.h>

namespace faultline {
namespace {

TEST(EntryState, OfLongModeHasPagingOnAndA64BitCodeSegment) {
  BootEntry entry;
  entry.cr3 = Gpa(0x9000);
  entry.rip = 0x1000000;
  entry.rsi = 0x7000;
  const kvm_sregs sregs = KernelSregs({}, entry);
  EXPECT_EQ(sregs.cr0 & 0x80000001, 0x80000001U);
  EXPECT_EQ(sregs.cr3, 0x9000U);
  EXPECT_EQ(sregs.efer, 0x500U);
  EXPECT_EQ(sregs.cs.l, 1);
  EXPECT_EQ(sregs.cs.db, 0);
  EXPECT_EQ(sregs.cs.selector, 0x10);
  EXPECT_EQ(sregs.ss.selector, 0x18);
  const kvm_regs regs = KernelRegs(entry);
  EXPECT_EQ(regs.rip, 0x1000000U);
  EXPECT_EQ(regs.rsi, 0x7000U);
  EXPECT_EQ(regs.rflags, 2U) << "interrupts off";
}

TEST(EntryState, OfProtectedModeHasPagingOffWhateverTheVcpuDidBefore) {
  BootEntry entry;
  entry.mode = BootEntry::Mode::kProtected32;
  kvm_sregs before{};
  before.cr0 = 0x80000011;
  before.cr4 = 0x20;
  before.efer = 0x500;
  const kvm_sregs sregs = KernelSregs(before, entry);
  EXPECT_EQ(sregs.cr0 & 0x80000001, 1U);
  EXPECT_EQ(sregs.cr4, 0U);
  EXPECT_EQ(sregs.efer, 0U);
  EXPECT_EQ(sregs.cs.l, 0);
  EXPECT_EQ(sregs.cs.db, 1);
}

TEST(EntryState, GdtHoldsTheDescriptorsAsTheProcessorReadsThem) {
  EXPECT_EQ(GdtFor(BootEntry::Mode::kLong64),
            (BootGdt{0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00008b0000000067}));
  EXPECT_EQ(GdtFor(BootEntry::Mode::kProtected32)[2], 0x00cf9b000000ffffU);
}

}  // namespace
}  // namespace faultline
