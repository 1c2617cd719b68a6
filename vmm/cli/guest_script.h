// The project's scripts that make a Linux guest's kernel and initrd.
#pragma once

#include <string>

namespace faultline {

// Runs `name` of the folder scripts and returns the path it printed; what it says on standard error is shown as it
// comes. The folder is found beside the program: in the source tree it was built in, or installed. Blocks for
// minutes when the script has to build. Throws Error.
std::string RunGuestScript(const std::string& name);

}  // namespace faultline
