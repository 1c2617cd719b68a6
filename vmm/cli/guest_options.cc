#include "vmm/cli/guest_options.h"

#include <utility>

#include "guestmem/error.h"
#include "vmm/cli/device_option.h"
#include "vmm/cli/elastic_option.h"
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
  options.Repeated("--disk", "FILE[,...]", &disks_, "A virtio disk on a file or block device; see below");
  options.Repeated("--net", "KIND[,...]", &nets_, "A virtio network card on user networking or a tap; see below");
  options.Flag("--rng", &rng_, "A virtio source of entropy");
  options.Flag("--virtio-console", &virtio_console_,
               "A virtio console beside the serial port; what is typed goes there");
  options.Repeated("--virtio-mem", "SIZE[,...]", &virtio_mems_,
                   "Memory up to SIZE that the running guest takes and gives back in blocks; see below");
  options.Option("--balloon", "WHAT", &balloon_, "A memory balloon: on, or its size and ways; see below");
  options.Repeated("--device", "NAME", &devices_,
                   "With --kernel or --linux: debug-exit, port 0xf4, by which the guest ends the VM");
}

std::optional<std::string> GuestOptionTexts::AnyForKernel() const {
  const std::pair<bool, const char*> given[] = {
      {initrd_.has_value(), "--initrd"},       {append_.has_value(), "--append"},   {irqchip_.has_value(), "--irqchip"},
      {!devices_.empty(), "--device"},         {!disks_.empty(), "--disk"},         {!nets_.empty(), "--net"},
      {!virtio_mems_.empty(), "--virtio-mem"}, {balloon_.has_value(), "--balloon"}, {rng_, "--rng"},
      {virtio_console_, "--virtio-console"},
  };
  for (const auto& [is_given, name] : given) {
    if (is_given) return name;
  }
  return std::nullopt;
}

std::optional<std::string> GuestOptionTexts::AnyGiven() const {
  if (kernel_) return "--kernel";
  if (linux_) return "--linux";
  return AnyForKernel();
}

void GuestOptionTexts::ParseDevices(DeviceConfig* devices) const {
  for (const std::string& disk : disks_) devices->disks.push_back({ParseDiskOption(disk), {}, {}});
  for (const std::string& net : nets_) devices->net_cards.push_back(ParseNetOption(net));
  devices->rng = rng_;
  devices->console = virtio_console_;
  for (const std::string& device : devices_) {
    if (device != "debug-exit") throw UsageError("--device: '" + device + "' is unknown: there is debug-exit");
    devices->debug_exit = true;
  }
}

void GuestOptionTexts::Parse(MachineConfig* config) const {
  if (!Boots()) {
    if (const auto name = AnyForKernel()) {
      throw UsageError(*name + " is for a guest that is booted: add --kernel FILE or --linux");
    }
    return;
  }
  if (linux_ && kernel_) throw UsageError("--linux brings its own kernel: leave out --kernel, or --linux");
  if (irqchip_) config->boot_irq_chip = ParseIrqChip(*irqchip_);
  ParseDevices(&config->devices);
  for (const std::string& mem : virtio_mems_) {
    config->memory.virtio_mem.push_back(ParseVirtioMemOption(mem, config->memory.virtio_mem.size()));
  }
  if (balloon_) config->balloon = ParseBalloonOption(*balloon_);
  config->boot.kernel = linux_ ? RunGuestScript("guest-kernel") : *kernel_;
  if (initrd_) {
    config->boot.initrd = *initrd_;
  } else if (linux_) {
    config->boot.initrd = RunGuestScript("guest-initrd");
  }
  config->boot.command_line = append_.value_or("");
}

}  // namespace faultline
