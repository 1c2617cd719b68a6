// The elements <serial> and <console>.
#pragma once

#include "vmm/domain_xml/domain.h"
#include "vmm/domain_xml/element.h"

namespace faultline {

// Takes all of them out of <devices>. Throws UsageError.
void TakeConsoles(Element* devices, Domain* domain);

}  // namespace faultline
