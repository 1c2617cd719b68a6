#include "vmm/cli/guest_options.h"

#include "guestmem/error.h"
#include "vmm/cli/guest_script.h"

namespace faultline {
namespace {

IrqChip ParseIrqChip(const std::string& text) {
  if (text == "split") return IrqChip::kSplit;
  if (text == "kernel") return IrqChip::kKernel;
  throw UsageError("--irqchip: '" + text + "' is no interrupt controller: choose split or kernel");
}

}  // namespace

void GuestOptionTexts::Describe(OptionList& options) {
  options.Option("--kernel", "FILE", &kernel_,
                 "Boot this kernel (vmlinux, bzImage or a Multiboot image) instead of the built-in guest");
  options.Option("--initrd", "FILE", &initrd_, "With --kernel: the initial RAM disk");
  options.Option("--append", "TEXT", &append_,
                 "With --kernel or --linux: the kernel's command line; what the machine needs is added");
  options.Flag("--linux", &linux_,
               "Boot a small Linux, built first if it is not there: scripts/guest-kernel and scripts/guest-initrd");
  options.Option("--irqchip", "WHERE", &irqchip_,
                 "With --kernel or --linux: split (default: local APICs in KVM) or kernel (PICs, IOAPIC and PIT too)");
  options.Repeated("--device", "NAME", &devices_,
                   "With --kernel or --linux: debug-exit, port 0xf4, by which the guest ends the VM");
}

void GuestOptionTexts::RefuseWithoutKernel() const {
  const char* name = initrd_             ? "--initrd"
                     : append_           ? "--append"
                     : irqchip_          ? "--irqchip"
                     : !devices_.empty() ? "--device"
                                         : nullptr;
  if (name == nullptr) return;
  throw UsageError(std::string(name) + " is for a guest that is booted: add --kernel FILE or --linux");
}

void GuestOptionTexts::Parse(MachineConfig* config) const {
  if (!Boots()) {
    RefuseWithoutKernel();
    return;
  }
  if (linux_ && kernel_) throw UsageError("--linux brings its own kernel: leave out --kernel, or --linux");
  if (irqchip_) config->boot_irq_chip = ParseIrqChip(*irqchip_);
  for (const std::string& device : devices_) {
    if (device != "debug-exit") throw UsageError("--device: '" + device + "' is unknown: there is debug-exit");
    config->debug_exit = true;
  }
  config->boot.kernel = linux_ ? RunGuestScript("guest-kernel") : *kernel_;
  if (initrd_) {
    config->boot.initrd = *initrd_;
  } else if (linux_) {
    config->boot.initrd = RunGuestScript("guest-initrd");
  }
  config->boot.command_line = append_.value_or("");
}

}  // namespace faultline
