// A domain XML in a file, as `faultline run --xml` takes it.
#pragma once

#include <string>

#include "vmm/domain_xml/domain.h"

namespace faultline {

// Blocks for as long as reading does, and reads no more than a domain may have. Throws Error when the file cannot be
// read, and UsageError for what is in it, naming the file.
Domain ReadDomainFile(const std::string& path);

}  // namespace faultline
