#include "vmm/control/qmp_server.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <utility>

#include "guestmem/error.h"
#include "vmm/control/qmp_message.h"

namespace faultline {

QmpServer::QmpServer(EventLoop& loop, FileDescriptor listener, VmControl& vm, const Limits& limits)
    : loop_(loop), listener_(std::move(listener)), vm_(vm), limits_(limits) {
  loop_.Add(listener_.get(), EPOLLIN, [this](uint32_t) { Accept(); });
}

QmpServer::~QmpServer() {
  loop_.Remove(listener_.get());
  for (auto& [fd, entry] : sessions_) loop_.Remove(fd);
}

void QmpServer::Accept() {
  // A few for each turn, so that a storm of connections leaves room for the clients that are there.
  for (int i = 0; i < 16; ++i) {
    FileDescriptor socket(Host::System(), accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
        // The connection stays in the backlog and would wake the loop for ever.
        loop_.Modify(listener_.get(), 0);
        loop_.AddTimer(std::chrono::milliseconds(200), [this] { loop_.Modify(listener_.get(), EPOLLIN); });
      }
      return;
    }
    if (sessions_.size() >= limits_.clients) {
      Refuse(std::move(socket));
      continue;
    }
    const int fd = socket.get();
    auto session = std::make_unique<QmpSession>(std::move(socket), vm_, limits_.session, [this] { DeliverEvents(); });
    const uint32_t events = session->wanted_events();
    try {
      loop_.Add(fd, events, [this, fd](uint32_t ready) { OnSession(fd, ready); });
    } catch (const Error&) {
      continue;
    }
    sessions_.emplace(fd, Entry{std::move(session), events});
    Settle(fd);
  }
}

void QmpServer::Refuse(FileDescriptor socket) {
  const std::string line =
      ToLine(QmpErrorReply("GenericError", "This VM has " + std::to_string(limits_.clients) +
                                               " clients already, which is the limit; close one and try again")) +
      "\r\n";
  send(socket.get(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void QmpServer::OnSession(int fd, uint32_t events) {
  const auto it = sessions_.find(fd);
  if (it == sessions_.end()) return;
  running_ = fd;
  it->second.session->OnEvents(events);
  running_ = -1;
  Settle(fd);
}

void QmpServer::Settle(int fd) {
  const auto it = sessions_.find(fd);
  if (it == sessions_.end()) return;
  Entry& entry = it->second;
  if (entry.session->finished()) {
    loop_.Remove(fd);
    sessions_.erase(it);
    return;
  }
  const uint32_t events = entry.session->wanted_events();
  if (events != entry.events) loop_.Modify(fd, events);
  entry.events = events;
}

void QmpServer::Emit(std::string_view name, const nlohmann::json& data) {
  std::string line = ToLine(QmpEvent(name, data, std::chrono::system_clock::now()));
  bool first;
  {
    MutexLock lock(mutex_);
    if (events_.size() >= limits_.queued_events) {
      ++lost_events_;
      return;
    }
    first = events_.empty();
    events_.push_back(std::move(line));
  }
  if (first) loop_.Post([this] { DeliverEvents(); });
}

void QmpServer::DeliverEvents() {
  std::vector<std::string> events;
  uint64_t lost;
  {
    MutexLock lock(mutex_);
    events.swap(events_);
    lost = std::exchange(lost_events_, 0);
  }
  if (lost > 0) {
    events.push_back(ToLine(QmpEvent("X_FAULTLINE_EVENTS_LOST", {{"count", lost}}, std::chrono::system_clock::now())));
  }
  if (events.empty()) return;
  std::vector<int> touched;
  for (auto& [fd, entry] : sessions_) {
    if (!entry.session->negotiated()) continue;
    for (const auto& line : events) entry.session->Send(line);
    touched.push_back(fd);
  }
  // The one whose command is being run is settled after that.
  for (const int fd : touched) {
    if (fd != running_) Settle(fd);
  }
}

}  // namespace faultline
