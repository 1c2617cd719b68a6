#include "vmm/cli/vm_process.h"

#include <csignal>
#include <nlohmann/json.hpp>
#include <utility>
#include <variant>

#include "guestmem/error.h"
#include "guestmem/hex.h"
#include "vmm/cli/output.h"
#include "vmm/cli/quantity.h"
#include "vmm/control/machine_events.h"
#include "vmm/control/runtime_dir.h"

namespace faultline {
namespace {

VmLease Claim(const std::string& name) {
  const std::string directory = RuntimeDirectory();
  return name.empty() ? VmLease::OfAnyName(directory) : VmLease(directory, name);
}

void LogAccess(const UnpluggedAccessEvent& e, UnpluggedPolicy policy) {
  const LogLevel level = policy == UnpluggedPolicy::kLog ? LogLevel::kWarning : LogLevel::kInfo;
  if (!LogEnabled(level)) return;
  Log(level, std::string("unplugged memory was ") + (e.write ? "written" : "read") + " by vCPU " +
                 std::to_string(e.vcpu) + " at " + Hex(e.gpa.value) + ", RIP " + Hex(e.rip));
}

void RelayTo(QmpServer* server, const MachineEvent& event) {
  TranslateMachineEvent(event, [server](std::string_view name, const nlohmann::json& data) {
    server->Emit(name, data);
    if (LogEnabled(LogLevel::kDebug)) Log(LogLevel::kDebug, std::string(name) + " " + ToText(data));
  });
}

}  // namespace

VmProcess::VmProcess(RunOptions options, FileDescriptor saved)
    : options_(std::move(options)),
      saved_(std::move(saved)),
      lease_(Claim(options_.machine.name)),
      signals_(loop_, {SIGINT, SIGTERM, SIGHUP},
               [this](int signal) {
                 Quit(signal == SIGINT    ? "SIGINT ended it"
                      : signal == SIGTERM ? "SIGTERM ended it"
                                          : "its terminal is gone");
               }),
      console_(Console::Create(loop_, options_.console, lease_.name())),
      machine_(Config(), [this](const MachineEvent& event) { OnMachineEvent(event); }),
      control_(machine_,
               {.console = console_->description(),
                .restart_on_reboot = options_.restart_on_reboot,
                .inventory = {{}, {{"serial0", console_->description()}}}},
               {.quit = [this] { Quit("it was killed"); },
                .reset = [this] { Reset(); },
                .emit =
                    [this](std::string_view name, const nlohmann::json& data) {
                      Emit(name, data);
                      loop_.Post([this] { OnMigration(); });
                    }}) {
  for (const PlugRequest& dimm : options_.dimms) machine_.machine().PlugMemory(dimm);
  server_.emplace(loop_, lease_.Listen(), control_, QmpServer::Limits{});
  MutexLock lock(relay_mutex_);
  relay_ = &*server_;
}

VmProcess::~VmProcess() {
  control_.EndMigration();
  MutexLock lock(relay_mutex_);
  relay_ = nullptr;
}

MachineConfig VmProcess::Config() {
  MachineConfig config = options_.machine;
  config.name = lease_.name();
  config.console_output = [this](std::span<const std::byte> data) { console_->Write(data); };
  return config;
}

void VmProcess::Reset() {
  loop_.Post([this] {
    server_->Emit("RESET", {{"guest", false}, {"reason", "host-qmp-system-reset"}});
    machine_.Reset();
  });
}

void VmProcess::LookAtMemory() {
  control_.auto_memory().Tick(control_, EventLoop::Clock::now());
  loop_.AddTimer(AutoMemory::kPeriod, [this] { LookAtMemory(); });
}

void VmProcess::Quit(const std::string& why) {
  if (quit_reason_.empty()) quit_reason_ = why;
  loop_.Quit();
}

void VmProcess::OnMachineEvent(const MachineEvent& event) {
  if (const auto* access = std::get_if<UnpluggedAccessEvent>(&event)) {
    LogAccess(*access, options_.machine.on_unplugged_access);
  }
  if (const auto* paused = std::get_if<PausedEvent>(&event); paused && paused->reason != PauseReason::kRequested) {
    Log(LogLevel::kWarning, "the VM is paused: " + paused->sentence);
  }
  if (const auto* broken = std::get_if<DeviceBrokenEvent>(&event)) {
    Log(LogLevel::kWarning, broken->device + " " + broken->sentence);
  }
  const auto* exited = std::get_if<ExitedEvent>(&event);
  const bool restarts = exited != nullptr && exited->status.kind == ExitKind::kReboot && options_.restart_on_reboot;
  {
    MutexLock lock(relay_mutex_);
    if (QmpServer* server = relay_; server != nullptr) {
      if (restarts) {
        server->Emit("RESET", {{"guest", true}, {"reason", "guest-reset"}});
      } else {
        RelayTo(server, event);
      }
    }
  }
  if (exited == nullptr) return;
  if (restarts) {
    loop_.Post([this] { machine_.Restart(false); });
  } else {
    loop_.Quit();
  }
}

void VmProcess::Emit(std::string_view name, const nlohmann::json& data) {
  MutexLock lock(relay_mutex_);
  if (relay_ != nullptr) relay_->Emit(name, data);
}

void VmProcess::OnMigration() {
  const MigrationInfo info = control_.MigrationState();
  if (!restoring_ || info.active()) return;
  restoring_ = false;
  if (!info.restored()) {
    restore_failure_ = info.error;
    loop_.Quit();
  } else if (!options_.machine.start_paused) {
    control_.Resume();
  }
}

ExitStatus VmProcess::Run() {
  restoring_ = static_cast<bool>(saved_);
  // What is typed while the VM comes back waits: its serial port is about to be as it was.
  console_->Start(
      {[this](std::span<const std::byte> typed) { return restoring_ ? 0 : machine_.machine().ConsoleInput(typed); },
       [this] { Quit("Ctrl-A x ended it"); }});
  machine_.machine().Start();
  if (options_.machine.balloon) {
    control_.auto_memory().SetMode(options_.machine.memory.automatic, control_);
    LookAtMemory();
  }
  if (restoring_) control_.Restore(std::move(saved_));
  loop_.Run();
  control_.EndMigration();
  machine_.machine().Stop();
  ExitStatus status = machine_.machine().WaitForExit();
  if (status.kind == ExitKind::kKilled && !quit_reason_.empty()) status.sentence = quit_reason_;
  server_->DeliverEvents();
  console_->Finish();
  if (restore_failure_) throw Error(*restore_failure_);
  return status;
}

int RunAndReport(VmProcess& vm) {
  // A reader that goes away must not take the VM with it.
  std::signal(SIGPIPE, SIG_IGN);
  if (vm.console() != "stdio") Print("VM '" + vm.name() + "' is running; its console is " + vm.console() + "\n");
  const ExitStatus status = vm.Run();
  const std::string line = "VM '" + vm.name() + "' ended: " + status.sentence;
  if (status.kind == ExitKind::kCrash || status.kind == ExitKind::kError) {
    PrintError(line);
  } else {
    PrintRemark(line);
  }
  return status.code;
}

}  // namespace faultline
