// Where the built-in guest's C++ begins, on every vCPU.
#include "vmm/builtin_guest/commands.h"
#include "vmm/builtin_guest/console.h"
#include "vmm/builtin_guest/job.h"
#include "vmm/builtin_guest/memory_map.h"
#include "vmm/builtin_guest/payload.h"

namespace faultline::guest {
namespace {

[[noreturn]] void ConsoleLoop() {
  InitMemoryMap();
  const uint32_t cpus = mailbox().cpu_count;
  PrintLine("faultline guest, ", cpus, cpus == 1 ? " vCPU" : " vCPUs");
  PollSlots(true);
  ShowMemory();
  PrintLine("type help for what can be done");
  ShowPrompt();
  bool woken = true;
  for (;;) {
    if (woken) PollSlots();
    if (ShutdownRequested()) {
      BeginNotice();
      PrintLine("shutdown requested");
      Halt();
    }
    Text line;
    while (PollLine(line)) {
      PollSlots();
      RunCommand(line);
      if (ShutdownRequested()) Halt();
      ShowPrompt();
    }
    woken = IdleWait();
    if (TakeMissedWake()) woken = true;
  }
}

}  // namespace
}  // namespace faultline::guest

extern "C" [[noreturn]] void GuestMain(uint32_t cpu_index);

extern "C" void GuestMain(uint32_t cpu_index) {
  using namespace faultline::guest;
  if (mailbox().magic != kMailboxMagic || mailbox().version != kMailboxVersion) {
    for (;;) DebugExit(1);
  }
  if (mailbox().mode == kModeStorm) {
    StormMain(cpu_index);
    for (;;) IdleWait();
  }
  if (cpu_index == 0) ConsoleLoop();
  HelperLoop();
}
