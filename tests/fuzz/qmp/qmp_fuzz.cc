// Any bytes on a QMP connection get answers that are JSON, or the connection is closed: through the whole session, its
// commands run on a VM that only remembers.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/vmm/control/fake_vm.h"
#include "vmm/control/qmp_session.h"

using faultline::FakeVm;
using faultline::FileDescriptor;
using faultline::Host;
using faultline::QmpSession;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) != 0) std::abort();
  FakeVm vm;
  std::string answers;
  const auto read_answers = [&] {
    std::array<char, 65536> piece;
    for (ssize_t n; (n = recv(ends[1], piece.data(), piece.size(), 0)) > 0;) answers.append(piece.data(), n);
  };
  {
    QmpSession session(FileDescriptor(Host::System(), ends[0]), vm, QmpSession::Limits{});
    constexpr std::string_view kHello = "{\"execute\":\"qmp_capabilities\"}\n";
    std::string input(kHello);
    input.append(reinterpret_cast<const char*>(data), size);
    for (size_t at = 0; at < input.size() && !session.finished();) {
      const ssize_t n = send(ends[1], input.data() + at, std::min<size_t>(input.size() - at, 4096), MSG_NOSIGNAL);
      if (n > 0) at += static_cast<size_t>(n);
      session.OnEvents(EPOLLIN | EPOLLOUT);
      read_answers();
    }
    read_answers();
  }
  close(ends[1]);
  for (size_t at = 0; at < answers.size();) {
    const size_t end = answers.find("\r\n", at);
    if (end == std::string::npos) break;  // closed in the middle of an answer
    if (!nlohmann::json::accept(answers.substr(at, end - at))) std::abort();
    at = end + 2;
  }
  return 0;
}
