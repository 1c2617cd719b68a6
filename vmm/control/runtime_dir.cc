#include "vmm/control/runtime_dir.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "guestmem/error.h"

namespace faultline {
namespace {

bool IsDirectory(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

std::string Choose() {
  // The variable must be absolute; anything else is to be ignored, says the specification.
  if (const char* xdg = std::getenv("XDG_RUNTIME_DIR"); xdg != nullptr && xdg[0] == '/') {
    return std::string(xdg) + "/faultline";
  }
  const std::string uid = std::to_string(getuid());
  if (IsDirectory("/run/user/" + uid)) return "/run/user/" + uid + "/faultline";
  return "/tmp/faultline-" + uid;
}

}  // namespace

void PrepareRuntimeDirectory(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    throw Error("The runtime directory " + path + " cannot be created (" + ErrnoText(errno) +
                "); set XDG_RUNTIME_DIR to a directory of yours");
  }
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) {
    throw Error("The runtime directory " + path + " cannot be examined (" + ErrnoText(errno) + ")");
  }
  if (!S_ISDIR(info.st_mode)) {
    throw Error("The runtime directory " + path + " is not a directory; remove it or set XDG_RUNTIME_DIR");
  }
  if (info.st_uid != geteuid()) {
    throw Error("The runtime directory " + path + " belongs to user " + std::to_string(info.st_uid) +
                "; set XDG_RUNTIME_DIR to a directory of yours");
  }
  if ((info.st_mode & 077) != 0) {
    throw Error("The runtime directory " + path + " is open to other users; close it with `chmod 700 " + path + "`");
  }
}

std::string RuntimeDirectory() {
  std::string path = Choose();
  PrepareRuntimeDirectory(path);
  return path;
}

}  // namespace faultline
