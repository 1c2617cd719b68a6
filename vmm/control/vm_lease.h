// A VM's claim to its name: a locked file for as long as the process lives, and the control socket beside it.
//
// NAME.lock holds the pid and carries an OFD lock, which the kernel drops when the process ends, however it
// ends; so a lock file that nobody holds is a dead VM's, and its socket is stale whatever connect(2) says.
// Whoever finds one clears it away under the lock. Not thread-safe; never blocks for longer than 200 ms.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "guestmem/host.h"

namespace faultline {

// Throws UsageError unless `name` is 1 to 64 letters, digits, '.', '_' and '-', and begins with a letter or
// a digit.
void CheckVmName(std::string_view name);

class VmLease {
 public:
  // Claims `name` in `directory` and clears what a dead VM of that name left. UsageError when a living VM has
  // it; Error when the host refuses.
  VmLease(const std::string& directory, const std::string& name);
  // Claims the first free one of "vm1", "vm2", …
  static VmLease OfAnyName(const std::string& directory);
  // Removes socket and lock file.
  ~VmLease();
  VmLease(VmLease&& other) noexcept = default;
  VmLease& operator=(VmLease&&) = delete;

  const std::string& name() const { return name_; }
  const std::string& socket_path() const { return socket_path_; }

  // Binds the control socket and listens. Once.
  FileDescriptor Listen() const;

 private:
  struct Unlocked {};
  VmLease(Unlocked, const std::string& directory, const std::string& name);
  bool TryClaim(pid_t* holder);

  std::string name_;
  std::string lock_path_;
  std::string socket_path_;
  FileDescriptor lock_;
};

struct RunningVm {
  std::string name;
  pid_t pid = 0;  // 0 when the VM is just starting
  std::string socket_path;
};

// The living VMs, by name. What dead ones left behind is removed.
std::vector<RunningVm> RunningVms(const std::string& directory);

// UsageError, saying which names there are, when no living VM has that name.
RunningVm FindVm(const std::string& directory, const std::string& name);

}  // namespace faultline
