// The objects of QEMU's object-add: backings that have a name but stand behind no device yet, or behind one.
//
// Owned by VmControl, used on the control thread only. Nothing is allocated for a backend until device_add
// plugs it. Which of them is in use follows from the devices there are, so a device that goes away by itself
// frees its backend without anybody telling.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>

#include "guestmem/backing.h"
#include "guestmem/types.h"
#include "vmm/control/inventory.h"

namespace faultline {

class MemoryBackends {
 public:
  struct Backend {
    BackingSpec backing;
    Bytes size;
    std::string device;  // the last device it was plugged as
  };

  // QmpError when the id is taken.
  void Add(const std::string& id, const BackingSpec& backing, Bytes size);
  // QmpError when there is none, or a device of `devices` uses it.
  void Delete(const std::string& id, std::span<const Peripheral> devices);
  // The backend to plug; QmpError when there is none or it is in use.
  const Backend& Free(const std::string& id, std::span<const Peripheral> devices) const;
  void SetDevice(const std::string& id, const std::string& device);
  // The backend a device was plugged from, if it was plugged that way.
  std::optional<std::string> OfDevice(const std::string& device) const;

 private:
  std::map<std::string, Backend> backends_;
};

}  // namespace faultline
