// The elements of <devices>: what each adds to the domain.
#pragma once

#include "vmm/domain_xml/domain.h"
#include "vmm/domain_xml/element.h"

namespace faultline {

// Takes them all; a UsageError names what is not there to be had.
void TakeDevices(Element* devices, Domain* domain);

}  // namespace faultline
