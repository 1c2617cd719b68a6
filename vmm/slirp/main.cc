// faultline-slirp: the user networking of one VM, a process of its own so that what the network sends at it
// cannot reach the VM. Started by faultline with a SOCK_SEQPACKET socket as standard input; the first message
// it sends there says how its start went (devices/virtio/slirp_backend.cc). Ends with the socket.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <string_view>

#include "guestmem/error.h"
#include "vmm/slirp/user_network.h"

namespace faultline {
namespace {

void Report(char how, std::string_view sentence) {
  const std::string message = how + std::string(sentence);
  send(STDIN_FILENO, message.data(), message.size(), MSG_NOSIGNAL);
}

int RunHelper(int argc, char** argv) {
  int type = 0;
  socklen_t size = sizeof(type);
  if (getsockopt(STDIN_FILENO, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_SEQPACKET) {
    fprintf(stderr, "faultline-slirp is started by faultline: use faultline run --net user\n");
    return 2;
  }
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  signal(SIGPIPE, SIG_IGN);
  try {
    std::vector<HostForward> forwards;
    bool restricted = false;
    for (int i = 1; i < argc; ++i) {
      const std::string_view argument = argv[i];
      if (argument == "--restrict") {
        restricted = true;
      } else if (argument == "--hostfwd" && i + 1 < argc) {
        forwards.push_back(ParseHostForward(argv[++i]));
      } else {
        throw UsageError("faultline-slirp knows no option '" + std::string(argument) +
                         "': use the one of this version");
      }
    }
    UserNetwork network(STDIN_FILENO, restricted);
    for (const HostForward& forward : forwards) network.Add(forward);
    Report('O', "");
    network.Run();
    return 0;
  } catch (const UsageError& e) {
    Report('U', e.what());
  } catch (const std::exception& e) {
    Report('E', e.what());
  }
  return 1;
}

}  // namespace
}  // namespace faultline

int main(int argc, char** argv) { return faultline::RunHelper(argc, argv); }
