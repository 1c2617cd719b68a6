#include "vmm/control/object_types.h"

#include <algorithm>
#include <array>

namespace faultline {
namespace {

// Ours are modern whatever is asked.
constexpr PropertyType kModern{"disable-legacy", "OnOffAuto"};

constexpr std::array kBlockProperties{PropertyType{"addr", "int32"},      kModern,
                                      PropertyType{"bootindex", "int32"}, PropertyType{"drive", "str"},
                                      PropertyType{"serial", "str"},      PropertyType{"write-cache", "OnOffAuto"}};
constexpr std::array kNetProperties{PropertyType{"addr", "int32"}, kModern, PropertyType{"bootindex", "int32"},
                                    PropertyType{"mac", "str"}, PropertyType{"netdev", "str"}};
constexpr std::array kRngProperties{PropertyType{"addr", "int32"}, kModern, PropertyType{"rng", "link<rng-backend>"}};
constexpr std::array kBalloonProperties{PropertyType{"addr", "int32"},
                                        kModern,
                                        PropertyType{"deflate-on-oom", "bool"},
                                        PropertyType{"free-page-reporting", "bool"},
                                        PropertyType{"guest-stats", "guest statistics"},
                                        PropertyType{"guest-stats-polling-interval", "int"}};
constexpr std::array kMemProperties{PropertyType{"addr", "int32"},
                                    kModern,
                                    PropertyType{"block-size", "size"},
                                    PropertyType{"memaddr", "uint64"},
                                    PropertyType{"memdev", "link<memory-backend>"},
                                    PropertyType{"node", "uint32"},
                                    PropertyType{"requested-size", "size"},
                                    PropertyType{"size", "size"}};
constexpr std::array kSerialProperties{PropertyType{"chardev", "str"}, PropertyType{"index", "uint32"}};
constexpr std::array kVirtioSerialProperties{PropertyType{"addr", "int32"}, kModern};
constexpr std::array kVirtioConsoleProperties{PropertyType{"chardev", "str"}};
constexpr std::array kDimmProperties{PropertyType{"addr", "uint64"}, PropertyType{"memdev", "link<memory-backend>"},
                                     PropertyType{"node", "uint32"}, PropertyType{"slot", "int32"}};
constexpr std::array kRamProperties{PropertyType{"share", "bool"}, PropertyType{"size", "int"}};
constexpr std::array kMemfdProperties{PropertyType{"hugetlb", "bool"}, PropertyType{"share", "bool"},
                                      PropertyType{"size", "int"}};
constexpr std::array kFileProperties{PropertyType{"mem-path", "string"}, PropertyType{"share", "bool"},
                                     PropertyType{"size", "int"}};
constexpr std::array kRootPortProperties{PropertyType{"addr", "int32"}, PropertyType{"chassis", "uint8"},
                                         PropertyType{"multifunction", "bool"}, PropertyType{"port", "uint8"}};
constexpr std::array kRngRandomProperties{PropertyType{"filename", "string"}};

constexpr std::array kTypes{
    ObjectType{"host-x86_64-cpu", "x86_64-cpu", {}},
    ObjectType{"isa-serial", "isa-device", kSerialProperties},
    ObjectType{"memory-backend-file", "memory-backend", kFileProperties},
    ObjectType{"memory-backend-memfd", "memory-backend", kMemfdProperties},
    ObjectType{"memory-backend-ram", "memory-backend", kRamProperties},
    ObjectType{"pc-dimm", "device", kDimmProperties},
    ObjectType{"pcie-root-port", "pcie-root-port-base", kRootPortProperties},
    ObjectType{"rng-random", "rng-backend", kRngRandomProperties},
    ObjectType{"virtconsole", "virtio-serial-port", kVirtioConsoleProperties},
    ObjectType{"virtio-balloon-pci", "virtio-pci", kBalloonProperties},
    ObjectType{"virtio-blk-pci", "virtio-pci", kBlockProperties},
    ObjectType{"virtio-mem-pci", "virtio-pci", kMemProperties},
    ObjectType{"virtio-net-pci", "virtio-pci", kNetProperties},
    ObjectType{"virtio-rng-pci", "virtio-pci", kRngProperties},
    ObjectType{"virtio-serial-pci", "virtio-pci", kVirtioSerialProperties},
};

constexpr std::array kMachines{
    MachineType{"pc-i440fx-7.2", "pc", "pci.0", true},
    MachineType{"pc-q35-7.2", "q35", "pcie.0", false},
};

}  // namespace

std::span<const ObjectType> ObjectTypes() { return kTypes; }

const ObjectType* FindObjectType(std::string_view name) {
  const auto it = std::ranges::find(kTypes, name, &ObjectType::name);
  return it == kTypes.end() ? nullptr : &*it;
}

std::span<const MachineType> MachineTypes() { return kMachines; }

const MachineType* FindMachineType(std::string_view name) {
  const auto it =
      std::ranges::find_if(kMachines, [&](const MachineType& m) { return m.name == name || m.alias == name; });
  return it == kMachines.end() ? nullptr : &*it;
}

}  // namespace faultline
