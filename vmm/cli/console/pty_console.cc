// The console on a pseudo-terminal that any terminal program can open.
#include <fcntl.h>
#include <sys/epoll.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <utility>

#include "guestmem/error.h"
#include "guestmem/host.h"
#include "vmm/cli/console/console.h"
#include "vmm/cli/console/input_feed.h"
#include "vmm/cli/console/queued_writer.h"

namespace faultline {
namespace {

class PtyConsole final : public Console {
 public:
  explicit PtyConsole(EventLoop& loop)
      : loop_(loop),
        master_(Host::System(), posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK)),
        writer_(loop, QueuedWriter::WhenFull::kForgetOldest) {
    std::array<char, 128> path{};
    if (!master_ || grantpt(master_.get()) != 0 || unlockpt(master_.get()) != 0 ||
        ptsname_r(master_.get(), path.data(), path.size()) != 0) {
      throw Error("No pseudo-terminal could be made (" + ErrnoText(errno) + "); use --console socket:PATH");
    }
    path_ = path.data();
    // Held open: with nobody on the other side the master would report a hang-up for ever.
    slave_ = FileDescriptor(Host::System(), open(path_.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC));
    termios settings{};
    if (slave_ && tcgetattr(slave_.get(), &settings) == 0) {
      cfmakeraw(&settings);
      tcsetattr(slave_.get(), TCSANOW, &settings);
    }
    // A second descriptor, because the loop watches each for one purpose.
    output_ = FileDescriptor(Host::System(), fcntl(master_.get(), F_DUPFD_CLOEXEC, 0));
    if (!output_) throw Error("No pseudo-terminal could be made (" + ErrnoText(errno) + ")");
    writer_.Attach(output_.get(), false);
  }

  ~PtyConsole() override { SetReading(false); }

  std::string description() const override { return "pty:" + path_; }

  void Write(std::span<const std::byte> data) override { writer_.Write(data); }

  void Start(Guest guest) override {
    feed_.emplace(loop_, std::move(guest.input), [this](bool on) { SetReading(on); });
    SetReading(true);
  }

  void Finish() override {
    SetReading(false);
    writer_.Finish(EventLoop::Clock::now());
  }

 private:
  void SetReading(bool on) {
    if (on == reading_) return;
    reading_ = on;
    if (on) {
      loop_.Add(master_.get(), EPOLLIN, [this](uint32_t) { ReadInput(); });
    } else {
      loop_.Remove(master_.get());
    }
  }

  void ReadInput() {
    std::array<char, 4096> buffer;
    const ssize_t n = read(master_.get(), buffer.data(), buffer.size());
    if (n > 0) {
      feed_->Feed({buffer.data(), static_cast<size_t>(n)});
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
      SetReading(false);
    }
  }

  EventLoop& loop_;
  FileDescriptor master_;
  FileDescriptor slave_;
  FileDescriptor output_;
  std::string path_;
  QueuedWriter writer_;
  std::optional<InputFeed> feed_;
  bool reading_ = false;
};

}  // namespace

std::unique_ptr<Console> MakePtyConsole(EventLoop& loop) { return std::make_unique<PtyConsole>(loop); }

}  // namespace faultline
