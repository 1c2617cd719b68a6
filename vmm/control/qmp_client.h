// A QMP client: connects to one VM's monitor, runs commands, receives events.
//
// For one thread. Every call blocks up to the deadline it is given; nothing is retried. Errors of the VM
// come as UsageError when it says that the request was wrong, as Error otherwise, with its sentence; a VM
// that hangs up or does not answer in time is an Error, too.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guestmem/error.h"
#include "guestmem/host.h"
#include "vmm/control/message_splitter.h"

namespace faultline {

// The VM closed the connection: it has ended.
class VmGone : public Error {
 public:
  using Error::Error;
};

class QmpClient {
 public:
  using Clock = std::chrono::steady_clock;

  // Connects and negotiates. `name` is for messages.
  QmpClient(const std::string& socket_path, std::string name, Clock::time_point deadline);
  ~QmpClient();
  QmpClient(const QmpClient&) = delete;
  QmpClient& operator=(const QmpClient&) = delete;

  // The value of "return". Events that arrive meanwhile are kept for NextEvent.
  nlohmann::json Execute(std::string_view command, const nlohmann::json& arguments, Clock::time_point deadline);

  // Hands `fd` to the VM, which knows it by `name` from now on (getfd); it stays the caller's.
  void PassDescriptor(const std::string& name, int fd, Clock::time_point deadline);

  // The next event, whole; nothing when the deadline passes. VmGone when there will be none.
  std::optional<nlohmann::json> NextEvent(Clock::time_point deadline);

 private:
  // The next message of any kind; nothing when the deadline passes.
  std::optional<nlohmann::json> Receive(Clock::time_point deadline);
  // The same, but a late one is an Error.
  nlohmann::json NextMessage(Clock::time_point deadline);
  // With `fd` beside its first byte, unless it is negative.
  void SendLine(std::string line, int fd, Clock::time_point deadline);
  // The value of "return" to what was sent last.
  nlohmann::json AwaitReply(Clock::time_point deadline);
  // False when the deadline passed first.
  bool WaitFor(short events, Clock::time_point deadline);
  [[noreturn]] void ThrowLate() const;

  const std::string name_;
  FileDescriptor socket_;
  MessageSplitter splitter_;
  std::deque<std::string> events_;
};

}  // namespace faultline
