// The picture of `faultline top`: a table of the VMs, and where the pages of each are.
//
// Stateless, thread-safe.
#pragma once

#include <string>
#include <vector>

#include "vmm/cli/top_sample.h"

namespace faultline {

struct ScreenSize {
  size_t columns = 80;
  size_t rows = 24;
};

// How many stretches of a map have room beside its name and sizes.
size_t MapCells(ScreenSize size);

// Lines of at most `columns` characters, at most `rows` of them, UTF-8, without newlines. In a map a blank is memory
// that is not plugged, a dot plugged memory without a page, and a bar's height how much of a stretch is at the host.
std::vector<std::string> DrawTop(const std::vector<VmSample>& vms, ScreenSize size);

}  // namespace faultline
