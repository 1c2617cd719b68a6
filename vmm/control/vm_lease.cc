#include "vmm/control/vm_lease.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <memory>
#include <thread>

#include "guestmem/error.h"

namespace faultline {
namespace {

constexpr std::string_view kLockSuffix = ".lock";

bool IsAlphanumeric(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

struct flock WholeFile(short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  return lock;
}

FileDescriptor OpenLock(const std::string& path, int flags) {
  return {Host::System(), open(path.c_str(), flags | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600)};
}

bool TryLock(int fd) {
  struct flock lock = WholeFile(F_WRLCK);
  return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

bool HeldByOther(int fd) {
  struct flock lock = WholeFile(F_WRLCK);
  return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

// False when the file was removed, or replaced, since it was opened: a lock on it then means nothing.
bool IsStillAt(int fd, const std::string& path) {
  struct stat opened {};
  struct stat named {};
  return fstat(fd, &opened) == 0 && lstat(path.c_str(), &named) == 0 && opened.st_dev == named.st_dev &&
         opened.st_ino == named.st_ino;
}

pid_t ReadPid(int fd) {
  std::array<char, 16> text{};
  const ssize_t n = pread(fd, text.data(), text.size(), 0);
  pid_t pid = 0;
  if (n > 0) std::from_chars(text.data(), text.data() + n, pid);
  return pid;
}

std::string Socket(const std::string& directory, std::string_view name) {
  return directory + "/" + std::string(name) + ".sock";
}

std::string Lock(const std::string& directory, std::string_view name) {
  return directory + "/" + std::string(name) + std::string(kLockSuffix);
}

}  // namespace

void CheckVmName(std::string_view name) {
  const bool good =
      !name.empty() && name.size() <= 64 && IsAlphanumeric(name.front()) &&
      std::ranges::all_of(name, [](char c) { return IsAlphanumeric(c) || c == '.' || c == '_' || c == '-'; });
  if (!good) {
    throw UsageError(
        "'" + std::string(name.substr(0, 64)) +
        "' is not a name for a VM: use up to 64 letters, digits, '.', '_' and '-', a letter or digit first");
  }
}

VmLease::VmLease(Unlocked /*unused*/, const std::string& directory, const std::string& name)
    : name_(name), lock_path_(Lock(directory, name)), socket_path_(Socket(directory, name)) {
  CheckVmName(name);
  if (socket_path_.size() >= sizeof(sockaddr_un::sun_path)) {
    throw Error("The control socket's path " + socket_path_ + " is longer than the " +
                std::to_string(sizeof(sockaddr_un::sun_path) - 1) +
                " bytes a socket may have; use a shorter --name or XDG_RUNTIME_DIR");
  }
}

// A lock is held briefly by one who clears a dead VM away, so a refusal is tried again while the holder's
// pid is that of nobody.
bool VmLease::TryClaim(pid_t* holder) {
  for (int attempt = 0; attempt < 40; ++attempt) {
    lock_ = OpenLock(lock_path_, O_CREAT);
    if (!lock_) {
      throw Error("The lock file " + lock_path_ + " cannot be opened (" + ErrnoText(errno) +
                  "); set XDG_RUNTIME_DIR to a directory you can write to");
    }
    if (TryLock(lock_.get())) {
      if (!IsStillAt(lock_.get(), lock_path_)) continue;
      const std::string pid = std::to_string(getpid()) + "\n";
      if (ftruncate(lock_.get(), 0) != 0 ||
          pwrite(lock_.get(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
        const int error = errno;
        unlink(lock_path_.c_str());
        throw Error("The lock file " + lock_path_ + " cannot be written (" + ErrnoText(error) + ")");
      }
      unlink(socket_path_.c_str());
      return true;
    }
    *holder = ReadPid(lock_.get());
    if (*holder > 0 && kill(*holder, 0) == 0) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  lock_.Reset();
  return false;
}

VmLease::VmLease(const std::string& directory, const std::string& name) : VmLease(Unlocked{}, directory, name) {
  pid_t holder = 0;
  if (!TryClaim(&holder)) {
    throw UsageError("A VM named '" + name + "' is running already (pid " + std::to_string(holder) +
                     "); choose another --name, or end it with `faultline kill " + name + "`");
  }
}

VmLease VmLease::OfAnyName(const std::string& directory) {
  for (int n = 1; n < 10000; ++n) {
    VmLease lease(Unlocked{}, directory, std::string("vm").append(std::to_string(n)));
    pid_t holder = 0;
    if (lease.TryClaim(&holder)) return lease;
  }
  throw Error("Every name from vm1 to vm9999 is taken in " + directory + "; choose one with --name");
}

VmLease::~VmLease() {
  if (!lock_) return;
  unlink(socket_path_.c_str());
  unlink(lock_path_.c_str());
}

FileDescriptor VmLease::Listen() const {
  FileDescriptor socket_fd(Host::System(), socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket_path_.copy(address.sun_path, sizeof address.sun_path - 1);
  if (!socket_fd || bind(socket_fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      listen(socket_fd.get(), 128) != 0) {
    throw Error("The control socket " + socket_path_ + " cannot be made (" + ErrnoText(errno) +
                "); set XDG_RUNTIME_DIR to a directory you can write to");
  }
  return socket_fd;
}

std::vector<RunningVm> RunningVms(const std::string& directory) {
  std::vector<RunningVm> running;
  std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(directory.c_str()), closedir);
  if (!dir) throw Error("The runtime directory " + directory + " cannot be read (" + ErrnoText(errno) + ")");
  while (const dirent* entry = readdir(dir.get())) {
    const std::string_view file = entry->d_name;
    if (!file.ends_with(kLockSuffix)) continue;
    const std::string name(file.substr(0, file.size() - kLockSuffix.size()));
    const std::string path = Lock(directory, name);
    const FileDescriptor lock = OpenLock(path, 0);
    if (!lock) continue;
    if (HeldByOther(lock.get())) {
      running.push_back({name, ReadPid(lock.get()), Socket(directory, name)});
    } else if (TryLock(lock.get()) && IsStillAt(lock.get(), path)) {
      unlink(Socket(directory, name).c_str());
      unlink(path.c_str());
    }
  }
  std::ranges::sort(running, {}, &RunningVm::name);
  return running;
}

RunningVm FindVm(const std::string& directory, const std::string& name) {
  CheckVmName(name);
  std::vector<RunningVm> running = RunningVms(directory);
  std::string names;
  for (auto& vm : running) {
    if (vm.name == name) return std::move(vm);
    names += (names.empty() ? "" : ", ") + vm.name;
  }
  throw UsageError("No VM named '" + name + "' is running; " +
                   (names.empty() ? "none is: start one with `faultline run`" : "there is " + names));
}

}  // namespace faultline
