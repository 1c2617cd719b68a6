#include "vmm/qemu/qemu_process.h"

#include <fcntl.h>

#include <csignal>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>
#include <variant>

#include "vmm/control/machine_events.h"
#include "vmm/qemu/listener.h"

namespace faultline {
namespace {

std::unique_ptr<Console> MakeConsole(EventLoop& loop, const CharacterPlan& plan) {
  switch (plan.kind) {
    case CharacterPlan::Kind::kPty:
      return MakePtyConsole(loop);
    case CharacterPlan::Kind::kFile:
      if (plan.fd >= 0) {
        fcntl(plan.fd, F_SETFD, FD_CLOEXEC);
        return MakeFileConsole(FileDescriptor(Host::System(), plan.fd), plan.path);
      }
      return MakeFileConsole(plan.path, plan.append);
    case CharacterPlan::Kind::kSocket:
      return MakeSocketConsole(loop, Listen(plan), plan.path);
    case CharacterPlan::Kind::kNull:
      break;
  }
  return Console::Create(loop, "none", "");
}

// What query-chardev says in "filename".
std::string Filename(const CharacterPlan& plan, const std::string& description) {
  switch (plan.kind) {
    case CharacterPlan::Kind::kPty:
      return description;
    case CharacterPlan::Kind::kFile:
      return "file";
    case CharacterPlan::Kind::kSocket:
      return "unix:" + plan.path + ",server=on";
    case CharacterPlan::Kind::kNull:
      break;
  }
  return "null";
}

}  // namespace

QemuProcess::QemuProcess(QemuPlan plan)
    : plan_(std::move(plan)),
      signals_(loop_, {SIGINT, SIGTERM, SIGHUP}, [this](int signal) { OnSignal(signal); }),
      console_(MakeConsole(loop_, plan_.console)),
      virtio_console_(plan_.machine.devices.console ? MakeConsole(loop_, plan_.virtio_console) : nullptr),
      machine_(Config(), [this](const MachineEvent& event) { OnMachineEvent(event); }),
      control_(machine_, Surroundings(),
               {.quit = [this] { loop_.Quit(); },
                .reset = [this] { Reset(); },
                .emit = [this](std::string_view name, const nlohmann::json& data) { Emit(name, data); }}) {
  for (const PlugRequest& dimm : plan_.dimms) machine_.machine().PlugMemory(dimm);
  control_.cards() = plan_.cards;
  for (const BackendPlan& backend : plan_.backends) {
    control_.backends().Add(backend.id, backend.backing, backend.size);
    control_.backends().SetDevice(backend.id, backend.device);
  }
  for (const CharacterPlan& monitor : plan_.monitors) {
    servers_.push_back(std::make_unique<QmpServer>(loop_, Listen(monitor), control_, QmpServer::Limits{}));
  }
  MutexLock lock(relay_mutex_);
  relaying_ = true;
}

QemuProcess::~QemuProcess() {
  control_.EndMigration();
  MutexLock lock(relay_mutex_);
  relaying_ = false;
}

MachineConfig QemuProcess::Config() {
  MachineConfig config = plan_.machine;
  config.console_output = [this](std::span<const std::byte> data) { console_->Write(data); };
  if (virtio_console_) {
    config.virtio_console_output = [this](std::span<const std::byte> data) { virtio_console_->Write(data); };
  }
  return config;
}

VmControl::Surroundings QemuProcess::Surroundings() const {
  VmControl::Surroundings surroundings;
  surroundings.console = console_->description();
  surroundings.inventory = plan_.inventory;
  if (!plan_.console.id.empty()) {
    surroundings.inventory.chardevs.push_back({plan_.console.id, Filename(plan_.console, console_->description())});
  }
  if (!plan_.virtio_console.id.empty()) {
    surroundings.inventory.chardevs.push_back(
        {plan_.virtio_console.id, Filename(plan_.virtio_console, virtio_console_->description())});
  }
  for (const CharacterPlan& monitor : plan_.monitors) {
    surroundings.inventory.chardevs.push_back({monitor.id, Filename(monitor, "")});
  }
  return surroundings;
}

void QemuProcess::Emit(std::string_view name, const nlohmann::json& data) {
  MutexLock lock(relay_mutex_);
  if (!relaying_) return;
  for (const auto& server : servers_) server->Emit(name, data);
}

void QemuProcess::OnSignal(int /*signal*/) {
  Emit("SHUTDOWN", {{"guest", false}, {"reason", "host-signal"}});
  loop_.Quit();
}

void QemuProcess::Reset() {
  // Once the command is answered.
  loop_.Post([this] {
    Emit("RESET", {{"guest", false}, {"reason", "host-qmp-system-reset"}});
    machine_.Reset();
  });
}

void QemuProcess::OnMachineEvent(const MachineEvent& event) {
  if (const auto* exited = std::get_if<ExitedEvent>(&event)) {
    OnExit(exited->status);
    return;
  }
  TranslateMachineEvent(event, [this](std::string_view name, const nlohmann::json& data) { Emit(name, data); });
}

void QemuProcess::OnExit(const ExitStatus& status) {
  if (status.kind == ExitKind::kKilled) return;
  if (status.kind == ExitKind::kReboot && !plan_.end_on_reboot) {
    Emit("RESET", {{"guest", true}, {"reason", "guest-reset"}});
    loop_.Post([this] { machine_.Restart(false); });
    return;
  }
  // libvirt shows the end of this process's log to whoever asks why a VM ended.
  if (status.kind != ExitKind::kShutdown) std::fprintf(stderr, "%s\n", status.sentence.c_str());
  if (status.kind == ExitKind::kPanic) Emit("GUEST_PANICKED", {{"action", "poweroff"}});
  TranslateMachineEvent(ExitedEvent{status},
                        [this](std::string_view name, const nlohmann::json& data) { Emit(name, data); });
  if (plan_.stay_after_shutdown) {
    Emit("STOP", nullptr);
  } else {
    loop_.Post([this, code = status.code] {
      exit_status_ = code;
      loop_.Quit();
    });
  }
}

int QemuProcess::Run() {
  // What is typed before the VM is restored waits: its serial port is about to be as it was.
  console_->Start({[this](std::span<const std::byte> typed) {
                     const bool waits = machine_.machine().config().incoming && !control_.MigrationState().restored();
                     return waits ? 0 : machine_.machine().ConsoleInput(typed);
                   },
                   [] {}});
  if (virtio_console_) {
    virtio_console_->Start(
        {[this](std::span<const std::byte> typed) { return machine_.machine().VirtioConsoleInput(typed); }, [] {}});
  }
  machine_.machine().Start();
  loop_.Run();
  control_.EndMigration();
  machine_.machine().Stop();
  for (const auto& server : servers_) server->DeliverEvents();
  console_->Finish();
  if (virtio_console_) virtio_console_->Finish();
  return exit_status_;
}

}  // namespace faultline
