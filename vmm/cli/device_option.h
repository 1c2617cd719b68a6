// What `--disk` takes: a word, and KEY=VALUE after commas.
#pragma once

#include <string_view>

#include "vmm/machine/device_config.h"

namespace faultline {

// "disk.img", "disk.img,readonly", "disk.img,serial=TEXT". Throws UsageError.
BlockConfig ParseDiskOption(std::string_view text);

}  // namespace faultline
