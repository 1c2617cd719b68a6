// The host's side of network cards, by the ids that QEMU's -netdev and netdev_add give them.
//
// Used on the control thread only. Nothing is opened until a card is made; a tap that came as a descriptor is kept for
// the card that names it. Which are in use follows from the devices there are, as in BlockNodes. Members throw
// UsageError.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "guestmem/host.h"
#include "vmm/control/block_nodes.h"
#include "vmm/control/option_values.h"
#include "vmm/machine/device_config.h"

namespace faultline {

class NetBackends {
 public:
  // The descriptor that an `fd=` names; throws when there is none.
  using TakeDescriptor = std::function<FileDescriptor(const std::string& name)>;

  void Add(OptionValues* values, const TakeDescriptor& take);
  // Refuses an id that is not there, or that a card uses.
  void Delete(const std::string& id, const IsThere& is_there);
  // The backend `name` for the card `id`; `who` asks, for messages.
  NetCardConfig Attach(const std::string& who, const std::string& name, const std::string& id, const IsThere& is_there);
  // Refuses what no card ever asked for.
  void Finish() const;

 private:
  struct Net {
    NetCardConfig config;
    std::optional<std::string> device;  // the last one it was attached to
  };
  Net& Free(const std::string& who, const std::string& name, const IsThere& is_there);

  std::map<std::string, Net> nets_;
};

}  // namespace faultline
