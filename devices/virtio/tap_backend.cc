// A tap interface of the host's as the other end of a network card.
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <cerrno>

#include "devices/virtio/devices.h"
#include "devices/virtio/net_backend.h"
#include "guestmem/error.h"

namespace faultline {
namespace {

std::string Complaint(const std::string& name, int error) {
  const std::string what = "tap interface '" + name + "'";
  switch (error) {
    case EBUSY:
      return what + " is in use by another program: end that one, or give another interface";
    case EINVAL:
      return what + " is not a tap interface: create one with `ip tuntap add NAME mode tap`";
    case EPERM:
      return what + " belongs to another user: create it with `ip tuntap add " + name + " mode tap user $USER`";
    default:
      return what + " cannot be opened (" + ErrnoText(error) + "): check `ip tuntap`";
  }
}

}  // namespace

std::unique_ptr<NetBackend> MakeTapBackend(const std::string& name) {
  // Looked up first: opening one that does not exist would create it.
  if (name.size() >= IFNAMSIZ || if_nametoindex(name.c_str()) == 0) {
    throw UsageError("there is no tap interface '" + name + "': create it with `ip tuntap add " + name + " mode tap`");
  }
  Host& host = Host::System();
  FileDescriptor tap(host, host.Open("/dev/net/tun", O_RDWR | O_CLOEXEC, 0));
  if (!tap)
    throw Error("tap interfaces are out of reach (/dev/net/tun: " + ErrnoText(-tap.get()) + "): load module tun");
  ifreq request = {};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  if (const int error = host.Ioctl(tap.get(), TUNSETIFF, &request); error < 0) throw Error(Complaint(name, -error));
  return std::make_unique<NetBackend>(std::move(tap));
}

std::unique_ptr<NetBackend> MakeTapBackend(const FileDescriptor& tap) {
  Host& host = Host::System();
  ifreq request = {};
  if (host.Ioctl(tap.get(), TUNGETIFF, &request) < 0 || (request.ifr_flags & IFF_TAP) == 0 ||
      (request.ifr_flags & IFF_NO_PI) == 0) {
    throw UsageError("the descriptor passed for a network card is no tap interface opened with IFF_TAP and IFF_NO_PI");
  }
  FileDescriptor own(host, fcntl(tap.get(), F_DUPFD_CLOEXEC, 0));
  if (!own) throw Error("a tap interface's descriptor cannot be copied (" + ErrnoText(errno) + ")");
  if ((request.ifr_flags & IFF_VNET_HDR) == 0) return std::make_unique<NetBackend>(std::move(own));
  // Whoever opened it wants frames to carry offsets of checksums and segments. Ours need none: with no offload asked
  // for, the kernel finishes each frame itself, and the header before it is all zero.
  int header = 10;  // the shortest there is: virtio_net_hdr without num_buffers (virtio 1.2 §5.1.6)
  if (host.Ioctl(own.get(), TUNSETVNETHDRSZ, &header) < 0 || ioctl(own.get(), TUNSETOFFLOAD, 0UL) < 0) {
    throw Error("a tap interface does not take its settings (" + ErrnoText(errno) + ")");
  }
  return std::make_unique<NetBackend>(std::move(own), static_cast<size_t>(header));
}

}  // namespace faultline
