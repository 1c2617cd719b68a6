#include "vmm/control/qmp_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "vmm/control/qmp_error.h"
#include "vmm/control/qmp_message.h"

namespace faultline {

using nlohmann::json;

namespace {

// Replies are our own program's, but a runaway one must not eat the client's memory.
constexpr MessageSplitter::Limits kReplyLimits{.bytes = size_t{64} << 20, .depth = 64};

[[noreturn]] void ThrowReply(const json& error) {
  const std::string desc = error.value("desc", "The VM gave no reason");
  if (error.value(kUsageMark, false)) throw UsageError(desc);
  throw Error(desc);
}

// unix(7), SCM_RIGHTS.
ssize_t SendWithDescriptor(int socket, std::string_view text, int fd) {
  std::string copy(text);
  iovec data{copy.data(), copy.size()};
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &fd, sizeof(int));
  return sendmsg(socket, &message, MSG_NOSIGNAL);
}

}  // namespace

QmpClient::QmpClient(const std::string& socket_path, std::string name, Clock::time_point deadline)
    : name_(std::move(name)),
      socket_(Host::System(), socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)),
      splitter_(kReplyLimits) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path) throw Error("The socket path " + socket_path + " is too long");
  socket_path.copy(address.sun_path, sizeof address.sun_path - 1);
  for (;;) {
    if (connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) break;
    // A full backlog, or a VM that holds its lock already and is about to bind.
    if (errno != EAGAIN && errno != ENOENT && errno != ECONNREFUSED) {
      throw Error("VM '" + name_ + "' cannot be reached at " + socket_path + " (" + ErrnoText(errno) + ")");
    }
    if (Clock::now() >= deadline) ThrowLate();
    poll(nullptr, 0, 2);
  }
  const json greeting = NextMessage(deadline);
  if (const auto error = greeting.find("error"); error != greeting.end()) ThrowReply(*error);
  if (!greeting.contains("QMP")) throw Error("What answers at " + socket_path + " does not speak QMP");
  Execute("qmp_capabilities", json::object(), deadline);
}

QmpClient::~QmpClient() = default;

void QmpClient::ThrowLate() const {
  throw Error("VM '" + name_ + "' does not answer; `faultline kill " + name_ + "` ends it by force");
}

bool QmpClient::WaitFor(short events, Clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd fd{socket_.get(), events, 0};
    const int n = poll(&fd, 1, static_cast<int>(std::clamp<int64_t>(left, 0, 1 << 30)));
    if (n > 0) return true;
    if (n == 0 && Clock::now() >= deadline) return false;
  }
}

void QmpClient::SendLine(std::string line, int fd, Clock::time_point deadline) {
  line += "\r\n";
  std::string_view rest = line;
  while (!rest.empty()) {
    const ssize_t n = fd >= 0 ? SendWithDescriptor(socket_.get(), rest, fd)
                              : send(socket_.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (n > 0) {
      rest.remove_prefix(static_cast<size_t>(n));
      fd = -1;
    } else if (errno == EAGAIN) {
      if (!WaitFor(POLLOUT, deadline)) ThrowLate();
    } else if (errno != EINTR) {
      throw VmGone("VM '" + name_ + "' has ended");
    }
  }
}

std::optional<json> QmpClient::Receive(Clock::time_point deadline) {
  for (;;) {
    if (auto item = splitter_.Next()) {
      if (item->kind == MessageSplitter::Kind::kMessage) return ParseJson(item->text);
      throw Error("VM '" + name_ + "' answered with something that is not QMP");
    }
    if (!WaitFor(POLLIN, deadline)) return std::nullopt;
    std::array<char, 16384> buffer;
    const ssize_t n = recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (n > 0) {
      splitter_.Feed({buffer.data(), static_cast<size_t>(n)});
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
      throw VmGone("VM '" + name_ + "' has ended");
    }
  }
}

json QmpClient::NextMessage(Clock::time_point deadline) {
  auto message = Receive(deadline);
  if (!message) ThrowLate();
  return *std::move(message);
}

json QmpClient::Execute(std::string_view command, const json& arguments, Clock::time_point deadline) {
  json request{{"execute", command}};
  if (!arguments.empty()) request["arguments"] = arguments;
  SendLine(ToLine(request), -1, deadline);
  return AwaitReply(deadline);
}

void QmpClient::PassDescriptor(const std::string& name, int fd, Clock::time_point deadline) {
  SendLine(ToLine({{"execute", "getfd"}, {"arguments", {{"fdname", name}}}}), fd, deadline);
  AwaitReply(deadline);
}

json QmpClient::AwaitReply(Clock::time_point deadline) {
  for (;;) {
    json message = NextMessage(deadline);
    if (message.contains("event")) {
      events_.push_back(ToLine(message));
    } else if (const auto error = message.find("error"); error != message.end()) {
      ThrowReply(*error);
    } else if (const auto result = message.find("return"); result != message.end()) {
      return std::move(*result);
    }
  }
}

std::optional<json> QmpClient::NextEvent(Clock::time_point deadline) {
  if (!events_.empty()) {
    json event = ParseJson(events_.front());
    events_.pop_front();
    return event;
  }
  while (auto message = Receive(deadline)) {
    if (message->contains("event")) return message;
  }
  return std::nullopt;
}

}  // namespace faultline
