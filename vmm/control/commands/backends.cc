// query-chardev, query-block, query-named-block-nodes, query-jobs: the host's side of the devices.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "vmm/control/arguments.h"
#include "vmm/control/commands/cards.h"
#include "vmm/control/commands/commands.h"
#include "vmm/control/peripherals.h"
#include "vmm/control/vm_control.h"

namespace faultline {

using nlohmann::json;

namespace {

// Of a file or a block device; 0 when it is not there any more.
Bytes SizeOf(const std::string& path) {
  const FileDescriptor file(Host::System(), open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  const off_t end = file ? lseek(file.get(), 0, SEEK_END) : 0;
  return Bytes(end > 0 ? static_cast<uint64_t>(end) : 0);
}

json Image(const DiskNode& disk, std::string_view format) {
  json image{
      {"filename", disk.path}, {"format", format}, {"virtual-size", SizeOf(disk.path).value}, {"dirty-flag", false}};
  struct stat info {};
  if (stat(disk.path.c_str(), &info) == 0) image["actual-size"] = info.st_blocks * 512;
  return image;
}

// BlockDeviceInfo of QEMU's schema. No throttling, no encryption, no write threshold: all zero there.
json Node(const DiskNode& disk, const std::string& name, std::string_view driver) {
  json node{{"file", disk.path},
            {"node-name", name},
            {"ro", disk.read_only},
            {"drv", driver},
            {"backing_file_depth", 0},
            {"encrypted", false},
            {"detect_zeroes", "off"},
            {"write_threshold", 0},
            {"image", Image(disk, driver)},
            {"cache", {{"writeback", true}, {"direct", false}, {"no-flush", false}}}};
  for (const char* limit : {"bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"}) node[limit] = 0;
  return node;
}

}  // namespace

json QueryChardev(const json& arguments, VmControl& vm) {
  Arguments(arguments).Finish();
  json list = json::array();
  for (const CharacterDevice& device : vm.surroundings().inventory.chardevs) {
    list.push_back({{"label", device.id}, {"filename", device.filename}, {"frontend-open", true}});
  }
  return list;
}

json QueryBlock(const json& arguments, VmControl& vm) {
  Arguments(arguments).Finish();
  json list = json::array();
  for (const DiskNode& disk : vm.cards().blocks.Disks(DeviceIsThere(vm))) {
    list.push_back({{"device", ""},
                    {"qdev", PeripheralPath(disk.device) + "/virtio-backend"},
                    {"type", "unknown"},
                    {"locked", false},
                    {"removable", false},
                    {"io-status", "ok"},
                    {"inserted", Node(disk, disk.format_node, "raw")}});
  }
  return list;
}

json QueryNamedBlockNodes(const json& arguments, VmControl& vm) {
  Arguments args(arguments);
  args.Bool("flat", false);  // no node has others behind it that would be left out
  args.Finish();
  json list = json::array();
  for (const DiskNode& disk : vm.cards().blocks.Disks(DeviceIsThere(vm))) {
    list.push_back(Node(disk, disk.format_node, "raw"));
    list.push_back(Node(disk, disk.storage_node, "file"));
  }
  return list;
}

// Long work of QEMU's block layer; we have none of it.
json QueryJobs(const json& arguments, VmControl& /*vm*/) {
  Arguments(arguments).Finish();
  return json::array();
}

}  // namespace faultline
