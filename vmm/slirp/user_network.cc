#include "vmm/slirp/user_network.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <time.h>

#include <array>
#include <cerrno>
#include <cstdio>

#include "guestmem/error.h"

namespace faultline {
namespace {

// Frames taken in one round, so that the host's sockets get their turn.
constexpr unsigned kBatch = 64;
constexpr size_t kMaxFrame = 65536;

in_addr Address(const char* text) {
  in_addr address = {};
  inet_pton(AF_INET, text, &address);
  return address;
}

ssize_t SendToGuest(const void* frame, size_t size, void* opaque) {
  // What the VM does not take now is lost, as on a wire; TCP sends it again.
  send(*static_cast<const int*>(opaque), frame, size, MSG_DONTWAIT | MSG_NOSIGNAL);
  return static_cast<ssize_t>(size);
}

int64_t NowNs(void* /*opaque*/) {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

short ToPoll(int events) {
  int out = 0;
  if ((events & SLIRP_POLL_IN) != 0) out |= POLLIN;
  if ((events & SLIRP_POLL_OUT) != 0) out |= POLLOUT;
  if ((events & SLIRP_POLL_PRI) != 0) out |= POLLPRI;
  if ((events & SLIRP_POLL_ERR) != 0) out |= POLLERR;
  if ((events & SLIRP_POLL_HUP) != 0) out |= POLLHUP;
  return static_cast<short>(out);
}

int FromPoll(short events) {
  int out = 0;
  if ((events & POLLIN) != 0) out |= SLIRP_POLL_IN;
  if ((events & POLLOUT) != 0) out |= SLIRP_POLL_OUT;
  if ((events & POLLPRI) != 0) out |= SLIRP_POLL_PRI;
  if ((events & POLLERR) != 0) out |= SLIRP_POLL_ERR;
  if ((events & POLLHUP) != 0) out |= SLIRP_POLL_HUP;
  return out;
}

int AddPoll(int fd, int events, void* opaque) {
  auto& fds = *static_cast<std::vector<pollfd>*>(opaque);
  fds.push_back({fd, ToPoll(events), 0});
  return static_cast<int>(fds.size() - 1);
}

int PolledEvents(int index, void* opaque) {
  const auto& fds = *static_cast<const std::vector<pollfd>*>(opaque);
  return FromPoll(fds[static_cast<size_t>(index)].revents);
}

}  // namespace

UserNetwork::UserNetwork(int socket, bool restricted) : socket_(socket) {
  ::SlirpConfig config = {};
  config.version = 4;
  config.restricted = restricted ? 1 : 0;
  config.in_enabled = true;
  config.vnetwork = Address("10.0.2.0");
  config.vnetmask = Address("255.255.255.0");
  config.vhost = Address("10.0.2.2");
  config.vdhcp_start = Address("10.0.2.15");
  config.vnameserver = Address("10.0.2.3");
  callbacks_.send_packet = SendToGuest;
  callbacks_.guest_error = [](const char* message, void*) { fprintf(stderr, "user networking: %s\n", message); };
  callbacks_.clock_get_ns = NowNs;
  // Timers serve IPv6 router advertisements alone, which are off.
  callbacks_.register_poll_fd = [](int, void*) {};
  callbacks_.unregister_poll_fd = [](int, void*) {};
  callbacks_.notify = [](void*) {};
  slirp_ = slirp_new(&config, &callbacks_, const_cast<int*>(&socket_));
  if (slirp_ == nullptr) throw Error("libslirp does not start: check that libslirp0 4.7 or newer is installed");
}

UserNetwork::~UserNetwork() { slirp_cleanup(slirp_); }

void UserNetwork::Add(const HostForward& forward) {
  const in_addr guest = forward.guest_address.s_addr != 0 ? forward.guest_address : Address("10.0.2.15");
  if (slirp_add_hostfwd(slirp_, forward.udp ? 1 : 0, forward.host_address, forward.host_port, guest,
                        forward.guest_port) == 0) {
    return;
  }
  throw Error("port " + std::to_string(forward.host_port) + " of the host cannot be forwarded (" + ErrnoText(errno) +
              "): choose a port that is free, and above 1023 unless you are root");
}

bool UserNetwork::TakeFrames() {
  std::array<uint8_t, kMaxFrame> frame;
  for (unsigned i = 0; i < kBatch; ++i) {
    const ssize_t size = recv(socket_, frame.data(), frame.size(), MSG_DONTWAIT);
    if (size == 0) return false;
    if (size < 0) return errno == EAGAIN || errno == EINTR;
    slirp_input(slirp_, frame.data(), static_cast<int>(size));
  }
  return true;
}

void UserNetwork::Run() {
  for (bool open = true; open;) {
    fds_.assign(1, {socket_, POLLIN, 0});
    uint32_t timeout = UINT32_MAX;
    slirp_pollfds_fill(slirp_, &timeout, AddPoll, &fds_);
    const int count = poll(fds_.data(), fds_.size(), timeout > INT32_MAX ? -1 : static_cast<int>(timeout));
    slirp_pollfds_poll(slirp_, count < 0 ? 1 : 0, PolledEvents, &fds_);
    if (count > 0 && fds_[0].revents != 0) open = TakeFrames();
  }
}

}  // namespace faultline
