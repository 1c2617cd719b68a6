// The QMP monitor of one VM: accepts clients on a listening socket, runs their commands, sends events to
// all that have negotiated. What happened while a command was run is told before its answer, as in QEMU.
//
// Owned by the program beside its EventLoop, on whose thread everything happens; only Emit is safe from any
// thread, and it never blocks. Events wait in a bounded queue: when a flood outruns the loop, the excess is
// counted and reported instead of stored. Clients are bounded in number, and each in what it may send and
// leave unread (QmpSession).
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "guestmem/host.h"
#include "guestmem/mutex.h"
#include "vmm/control/event_loop.h"
#include "vmm/control/qmp_session.h"

namespace faultline {

class QmpServer {
 public:
  struct Limits {
    size_t clients = 32;
    size_t queued_events = 4096;
    QmpSession::Limits session;
  };

  // `listener` is a listening stream socket. `loop` and `vm` outlive this.
  QmpServer(EventLoop& loop, FileDescriptor listener, VmControl& vm, const Limits& limits);
  // Closes every connection; what a client's socket does not take at once is lost. Not while the loop runs
  // on another thread.
  ~QmpServer();
  QmpServer(const QmpServer&) = delete;
  QmpServer& operator=(const QmpServer&) = delete;

  // Sends an event to every negotiated client. Any thread.
  void Emit(std::string_view name, const nlohmann::json& data) EXCLUDES(mutex_);

  // Sends what Emit queued so far; for the loop's thread, when the loop will not turn again, or when something else is
  // to be sent behind it.
  void DeliverEvents() EXCLUDES(mutex_);

  size_t clients() const { return sessions_.size(); }

 private:
  void Accept();
  void Refuse(FileDescriptor socket);
  void OnSession(int fd, uint32_t events);
  // Tells epoll what the session waits for, or deletes a finished one.
  void Settle(int fd);

  EventLoop& loop_;
  FileDescriptor listener_;
  VmControl& vm_;
  const Limits limits_;
  struct Entry {
    std::unique_ptr<QmpSession> session;
    uint32_t events;
  };
  std::unordered_map<int, Entry> sessions_;
  int running_ = -1;  // the session that is at work

  Mutex mutex_;
  std::vector<std::string> events_ GUARDED_BY(mutex_);
  uint64_t lost_events_ GUARDED_BY(mutex_) = 0;
};

}  // namespace faultline
