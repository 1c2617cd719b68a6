// The types of devices, objects and machines there are, by QEMU's names: what a management tool is told exists, and
// with which properties.
//
// Constant tables; thread-safe. Only what works is in them: libvirt refuses the rest by itself, with a better
// sentence than we could. Whoever adds a device adds it here.
#pragma once

#include <span>
#include <string_view>

namespace faultline {

struct PropertyType {
  std::string_view name;
  std::string_view type;
};

struct ObjectType {
  std::string_view name;
  std::string_view parent;
  std::span<const PropertyType> properties;
};

std::span<const ObjectType> ObjectTypes();
// Null when there is none of that name.
const ObjectType* FindObjectType(std::string_view name);

struct MachineType {
  std::string_view name;   // "pc-i440fx-7.2"
  std::string_view alias;  // "pc"
  std::string_view bus;    // what a device's `bus` says: "pci.0"
  bool is_default;
};

std::span<const MachineType> MachineTypes();
// By name or alias; null when there is none.
const MachineType* FindMachineType(std::string_view name);

}  // namespace faultline
