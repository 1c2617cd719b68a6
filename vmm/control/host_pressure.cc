#include "vmm/control/host_pressure.h"

#include <cstdio>
#include <memory>

namespace faultline {

std::optional<double> HostMemoryPressure(const std::string& path) {
  std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "re"), std::fclose);
  double percent = 0;
  // The line for "some" is the first one.
  if (!file || std::fscanf(file.get(), "some avg10=%lf", &percent) != 1) return std::nullopt;
  if (!(percent >= 0 && percent <= 100)) return std::nullopt;
  return percent;
}

}  // namespace faultline
