#include <csignal>

#include "vmm/qemu/listener.h"
#include "vmm/qemu/probe_control.h"
#include "vmm/qemu/qemu_process.h"

namespace faultline {

int RunProbe(const QemuPlan& plan, const std::function<void()>& ready) {
  EventLoop loop;
  const Signals signals(loop, {SIGINT, SIGTERM, SIGHUP}, [&loop](int) { loop.Quit(); });
  ProbeControl control([&loop] { loop.Quit(); });
  std::vector<std::unique_ptr<QmpServer>> servers;
  for (const CharacterPlan& monitor : plan.monitors) {
    servers.push_back(std::make_unique<QmpServer>(loop, Listen(monitor), control, QmpServer::Limits{}));
  }
  ready();
  loop.Run();
  return 0;
}

}  // namespace faultline
