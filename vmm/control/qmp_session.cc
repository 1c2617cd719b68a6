#include "vmm/control/qmp_session.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "vmm/control/arguments.h"
#include "vmm/control/command_table.h"
#include "vmm/control/qmp_error.h"
#include "vmm/control/qmp_message.h"
#include "vmm/control/vm_control.h"

namespace faultline {

using nlohmann::json;

namespace {

// Takes over what came with a message (unix(7), SCM_RIGHTS); never more than `most`.
void KeepDescriptors(msghdr& message, size_t most, std::deque<FileDescriptor>* kept) {
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
      kept->emplace_back(Host::System(), fd);
      if (kept->size() > most) kept->pop_front();
    }
  }
}

}  // namespace

QmpSession::QmpSession(FileDescriptor socket, VmControl& vm, const Limits& limits, std::function<void()> before_answer)
    : socket_(std::move(socket)),
      vm_(vm),
      limits_(limits),
      before_answer_(std::move(before_answer)),
      splitter_(limits.message) {
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
  iovec data{buffer.data(), buffer.size()};
  // What does not fit here the kernel closes.
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int) * 16)> control;
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t n = recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
  if (n >= 0) KeepDescriptors(message, limits_.descriptors, &passed_);
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
    const bool was_negotiated = negotiated_;
    json reply{{"return", Execute(request)}};
    // The answer to qmp_capabilities is the first thing a client gets.
    if (was_negotiated && before_answer_) before_answer_();
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
  if (command == "qmp_capabilities") return NegotiateCapabilities(arguments);
  if (!negotiated_) {
    throw QmpError("CommandNotFound", "Expecting capabilities negotiation with 'qmp_capabilities'");
  }
  if (command == "getfd") return NameDescriptor(arguments);
  return RunCommand(command, arguments, vm_);
}

json QmpSession::NegotiateCapabilities(const json& arguments) {
  if (negotiated_) throw QmpError("CommandNotFound", "Capabilities negotiation is already complete, command ignored");
  const auto enable = arguments.find("enable");
  if (enable != arguments.end() && !(enable->is_array() && enable->empty())) {
    throw QmpError("This monitor offers no capabilities; leave 'enable' out");
  }
  negotiated_ = true;
  return json::object();
}

json QmpSession::NameDescriptor(const json& arguments) {
  Arguments args(arguments);
  const std::string name = args.String("fdname");
  args.Finish();
  if (passed_.empty()) throw QmpError("No file descriptor supplied via SCM_RIGHTS");
  FileDescriptor fd = std::move(passed_.front());
  passed_.pop_front();
  vm_.descriptors().Add(name, std::move(fd));
  return json::object();
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
