// --virtio-mem and --balloon: the texts after them, parsed.
#pragma once

#include <string_view>

#include "vmm/machine/config.h"

namespace faultline {

// "SIZE[,id=ID][,requested=SIZE][,block=SIZE][,backing=KIND]"; `number` makes the id that is not given. Throws
// UsageError for text that is not of this form; whether the sizes fit together is for Validate.
VirtioMemOptions ParseVirtioMemOption(std::string_view text, size_t number);

// "on" or "size=SIZE", "deflate-on-oom=on|off", "reporting=on|off", in any order.
BalloonOptions ParseBalloonOption(std::string_view text);

}  // namespace faultline
