#include <fcntl.h>

#include <string>
#include <vector>

#include "vmm/cli/command_line.h"

namespace {

// The first file opened would take the number of a closed standard descriptor, and be mistaken for it.
void FillStandardDescriptors() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (fcntl(fd, F_GETFD) < 0) open("/dev/null", O_RDWR);  // stays open, as a standard descriptor does
  }
}

}  // namespace

int main(int argc, char** argv) {
  FillStandardDescriptors();
  const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
  return faultline::RunCommandLine(arguments);
}
