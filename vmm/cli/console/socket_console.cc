// The console on a Unix socket: raw bytes, one client at a time, who first gets the latest output.
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>
#include <utility>

#include "guestmem/error.h"
#include "guestmem/host.h"
#include "vmm/cli/console/console.h"
#include "vmm/cli/console/input_feed.h"
#include "vmm/cli/console/queued_writer.h"

namespace faultline {
namespace {

FileDescriptor NewSocket() { return {Host::System(), socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)}; }

// A socket that nobody listens on is left over and may go; anything else at that path is not ours to remove.
void ClearStale(const std::string& path, const sockaddr_un& address) {
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) return;
  if (!S_ISSOCK(info.st_mode))
    throw UsageError("--console: " + path + " exists and is not a socket; choose another path");
  const FileDescriptor probe = NewSocket();
  if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 || errno == EAGAIN) {
    throw UsageError("--console: somebody listens on " + path + " already; choose another path");
  }
  if (errno == ECONNREFUSED) unlink(path.c_str());
}

FileDescriptor ListenAt(const std::string& path) {
  FileDescriptor listener = NewSocket();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    throw UsageError("--console: the path " + path + " is longer than the " +
                     std::to_string(sizeof address.sun_path - 1) + " bytes a socket may have");
  }
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ClearStale(path, address);
  const mode_t mask = umask(0177);
  const int bound = bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int error = errno;
  umask(mask);
  if (bound != 0 || listen(listener.get(), 4) != 0) {
    const std::string why = ErrnoText(bound != 0 ? error : errno);
    if (bound == 0) unlink(path.c_str());
    throw Error("--console: a socket cannot be made at " + path + " (" + why + ")");
  }
  return listener;
}

class SocketConsole final : public Console {
 public:
  // `owned`: the socket's file goes with the console.
  SocketConsole(EventLoop& loop, FileDescriptor listener, std::string path, bool owned)
      : loop_(loop),
        path_(std::move(path)),
        listener_(std::move(listener)),
        writer_(loop, QueuedWriter::WhenFull::kForgetOldest),
        owned_(owned) {}

  ~SocketConsole() override {
    HangUp();
    if (std::exchange(started_, false)) loop_.Remove(listener_.get());
    if (owned_) unlink(path_.c_str());
  }

  std::string description() const override { return "socket:" + path_; }

  void Write(std::span<const std::byte> data) override { writer_.Write(data); }

  void Start(Guest guest) override {
    feed_.emplace(loop_, std::move(guest.input), [this](bool on) { SetReading(on); });
    loop_.Add(listener_.get(), EPOLLIN, [this](uint32_t) { Accept(); });
    started_ = true;
  }

  void Finish() override {
    writer_.Finish(EventLoop::Clock::now() + std::chrono::milliseconds(200));
    HangUp();
  }

 private:
  void Accept() {
    FileDescriptor client(Host::System(), accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!client) return;
    if (client_) {
      constexpr std::string_view kBusy = "faultline: this console is in use\r\n";
      send(client.get(), kBusy.data(), kBusy.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      return;
    }
    output_ = FileDescriptor(Host::System(), dup(client.get()));
    client_ = std::move(client);
    // What the last client typed and the guest has not taken yet goes first.
    SetReading(!feed_->waiting());
    writer_.Attach(output_.get(), false);
  }

  void SetReading(bool on) {
    on = on && client_;
    if (on == reading_) return;
    reading_ = on;
    if (on) {
      loop_.Add(client_.get(), EPOLLIN, [this](uint32_t) { ReadInput(); });
    } else {
      loop_.Remove(client_.get());
    }
  }

  void ReadInput() {
    std::array<char, 4096> buffer;
    const ssize_t n = recv(client_.get(), buffer.data(), buffer.size(), 0);
    if (n > 0) {
      feed_->Feed({buffer.data(), static_cast<size_t>(n)});
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
      HangUp();
    }
  }

  void HangUp() {
    if (!client_) return;
    writer_.Detach();
    SetReading(false);
    output_.Reset();
    client_.Reset();
  }

  EventLoop& loop_;
  const std::string path_;
  FileDescriptor listener_;
  FileDescriptor client_;
  FileDescriptor output_;  // the same connection, watched for room only
  QueuedWriter writer_;
  std::optional<InputFeed> feed_;
  const bool owned_;
  bool reading_ = false;
  bool started_ = false;
};

}  // namespace

std::unique_ptr<Console> MakeSocketConsole(EventLoop& loop, std::string path) {
  FileDescriptor listener = ListenAt(path);
  return std::make_unique<SocketConsole>(loop, std::move(listener), std::move(path), true);
}

std::unique_ptr<Console> MakeSocketConsole(EventLoop& loop, FileDescriptor listener, std::string path) {
  return std::make_unique<SocketConsole>(loop, std::move(listener), std::move(path), false);
}

}  // namespace faultline
