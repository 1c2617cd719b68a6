// The value of `run --memory`: "256M,max=4G,slots=16,backing=memfd,fault-around=64K".
#pragma once

#include <string_view>

#include "vmm/machine/config.h"

namespace faultline {

// Throws UsageError naming the part that is wrong. Whether the parts go together is for Validate.
MemoryConfig ParseMemoryOption(std::string_view text);

}  // namespace faultline
