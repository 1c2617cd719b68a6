#include "vmm/control/qmp_session.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "vmm/control/command_table.h"
#include "vmm/control/qmp_error.h"
#include "vmm/control/qmp_message.h"

namespace faultline {

using nlohmann::json;

QmpSession::QmpSession(FileDescriptor socket, VmControl& vm, const Limits& limits)
    : socket_(std::move(socket)), vm_(vm), limits_(limits), splitter_(limits.message) {
  Send(ToLine(QmpGreeting()));
}

uint32_t QmpSession::wanted_events() const {
  uint32_t events = 0;
  // A socket that takes output also wakes us for commands that wait because it did not.
  if (unsent() > 0 || !drained_) events |= EPOLLOUT;
  if (!hanging_up_ && unsent() <= limits_.pause_reading_bytes) events |= EPOLLIN;
  return events;
}

void QmpSession::OnEvents(uint32_t events) {
  if ((events & EPOLLERR) != 0) {
    finished_ = true;
    return;
  }
  if ((events & EPOLLOUT) != 0) Flush();
  if ((events & (EPOLLIN | EPOLLHUP)) != 0 && !finished_ && !hanging_up_) ReceiveSome();
  RunCommands();
  // Nobody will read the answers any more.
  if ((events & EPOLLHUP) != 0 && unsent() > 0) finished_ = true;
}

void QmpSession::ReceiveSome() {
  // One buffer for each turn of the loop, so that a client that never stops sending cannot starve others.
  std::array<char, 16384> buffer;
  const ssize_t n = recv(socket_.get(), buffer.data(), buffer.size(), 0);
  if (n > 0) {
    splitter_.Feed({buffer.data(), static_cast<size_t>(n)});
  } else if (n == 0) {
    hanging_up_ = true;
  } else if (errno != EAGAIN && errno != EINTR) {
    finished_ = true;
  }
}

void QmpSession::RunCommands() {
  while (!finished_) {
    drained_ = false;
    if (unsent() > limits_.pause_reading_bytes) return;
    const auto item = splitter_.Next();
    if (!item) {
      drained_ = true;
      return;
    }
    switch (item->kind) {
      case MessageSplitter::Kind::kMessage:
        HandleMessage(item->text);
        break;
      case MessageSplitter::Kind::kGarbage:
        SendError("GenericError",
                  "JSON parse error: a command is a JSON object, such as {\"execute\": \"query-status\"}", nullptr);
        break;
      case MessageSplitter::Kind::kTooLong:
        SendError(
            "GenericError",
            "The message is longer than " + std::to_string(limits_.message.bytes) + " bytes; the connection is closed",
            nullptr);
        finished_ = true;
        break;
      case MessageSplitter::Kind::kTooDeep:
        SendError("GenericError",
                  "The message nests deeper than " + std::to_string(limits_.message.depth) +
                      " levels; the connection is closed",
                  nullptr);
        finished_ = true;
        break;
    }
  }
}

void QmpSession::HandleMessage(const std::string& text) {
  const json* id = nullptr;
  json request;
  try {
    request = ParseJson(text);
    if (!request.is_object()) throw QmpError("QMP input must be a JSON object");
    if (const auto it = request.find("id"); it != request.end()) id = &*it;
    json reply{{"return", Execute(request)}};
    if (id != nullptr) reply["id"] = *id;
    Send(ToLine(reply));
  } catch (const QmpError& e) {
    SendError(e.error_class(), e.what(), id);
  } catch (const UsageError& e) {
    SendError("GenericError", e.what(), id, true);
  } catch (const std::exception& e) {
    SendError("GenericError", e.what(), id);
  }
}

json QmpSession::Execute(const json& request) {
  for (const auto& [key, value] : request.items()) {
    if (key != "execute" && key != "arguments" && key != "id") {
      throw QmpError("QMP input member '" + key + "' is unexpected");
    }
  }
  const auto name = request.find("execute");
  if (name == request.end()) throw QmpError("QMP input lacks member 'execute'");
  if (!name->is_string()) throw QmpError("QMP input member 'execute' must be a string");
  const auto given = request.find("arguments");
  const json arguments = given == request.end() ? json::object() : *given;
  if (!arguments.is_object()) throw QmpError("QMP input member 'arguments' must be an object");

  const auto& command = name->get_ref<const std::string&>();
  if (command == "qmp_capabilities") {
    if (negotiated_) throw QmpError("CommandNotFound", "Capabilities negotiation is already complete, command ignored");
    const auto enable = arguments.find("enable");
    if (enable != arguments.end() && !(enable->is_array() && enable->empty())) {
      throw QmpError("This monitor offers no capabilities; leave 'enable' out");
    }
    negotiated_ = true;
    return json::object();
  }
  if (!negotiated_) {
    throw QmpError("CommandNotFound", "Expecting capabilities negotiation with 'qmp_capabilities'");
  }
  return RunCommand(command, arguments, vm_);
}

void QmpSession::SendError(std::string_view error_class, std::string_view desc, const json* id, bool usage) {
  json reply = QmpErrorReply(error_class, desc);
  if (usage) reply["error"][kUsageMark] = true;
  if (id != nullptr) reply["id"] = *id;
  Send(ToLine(reply));
}

void QmpSession::Send(std::string_view line) {
  if (finished_) return;
  output_.append(line).append("\r\n");
  Flush();
  if (unsent() > limits_.drop_bytes) finished_ = true;
}

void QmpSession::Flush() {
  while (unsent() > 0) {
    const ssize_t n = send(socket_.get(), output_.data() + sent_, unsent(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) finished_ = true;
      break;
    }
    sent_ += static_cast<size_t>(n);
  }
  if (unsent() == 0) {
    output_.clear();
    if (output_.capacity() > limits_.pause_reading_bytes) output_.shrink_to_fit();
    sent_ = 0;
  } else if (sent_ > limits_.pause_reading_bytes) {
    output_.erase(0, sent_);
    sent_ = 0;
  }
}

}  // namespace faultline
