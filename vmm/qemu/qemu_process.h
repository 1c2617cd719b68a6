// One VM in this process, as QEMU's command line asked for it: machine, console, monitors and signals around one
// loop, with QEMU's habits at its end.
//
// Made and run on the main thread, which becomes the control thread. With -no-shutdown the process outlives the
// guest: libvirt hears SHUTDOWN, asks what it wants to know, and ends the process by a signal.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "guestmem/mutex.h"
#include "vmm/cli/console/console.h"
#include "vmm/cli/console/signals.h"
#include "vmm/control/event_loop.h"
#include "vmm/control/machine_control.h"
#include "vmm/control/machine_host.h"
#include "vmm/control/qmp_server.h"
#include "vmm/qemu/plan.h"

namespace faultline {

class QemuProcess {
 public:
  // Throws what its parts throw; nothing of it is left then.
  explicit QemuProcess(QemuPlan plan);
  ~QemuProcess();
  QemuProcess(const QemuProcess&) = delete;
  QemuProcess& operator=(const QemuProcess&) = delete;

  // Until the VM has ended or a signal came; returns the exit status.
  int Run();

 private:
  MachineConfig Config();
  VmControl::Surroundings Surroundings() const;
  void Reset();
  void OnSignal(int signal);
  void OnMachineEvent(const MachineEvent& event) EXCLUDES(relay_mutex_);
  void OnExit(const ExitStatus& status);
  void Emit(std::string_view name, const nlohmann::json& data) EXCLUDES(relay_mutex_);

  const QemuPlan plan_;
  EventLoop loop_;
  Signals signals_;
  std::unique_ptr<Console> console_;
  std::unique_ptr<Console> virtio_console_;  // null without one
  MachineHost machine_;
  MachineControl control_;

  // Carries machine events to the monitors while there are any.
  RankedMutex<LockRank::kControl> relay_mutex_;
  bool relaying_ GUARDED_BY(relay_mutex_) = false;
  std::vector<std::unique_ptr<QmpServer>> servers_;  // constant while relaying_
  int exit_status_ = 0;
};

// Answers questions on the plan's monitors until a signal or `quit` (QemuPlan::probe). `ready` is called once they
// can be connected to.
int RunProbe(const QemuPlan& plan, const std::function<void()>& ready);

}  // namespace faultline
