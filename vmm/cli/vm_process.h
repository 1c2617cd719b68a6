// One VM in this process, from its name to its end: machine, console, monitor and signals around one loop.
//
// Made and run on the main thread, which becomes the control thread. Throws what its parts throw; after
// that nothing of it is left (sockets, terminal settings).
#pragma once

#include <atomic>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "guestmem/host.h"
#include "guestmem/mutex.h"
#include "vmm/cli/console/console.h"
#include "vmm/cli/console/signals.h"
#include "vmm/cli/run_options.h"
#include "vmm/control/event_loop.h"
#include "vmm/control/machine_control.h"
#include "vmm/control/machine_host.h"
#include "vmm/control/qmp_server.h"
#include "vmm/control/vm_lease.h"
#include "vmm/machine/machine.h"

namespace faultline {

class VmProcess {
 public:
  // With `saved`, a file at its beginning, the VM is what was saved there (RunOptions::machine made of it), and goes
  // on from there once it is read, unless it is to start paused.
  explicit VmProcess(RunOptions options, FileDescriptor saved = {});
  ~VmProcess();
  VmProcess(const VmProcess&) = delete;
  VmProcess& operator=(const VmProcess&) = delete;

  const std::string& name() const { return lease_.name(); }
  std::string console() const { return console_->description(); }

  // Runs the VM until it ends or is told to, and takes it down. Throws Error when it could not be restored.
  ExitStatus Run();

 private:
  MachineConfig Config();
  // Once the monitor's command is answered.
  void Reset();
  // Now and then, for as long as the loop runs.
  void LookAtMemory();
  // Ends the loop, once; `why` is the sentence if nothing else ended the VM.
  void Quit(const std::string& why);
  void OnMachineEvent(const MachineEvent& event) EXCLUDES(relay_mutex_);
  void Emit(std::string_view name, const nlohmann::json& data) EXCLUDES(relay_mutex_);
  // After each change; on the loop's thread.
  void OnMigration();

  const RunOptions options_;
  FileDescriptor saved_;
  bool restoring_ = false;
  std::optional<std::string> restore_failure_;
  VmLease lease_;
  EventLoop loop_;
  Signals signals_;
  std::unique_ptr<Console> console_;
  MachineHost machine_;
  MachineControl control_;

  // Sends machine events to the monitor while there is one.
  RankedMutex<LockRank::kControl> relay_mutex_;
  QmpServer* relay_ GUARDED_BY(relay_mutex_) = nullptr;
  std::optional<QmpServer> server_;
  std::string quit_reason_;
};

// Runs it in the foreground as `faultline run` does: says where its console is, and how it ended. The exit status.
int RunAndReport(VmProcess& vm);

}  // namespace faultline
