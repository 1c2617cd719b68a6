#include "vmm/control/named_descriptors.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <utility>

#include "vmm/control/qmp_error.h"

namespace faultline {
namespace {

constexpr size_t kMost = 64;

[[noreturn]] void ThrowNotFound(const std::string& name) {
  throw QmpError("File descriptor named '" + name.substr(0, 64) + "' not found");
}

}  // namespace

void NamedDescriptors::Add(const std::string& name, FileDescriptor fd) {
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) {
    throw QmpError("Parameter 'fdname' expects a name not starting with a digit");
  }
  if (descriptors_.size() >= kMost && !descriptors_.contains(name)) {
    throw QmpError("There are " + std::to_string(kMost) + " file descriptors already: close one with closefd");
  }
  descriptors_[name] = std::move(fd);
}

FileDescriptor NamedDescriptors::Take(const std::string& name) {
  const auto found = descriptors_.find(name);
  if (found == descriptors_.end()) ThrowNotFound(name);
  FileDescriptor fd = std::move(found->second);
  descriptors_.erase(found);
  return fd;
}

FileDescriptor NamedDescriptors::TakeInherited(const std::string& number) {
  int fd = -1;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), fd);
  if (error != std::errc() || end != number.data() + number.size() || fd <= STDERR_FILENO) ThrowNotFound(number);
  // Whatever this program opens closes on exec, and what came through exec does not.
  const int flags = fcntl(fd, F_GETFD);
  if (flags < 0 || (flags & FD_CLOEXEC) != 0) ThrowNotFound(number);
  fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
  return FileDescriptor(Host::System(), fd);
}

}  // namespace faultline
