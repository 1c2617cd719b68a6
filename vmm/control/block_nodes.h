// The files behind disks, by the names that QEMU's -blockdev and blockdev-add give them: a storage node for the file
// and, over it, a format node, which a disk names.
//
// Used on the control thread only. Nothing is opened until a disk is made. Which nodes are in use follows from the
// devices there are, so that a disk which goes away by itself frees its nodes without anybody telling. Members throw
// UsageError.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "vmm/control/option_values.h"
#include "vmm/machine/device_config.h"

namespace faultline {

// Whether there is a device with that id.
using IsThere = std::function<bool(const std::string& id)>;

// A disk with its nodes, as QMP's queries list it.
struct DiskNode {
  std::string format_node;   // "libvirt-1-format"
  std::string storage_node;  // "libvirt-1-storage"
  std::string path;
  bool read_only = false;
  std::string device;  // the id of the -device
};

class BlockNodes {
 public:
  void Add(OptionValues* values);
  // Refuses a node that is not there, that a device uses, or that another one lies on.
  void Delete(const std::string& name, const IsThere& is_there);
  // Path and mode of the disk behind node `name`, for the device `id`; `who` asks, for messages.
  DiskConfig Attach(const std::string& who, const std::string& name, const std::string& id, const IsThere& is_there);
  // Those of the devices that are there.
  std::vector<DiskNode> Disks(const IsThere& is_there) const;
  // Refuses what no device ever asked for.
  void Finish() const;

 private:
  struct Node {
    std::string driver;
    std::string path;  // of a file
    std::string file;  // the node under a raw one
    bool read_only = false;
    std::optional<std::string> device;  // the last one it was attached to
  };
  Node& Free(const std::string& who, const std::string& name, const IsThere& is_there);

  std::map<std::string, Node> nodes_;
};

}  // namespace faultline
