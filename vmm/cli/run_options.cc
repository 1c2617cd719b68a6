#include "vmm/cli/run_options.h"

#include <utility>

#include "guestmem/error.h"
#include "vmm/cli/console/console.h"
#include "vmm/cli/domain_file.h"
#include "vmm/cli/memory_option.h"
#include "vmm/cli/quantity.h"
#include "vmm/control/vm_lease.h"

namespace faultline {
namespace {

// True for restart.
bool ParseOnReboot(const std::string& text) {
  if (text == "restart") return true;
  if (text == "exit") return false;
  throw UsageError("--on-reboot: '" + text + "' is unknown: choose restart or exit");
}

}  // namespace

void RunOptionTexts::Describe(OptionList& options) {
  options.Option("--name", "NAME", &name_, "What other commands call the VM; vm1, vm2, … by default");
  options.Option("--xml", "FILE", &xml_, "Make the VM as this libvirt domain XML says, in place of options; see below");
  options.Option("--cpus", "N", &cpus_, "vCPUs, 1 to 256; 1 by default");
  options.Option("--memory", "SIZE[,...]", &memory_, "Memory at boot and room for more, see below; 256M by default");
  guest_.Describe(options);
  options.Option("--console", "WHERE", &console_, "The guest's console: stdio (default), pty, socket:PATH or none");
  options.Option("--on-unplugged-access", "POLICY", &policy_,
                 "What a guest meets where memory was taken away by force: ones (default: reads give all ones), stop "
                 "(and the VM pauses), log (and each access is reported)");
  options.Option("--on-reboot", "WHAT", &on_reboot_,
                 "What a guest's reboot does: exit (default: the VM ends) or restart (it starts anew)");
  options.Flag("--paused", &paused_, "Do not start the vCPUs until `faultline resume`");
  options.Option("--log-level", "LEVEL", &log_level_,
                 "debug, info, warning (default), error or off; to standard error");
  options.Footer(
      "Keys of --memory, each a multiple of 2M where it is a size:\n"
      "  max=SIZE           boot memory and everything plugged together\n"
      "  slots=N            how many devices can be plugged at a time, up to 256\n"
      "  nodes=N            NUMA nodes, up to 8; those above 0 are for plugged memory (--node)\n"
      "  backing=KIND       anonymous (default), memfd, hugetlb or file:PATH\n"
      "  fault-around=SIZE  how much one fault brings in: auto (default), or 4K to 2M\n"
      "  auto               resize by itself, by what host and guest need (`faultline memory auto`); implies --balloon "
      "on;\n"
      "                     auto=dry-run only tells what it would do\n"
      "\n"
      "Keys of --disk: readonly, serial=TEXT. --net is user (the guest gets 10.0.2.15 by DHCP, gateway 10.0.2.2) or\n"
      "tap:NAME; its keys: hostfwd=tcp:127.0.0.1:8080-:80 (user), restricted (user), mac=ADDRESS. --disk, --net and\n"
      "--device may be given again and again.\n"
      "\n"
      "Keys of --virtio-mem: requested=SIZE (what the guest uses from the start; 0), block=SIZE (the unit, a power of\n"
      "two; 2M), id=ID (vmem0), backing=KIND. --balloon is on, or: size=SIZE (what it takes from the start),\n"
      "deflate-on-oom=on|off (the guest takes memory back before it kills processes; on), reporting=on|off (memory\n"
      "goes to the host whenever the guest frees it; on).\n"
      "\n"
      "With --xml, which takes what `faultline xml` and `virsh dumpxml` print, come --name, --console, --paused and\n"
      "--log-level alone, and the first two overrule the domain. What it asks for and cannot have is refused by name.\n"
      "\n"
      "The VM runs in the foreground. Without --kernel or --linux it has the built-in guest; type `help` at its\n"
      "prompt. On a terminal, Ctrl-A x ends the VM and Ctrl-A h shows the keys. SIGINT and SIGTERM end it in order.\n"
      "\n"
      "Exit status: 0 when the VM ended as asked (the guest powered off or shut down, kill, a signal, Ctrl-A x),\n"
      "1 when the VMM failed, 2 for wrong options, 4 when the guest rebooted, 6 when its kernel panicked, 8 after a\n"
      "triple fault, 10 when KVM could not run it; otherwise what it wrote to port 0xf4, times 2 plus 1.\n"
      "\n"
      "Examples:\n"
      "  faultline run\n"
      "  faultline run --name demo --cpus 2 --memory 256M,max=4G,slots=16\n"
      "  faultline run --name srv --console socket:/tmp/srv.console --on-unplugged-access stop\n"
      "  faultline run --linux --memory 512M\n"
      "  faultline run --kernel vmlinux --initrd initrd.cpio --append 'quiet' --cpus 4 --memory 1G\n"
      "  faultline run --linux --memory 512M --virtio-mem 4G,requested=1G --balloon on\n"
      "  faultline run --xml vm1.xml --name vm2 --console pty\n"
      "  echo 'mem' | faultline run");
}

RunOptions RunOptionTexts::FromXml() const {
  std::optional<std::string> other = guest_.AnyGiven();
  if (cpus_) other = "--cpus";
  if (memory_) other = "--memory";
  if (policy_) other = "--on-unplugged-access";
  if (on_reboot_) other = "--on-reboot";
  if (other) throw UsageError("--xml says all about the VM: leave out " + *other + " and change " + *xml_ + " instead");
  Domain domain = ReadDomainFile(*xml_);
  RunOptions options;
  options.machine = std::move(domain.machine);
  options.dimms = std::move(domain.dimms);
  options.console = std::move(domain.console);
  options.restart_on_reboot = domain.restart_on_reboot;
  return options;
}

RunOptions RunOptionTexts::FromOptions() const {
  RunOptions options;
  if (cpus_) options.machine.cpus = static_cast<unsigned>(ParseCount("--cpus", *cpus_, 1, 256));
  if (memory_) options.machine.memory = ParseMemoryOption(*memory_);
  if (policy_) options.machine.on_unplugged_access = ParseUnpluggedPolicy(*policy_);
  if (on_reboot_) options.restart_on_reboot = ParseOnReboot(*on_reboot_);
  Validate(options.machine);
  guest_.Parse(&options.machine);
  if (options.machine.memory.automatic != AutoMemoryMode::kOff) {
    if (options.machine.boot.kernel.empty()) {
      throw UsageError("--memory auto: the built-in guest has no balloon driver; boot one with --linux or --kernel");
    }
    if (!options.machine.balloon) options.machine.balloon.emplace();
  }
  return options;
}

RunOptions RunOptionTexts::Parse() const {
  // What is cheap to look at comes first: --linux may build a kernel.
  if (name_) CheckVmName(*name_);
  if (console_) Console::CheckSpec(*console_);
  const LogLevel log_level = log_level_ ? ParseLogLevel(*log_level_) : RunOptions().log_level;
  RunOptions options = xml_ ? FromXml() : FromOptions();
  if (name_) options.machine.name = *name_;
  if (!options.machine.name.empty()) CheckVmName(options.machine.name);
  if (console_) options.console = *console_;
  Console::CheckSpec(options.console);
  options.machine.start_paused = paused_;
  options.log_level = log_level;
  return options;
}

}  // namespace faultline
