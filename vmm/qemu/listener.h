// Sockets that QEMU's command line has us listen on.
#pragma once

#include <span>
#include <string>

#include "guestmem/host.h"
#include "vmm/qemu/plan.h"

namespace faultline {

// The listening socket of a kSocket: the one inherited as `fd`, or a new one at `path`, where a socket that was there
// before is replaced. Non-blocking, close-on-exec. Throws UsageError when `fd` is no listening socket, Error when the
// host refuses.
FileDescriptor Listen(const CharacterPlan& chardev);

// For a program that fails before it could answer: waits up to two seconds for whoever connects to one of the
// sockets that the command line passed, and hangs up. libvirt then looks into the program's log and shows what is
// there, instead of saying that nobody listened.
void HangUpOnCaller(std::span<const std::string> arguments);

}  // namespace faultline
