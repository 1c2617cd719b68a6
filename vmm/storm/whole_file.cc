// A file that appears whole or not at all.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "guestmem/error.h"
#include "vmm/storm/storm.h"

namespace faultline {
namespace {

[[noreturn]] void Fail(const std::string& path, const std::string& temporary, int fd, int error) {
  if (fd >= 0) ::close(fd);
  if (!temporary.empty()) ::unlink(temporary.c_str());
  std::string sentence = "cannot write '" + path + "': " + ErrnoText(error);
  if (error == ENOSPC || error == EDQUOT) sentence += "; free some space or choose another place";
  if (error == ENOENT) sentence += "; create its directory first";
  throw Error(sentence);
}

}  // namespace

void WriteFileWhole(const std::string& path, std::string_view content) {
  // A device or a pipe (/dev/stdout, /dev/full) is written in place: there is nothing to rename over.
  struct stat existing {};
  const bool special = ::stat(path.c_str(), &existing) == 0 && !S_ISREG(existing.st_mode);
  std::string temporary = special ? std::string() : path + ".XXXXXX";
  const int fd = special ? ::open(path.c_str(), O_WRONLY | O_CLOEXEC) : ::mkostemp(temporary.data(), O_CLOEXEC);
  if (fd < 0) {
    const int error = errno;
    Fail(path, "", -1, error);
  }
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      Fail(path, temporary, fd, errno);
    }
    content.remove_prefix(static_cast<size_t>(written));
  }
  if (special) {
    ::close(fd);
    return;
  }
  // The mode a plain creation would have given; mkostemp is stricter.
  const mode_t mask = ::umask(0);
  ::umask(mask);
  if (::fchmod(fd, 0666 & ~mask) != 0 || ::fsync(fd) != 0) Fail(path, temporary, fd, errno);
  if (::close(fd) != 0) Fail(path, temporary, -1, errno);
  if (::rename(temporary.c_str(), path.c_str()) != 0) Fail(path, temporary, -1, errno);
}

}  // namespace faultline
