// A user-mode network behind a socket that carries one Ethernet frame a message: libslirp and its loop.
//
// Owned by the helper program's main; one thread. 10.0.2.0/24 with the gateway 10.0.2.2 (which answers for
// the host), the name server 10.0.2.3, and DHCP that gives out 10.0.2.15.
#pragma once

#include <libslirp.h>
#include <poll.h>

#include <vector>

#include "vmm/slirp/host_forward.h"

namespace faultline {

class UserNetwork {
 public:
  // `restricted`: the guest reaches nothing but what connects to it through forwards. `socket` stays the
  // caller's. Throws Error when libslirp gives none.
  UserNetwork(int socket, bool restricted);
  ~UserNetwork();
  UserNetwork(const UserNetwork&) = delete;
  UserNetwork& operator=(const UserNetwork&) = delete;

  // Throws Error when the host's port is taken or not for this user.
  void Add(const HostForward& forward);

  // Moves frames until the other end of the socket is closed.
  void Run();

 private:
  // False when the other end is gone.
  bool TakeFrames();

  const int socket_;
  SlirpCb callbacks_ = {};
  Slirp* slirp_ = nullptr;
  std::vector<pollfd> fds_;  // of one round; the socket is the first
};

}  // namespace faultline
