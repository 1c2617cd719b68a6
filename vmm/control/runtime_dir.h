// Where the sockets of running VMs are: a directory of the user's own.
//
// Stateless; thread-safe apart from the environment it reads. In order: $XDG_RUNTIME_DIR/faultline,
// /run/user/UID/faultline, /tmp/faultline-UID. Sources: XDG Base Directory Specification.
#pragma once

#include <string>

namespace faultline {

// The directory, created with mode 0700 when absent. Throws Error when it cannot be made, or is not a
// directory of this user that nobody else may enter: the sockets in it command VMs.
std::string RuntimeDirectory();

// The same check for a given path; for tests.
void PrepareRuntimeDirectory(const std::string& path);

}  // namespace faultline
