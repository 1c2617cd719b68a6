// One QMP client: its half-received message, its answers that are not yet sent, the file descriptors it passed along
// and has not named yet, and whether it has negotiated.
//
// Owned by QmpServer and used on the control thread only. Never blocks: the socket is non-blocking, what
// cannot be sent is queued, a client that does not read its answers is not read from either, and one
// whose queue reaches the limit is dropped. Ends itself by turning `finished`; the server then deletes it.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "guestmem/host.h"
#include "vmm/control/message_splitter.h"

namespace faultline {

class VmControl;

// What concerns the connection itself, and is not in the table of commands.
inline constexpr std::array<std::string_view, 2> kSessionCommands{"qmp_capabilities", "getfd"};

class QmpSession {
 public:
  struct Limits {
    MessageSplitter::Limits message;
    size_t pause_reading_bytes = size_t{64} << 10;  // of unsent answers: no further command is taken
    size_t drop_bytes = size_t{1} << 20;            // of unsent answers and events: the client is dropped
    size_t descriptors = 16;                        // passed along and not named: the oldest are closed
  };

  // `before_answer` is called when a command of a client that has negotiated succeeded and its answer is about to be
  // sent; it may call Send.
  QmpSession(FileDescriptor socket, VmControl& vm, const Limits& limits, std::function<void()> before_answer = {});

  int fd() const { return socket_.get(); }
  bool negotiated() const { return negotiated_; }
  // Nothing more will be sent or received: delete it.
  bool finished() const { return finished_ || (hanging_up_ && drained_ && unsent() == 0); }
  // Which epoll events it waits for now.
  uint32_t wanted_events() const;

  void OnEvents(uint32_t events);
  // Queues one line and sends what the socket takes.
  void Send(std::string_view line);

 private:
  void ReceiveSome();
  void RunCommands();
  void HandleMessage(const std::string& text);
  nlohmann::json Execute(const nlohmann::json& request);
  nlohmann::json NegotiateCapabilities(const nlohmann::json& arguments);
  nlohmann::json NameDescriptor(const nlohmann::json& arguments);
  void SendError(std::string_view error_class, std::string_view desc, const nlohmann::json* id, bool usage = false);
  void Flush();
  size_t unsent() const { return output_.size() - sent_; }

  FileDescriptor socket_;
  VmControl& vm_;
  const Limits limits_;
  const std::function<void()> before_answer_;
  MessageSplitter splitter_;
  std::deque<FileDescriptor> passed_;
  std::string output_;
  size_t sent_ = 0;
  bool negotiated_ = false;
  bool drained_ = true;      // no complete message waits in the splitter
  bool hanging_up_ = false;  // the client sends no more: finish once it is answered
  bool finished_ = false;
};

}  // namespace faultline
