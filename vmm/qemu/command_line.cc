#include "vmm/qemu/command_line.h"

#include <array>
#include <functional>
#include <string_view>

#include "guestmem/error.h"

namespace faultline {
namespace {

constexpr uint64_t kMaxFd = 1 << 20;

using Handler = void (*)(const std::string& value, QemuCommandLine* line);

struct Option {
  std::string_view name;
  bool has_value;
  Handler handler;
};

void Nothing(const std::string& /*value*/, QemuCommandLine* /*line*/) {}

void SetName(const std::string& value, QemuCommandLine* line) {
  OptionValues values("-name", value, "guest");
  line->name = values.Take("guest").value_or("");
  values.Ignore("debug-threads");
  values.Ignore("process");
  values.Finish();
}

void AddFd(const std::string& value, QemuCommandLine* line) {
  OptionValues values("-add-fd", value, "");
  const auto set = values.TakeNumber("set");
  const auto fd = values.TakeNumber("fd");
  values.Ignore("opaque");
  values.Finish();
  if (!set || !fd || *fd > kMaxFd) throw UsageError("-add-fd: write set=NUMBER,fd=DESCRIPTOR");
  line->fd_sets[*set] = static_cast<int>(*fd);
}

void CheckDisplay(const std::string& value, QemuCommandLine* /*line*/) {
  if (value != "none")
    throw UsageError("-display " + value + ": there is no graphics; remove <graphics> from the domain");
}

void CheckVga(const std::string& value, QemuCommandLine* /*line*/) {
  if (value != "none") throw UsageError("-vga " + value + ": there is no graphics; remove <video> from the domain");
}

void CheckRtc(const std::string& value, QemuCommandLine* /*line*/) {
  OptionValues values("-rtc", value, "base");
  if (values.Take("base").value_or("utc") != "utc") {
    throw UsageError("-rtc: the clock runs in UTC; write <clock offset='utc'/> in the domain");
  }
  values.Accept("clock", "host");
  values.Ignore("driftfix");  // there is no periodic interrupt that could be lost
  values.Finish();
}

void CheckBoot(const std::string& value, QemuCommandLine* /*line*/) {
  // A kernel is started directly, whatever the order of devices.
  OptionValues values("-boot", value, "order");
  for (const char* key : {"order", "strict", "menu"}) values.Ignore(key);
  values.Finish();
}

void CheckOvercommit(const std::string& value, QemuCommandLine* /*line*/) {
  OptionValues values("-overcommit", value, "");
  if (values.TakeBool("mem-lock").value_or(false)) {
    throw UsageError("-overcommit: memory cannot be locked; remove <locked/> from <memoryBacking>");
  }
  values.Accept("cpu-pm", "off");
  values.Finish();
}

void CheckSandbox(const std::string& value, QemuCommandLine* /*line*/) {
  OptionValues values("-sandbox", value, "enable");
  if (values.TakeBool("enable").value_or(false)) {
    throw UsageError("-sandbox: there is none yet; write seccomp_sandbox = 0 in libvirt's qemu.conf");
  }
  values.Finish();
}

void CheckGlobal(const std::string& value, QemuCommandLine* /*line*/) {
  // Sleep states that are off here anyway, and a clock that loses no ticks.
  static constexpr std::array<std::string_view, 4> kTrue{"PIIX4_PM.disable_s3=1", "PIIX4_PM.disable_s4=1",
                                                         "ICH9-LPC.disable_s3=1", "ICH9-LPC.disable_s4=1"};
  if (value.starts_with("kvm-pit.lost_tick_policy=")) return;
  for (const std::string_view known : kTrue) {
    if (value == known) return;
  }
  throw UsageError("-global " + value.substr(0, 60) + ": not supported; the machine has no such property");
}

void SetIncoming(const std::string& value, QemuCommandLine* line) {
  if (value != "defer") throw UsageError("-incoming: write defer, and send migrate-incoming to the monitor");
  line->incoming = true;
}

void CheckAudio(const std::string& value, QemuCommandLine* /*line*/) {
  OptionValues values("-audiodev", value, "driver");
  if (values.Take("driver") != "none") {
    throw UsageError("-audiodev: there is no sound; write <audio id='1' type='none'/> in the domain");
  }
}

void RefuseNoAcpi(const std::string& /*value*/, QemuCommandLine* /*line*/) {
  throw UsageError("-no-acpi: the machine has ACPI; write <features><acpi/></features> in the domain");
}

template <std::vector<OptionValues> QemuCommandLine::*kList>
void Append(std::string_view option, const std::string& value, std::string_view implied, QemuCommandLine* line) {
  (line->*kList).emplace_back(std::string(option), value, implied);
}

template <std::optional<OptionValues> QemuCommandLine::*kOne>
void SetOnce(std::string_view option, const std::string& value, std::string_view implied, QemuCommandLine* line) {
  if ((line->*kOne).has_value()) throw UsageError(std::string(option) + " is given twice");
  (line->*kOne).emplace(std::string(option), value, implied);
}

using Line = QemuCommandLine;
using Text = std::string;

constexpr std::array kOptions{
    Option{"S", false, [](const Text&, Line* line) { line->paused = true; }},
    Option{"M", true, [](const Text& v, Line* line) { SetOnce<&Line::machine>("-machine", v, "type", line); }},
    Option{"accel", true, [](const Text& v, Line* line) { SetOnce<&Line::accel>("-accel", v, "accel", line); }},
    Option{"add-fd", true, AddFd},
    Option{"append", true, [](const Text& v, Line* line) { line->append = v; }},
    Option{"audiodev", true, CheckAudio},
    Option{"blockdev", true, [](const Text& v, Line* line) { Append<&Line::blockdevs>("-blockdev", v, "", line); }},
    Option{"boot", true, CheckBoot},
    Option{"chardev", true, [](const Text& v, Line* line) { Append<&Line::chardevs>("-chardev", v, "backend", line); }},
    Option{"cpu", true, [](const Text& v, Line* line) { SetOnce<&Line::cpu>("-cpu", v, "model", line); }},
    Option{"daemonize", false, [](const Text&, Line* line) { line->daemonize = true; }},
    Option{"device", true, [](const Text& v, Line* line) { Append<&Line::devices>("-device", v, "driver", line); }},
    Option{"display", true, CheckDisplay},
    Option{"enable-kvm", false, Nothing},
    Option{"global", true, CheckGlobal},
    Option{"incoming", true, SetIncoming},
    Option{"initrd", true, [](const Text& v, Line* line) { line->initrd = v; }},
    Option{"kernel", true, [](const Text& v, Line* line) { line->kernel = v; }},
    Option{"m", true, [](const Text& v, Line* line) { SetOnce<&Line::memory>("-m", v, "size", line); }},
    Option{"machine", true, [](const Text& v, Line* line) { SetOnce<&Line::machine>("-machine", v, "type", line); }},
    Option{"mon", true, [](const Text& v, Line* line) { Append<&Line::monitors>("-mon", v, "chardev", line); }},
    Option{"msg", true, Nothing},
    Option{"name", true, SetName},
    Option{"netdev", true, [](const Text& v, Line* line) { Append<&Line::netdevs>("-netdev", v, "type", line); }},
    Option{"no-acpi", false, RefuseNoAcpi},
    Option{"no-hpet", false, Nothing},
    Option{"no-reboot", false, [](const Text&, Line* line) { line->no_reboot = true; }},
    Option{"no-shutdown", false, [](const Text&, Line* line) { line->no_shutdown = true; }},
    Option{"no-user-config", false, Nothing},
    Option{"nodefaults", false, Nothing},
    Option{"nographic", false, Nothing},
    Option{"numa", true, [](const Text& v, Line* line) { Append<&Line::numa>("-numa", v, "type", line); }},
    Option{"object", true, [](const Text& v, Line* line) { Append<&Line::objects>("-object", v, "qom-type", line); }},
    Option{"overcommit", true, CheckOvercommit},
    Option{"pidfile", true, [](const Text& v, Line* line) { line->pid_file = v; }},
    Option{"qmp", true, [](const Text& v, Line* line) { line->monitor_addresses.push_back(v); }},
    Option{"rtc", true, CheckRtc},
    Option{"sandbox", true, CheckSandbox},
    Option{"smp", true, [](const Text& v, Line* line) { SetOnce<&Line::smp>("-smp", v, "cpus", line); }},
    Option{"uuid", true, Nothing},
    Option{"vga", true, CheckVga},
};

const Option& Find(std::string_view word) {
  std::string_view name = word;
  if (name.starts_with("--")) name.remove_prefix(1);
  if (name.starts_with('-')) {
    name.remove_prefix(1);
    for (const Option& option : kOptions) {
      if (option.name == name) return option;
    }
  }
  throw UsageError("'" + std::string(word.substr(0, 60)) + "' is not an option that is supported; --help shows them");
}

}  // namespace

QemuCommandLine CollectOptions(std::span<const std::string> arguments) {
  QemuCommandLine line;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const Option& option = Find(arguments[i]);
    if (!option.has_value) {
      option.handler("", &line);
      continue;
    }
    if (++i == arguments.size()) throw UsageError("-" + std::string(option.name) + " needs a value");
    option.handler(arguments[i], &line);
  }
  return line;
}

}  // namespace faultline
