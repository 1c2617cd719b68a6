#include <string>
#include <vector>

#include "vmm/cli/command_line.h"
#include "vmm/cli/standard_descriptors.h"

int main(int argc, char** argv) {
  faultline::FillStandardDescriptors();
  const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
  return faultline::RunCommandLine(arguments);
}
