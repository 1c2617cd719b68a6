// What `--disk` and `--net` take: a word, and KEY=VALUE after commas.
#pragma once

#include <string_view>

#include "vmm/machine/device_config.h"

namespace faultline {

// "disk.img", "disk.img,readonly", "disk.img,serial=TEXT". Throws UsageError.
BlockConfig ParseDiskOption(std::string_view text);

// "user", "user,hostfwd=tcp:127.0.0.1:8080-:80,restricted", "tap:NAME"; all also with "mac=…". hostfwd may be given
// again and again. Throws UsageError; whether a forward makes sense is the back end's to say.
NetCardConfig ParseNetOption(std::string_view text);

}  // namespace faultline
