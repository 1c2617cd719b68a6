// File descriptors that clients passed along (SCM_RIGHTS) and named with getfd, until something takes them; and those
// that this process inherited, whose names are their numbers.
//
// Owned by VmControl, used on the control thread only. Members throw QmpError.
// Source: QEMU's qapi/misc.json, getfd and closefd.
#pragma once

#include <map>
#include <string>

#include "guestmem/host.h"

namespace faultline {

class NamedDescriptors {
 public:
  // One of that name is closed and replaced, as in QEMU. Refuses a name that begins with a digit, and too many.
  void Add(const std::string& name, FileDescriptor fd);
  // Refuses a name that is not there.
  FileDescriptor Take(const std::string& name);
  // The descriptor of that number, when whoever started this process left it open for it and nothing here has it.
  static FileDescriptor TakeInherited(const std::string& number);

 private:
  std::map<std::string, FileDescriptor> descriptors_;
};

}  // namespace faultline
