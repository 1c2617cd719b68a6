// The console into a file: what the guest prints, and nothing to type.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "guestmem/error.h"
#include "guestmem/host.h"
#include "vmm/cli/console/console.h"

namespace faultline {
namespace {

class FileConsole final : public Console {
 public:
  FileConsole(FileDescriptor file, std::string path) : path_(std::move(path)), file_(std::move(file)) {}

  std::string description() const override { return "file:" + path_; }
  // A full disk costs the guest its output, not its life.
  void Write(std::span<const std::byte> data) override {
    while (!data.empty()) {
      const ssize_t n = write(file_.get(), data.data(), data.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return;
      data = data.subspan(static_cast<size_t>(n));
    }
  }
  void Start(Guest /*guest*/) override {}
  void Finish() override {}

 private:
  const std::string path_;
  FileDescriptor file_;
};

}  // namespace

std::unique_ptr<Console> MakeFileConsole(const std::string& path, bool append) {
  FileDescriptor file(Host::System(),
                      open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : O_TRUNC), 0600));
  if (!file) throw Error("the console's file " + path + " cannot be written (" + ErrnoText(errno) + ")");
  return MakeFileConsole(std::move(file), path);
}

std::unique_ptr<Console> MakeFileConsole(FileDescriptor file, std::string path) {
  return std::make_unique<FileConsole>(std::move(file), std::move(path));
}

}  // namespace faultline
