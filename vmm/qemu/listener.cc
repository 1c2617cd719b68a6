#include "vmm/qemu/listener.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

#include "guestmem/error.h"
#include "vmm/control/option_values.h"

namespace faultline {
namespace {

bool Listens(int fd) {
  int listens = 0;
  socklen_t size = sizeof listens;
  return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens != 0;
}

FileDescriptor Inherited(const CharacterPlan& chardev) {
  if (!Listens(chardev.fd)) {
    throw UsageError("chardev '" + chardev.id + "': descriptor " + std::to_string(chardev.fd) +
                     " is not a socket that listens");
  }
  fcntl(chardev.fd, F_SETFD, FD_CLOEXEC);
  fcntl(chardev.fd, F_SETFL, fcntl(chardev.fd, F_GETFL) | O_NONBLOCK);
  return {Host::System(), chardev.fd};
}

}  // namespace

FileDescriptor Listen(const CharacterPlan& chardev) {
  if (chardev.fd >= 0) return Inherited(chardev);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (chardev.path.size() >= sizeof address.sun_path) {
    throw UsageError("chardev '" + chardev.id + "': the path " + chardev.path + " is longer than the " +
                     std::to_string(sizeof address.sun_path - 1) + " bytes a socket may have");
  }
  chardev.path.copy(address.sun_path, sizeof address.sun_path - 1);
  FileDescriptor listener(Host::System(), socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  unlink(chardev.path.c_str());
  if (!listener || bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener.get(), 16) != 0) {
    throw Error("chardev '" + chardev.id + "': a socket cannot be made at " + chardev.path + " (" + ErrnoText(errno) +
                "): check the directory");
  }
  return listener;
}

void HangUpOnCaller(std::span<const std::string> arguments) {
  constexpr int kPatienceMs = 2000;
  for (size_t i = 1; i < arguments.size(); ++i) {
    if (arguments[i - 1] != "-chardev") continue;
    int fd = -1;
    try {
      OptionValues values("-chardev", arguments[i], "backend");
      const auto given = values.TakeNumber("fd");
      if (!given || *given > INT_MAX) continue;
      fd = static_cast<int>(*given);
    } catch (const UsageError&) {
      continue;
    }
    if (!Listens(fd)) continue;
    pollfd caller{fd, POLLIN, 0};
    if (poll(&caller, 1, kPatienceMs) == 1) close(accept(fd, nullptr, nullptr));
    return;
  }
}

}  // namespace faultline
