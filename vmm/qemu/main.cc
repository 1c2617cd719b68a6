// qemu-system-faultline: the program libvirt's qemu driver starts, as the domain's <emulator>.
#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

#include "guestmem/error.h"
#include "vmm/cli/standard_descriptors.h"
#include "vmm/control/version.h"
#include "vmm/qemu/daemon.h"
#include "vmm/qemu/listener.h"
#include "vmm/qemu/plan.h"
#include "vmm/qemu/qemu_process.h"

namespace {

constexpr char kHelp[] =
    "Usage: qemu-system-faultline -machine pc|q35 -m SIZE -qmp unix:PATH,server=on,wait=off [OPTION]...\n"
    "\n"
    "Faultline behind the part of QEMU's command line that libvirt's qemu driver uses. Name it as a domain's\n"
    "<emulator>; docs/libvirt.md says how. By hand, `faultline run` is the better program.\n"
    "\n"
    "  -machine pc|q35|none     none answers questions on the monitor\n"
    "  -m size=N,slots=N,maxmem=N\n"
    "  -smp N\n"
    "  -kernel FILE, -initrd FILE, -append TEXT\n"
    "                           without a kernel, disks and networks: the built-in guest\n"
    "  -object, -chardev, -blockdev, -netdev, -device, -numa, -mon\n"
    "                           key=value lists or JSON objects, as QEMU's\n"
    "  -qmp unix:PATH,server=on,wait=off\n"
    "  -incoming defer          waits for migrate-incoming on the monitor, and a saved VM\n"
    "  -S, -no-shutdown, -no-reboot, -daemonize, -pidfile FILE, -name NAME\n"
    "\n"
    "Devices: isa-serial, pc-dimm, pcie-root-port, virtconsole, virtio-balloon-pci, virtio-blk-pci,\n"
    "virtio-mem-pci, virtio-net-pci, virtio-rng-pci, virtio-serial-pci. Whatever is not supported is refused by\n"
    "name, with exit status 2.\n";

int Run(const std::vector<std::string>& arguments) {
  for (const std::string& word : arguments) {
    if (word == "-help" || word == "--help" || word == "-h") {
      std::fputs(kHelp, stdout);
      return 0;
    }
    if (word == "-version" || word == "--version") {
      std::printf("QEMU emulator version 7.2.0 (faultline %s)\n", faultline::kVersion);
      return 0;
    }
  }
  const faultline::QemuPlan plan = faultline::PlanFromCommandLine(arguments);
  faultline::Daemon daemon(plan.daemonize, plan.pid_file);
  if (plan.probe) return faultline::RunProbe(plan, [&daemon] { daemon.Ready(); });
  faultline::QemuProcess vm(plan);
  daemon.Ready();
  return vm.Run();
}

}  // namespace

int main(int argc, char** argv) {
  faultline::FillStandardDescriptors();
  // A reader that goes away must not take the VM with it.
  std::signal(SIGPIPE, SIG_IGN);
  const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
  int status = 1;
  try {
    return Run(arguments);
  } catch (const faultline::UsageError& e) {
    std::fprintf(stderr, "qemu-system-faultline: %s\n", e.what());
    status = 2;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "qemu-system-faultline: %s\n", e.what());
  }
  faultline::HangUpOnCaller(arguments);
  return status;
}
