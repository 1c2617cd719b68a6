// `faultline memory plug`
#include <nlohmann/json.hpp>

#include "guestmem/hex.h"
#include "vmm/cli/output.h"
#include "vmm/cli/quantity.h"
#include "vmm/cli/subcommand.h"
#include "vmm/cli/vm_connection.h"
#include "vmm/machine/config.h"

namespace faultline {
namespace {

using nlohmann::json;

class MemoryPlug final : public Subcommand {
 public:
  void Describe(OptionList& options) override {
    options.Required("VM", &vm_, "Name of a running VM (see `faultline list`)");
    options.Required("SIZE", &size_, "How much, a multiple of 2M: 128M, 1G");
    options.Option("--id", "ID", &id_, "Name of the new device; dimm0, dimm1, … by default");
    options.Option("--slot", "N", &slot_, "Which slot; the lowest free one by default");
    options.Option("--node", "N", &node_, "NUMA node of a booted guest, as --memory nodes=N has them; 0 by default");
    options.Option("--address", "ADDR", &address_, "Guest-physical address; the first gap that fits by default");
    options.Option("--backing", "KIND", &backing_, "anonymous, memfd, hugetlb or file:PATH; as the VM's by default");
    options.Flag("--json", &json_, "Answer in JSON: sizes in bytes");
    options.Footer(
        "The VM must have been started with room for it: --memory 256M,max=4G,slots=16.\n\n"
        "Examples:\n  faultline memory plug vm1 128M\n  faultline memory plug vm1 1G --id big --backing memfd");
  }

  int Run() override {
    json arguments{{"size", ParseAlignedSize("SIZE", size_, kPlugGranule).value}};
    if (id_) arguments["id"] = *id_;
    if (slot_) arguments["slot"] = ParseCount("--slot", *slot_, 0, 255);
    if (node_) arguments["node"] = ParseCount("--node", *node_, 0, 7);
    if (address_) arguments["addr"] = ParseAddress("--address", *address_).value;
    if (backing_) arguments["backing"] = ToString(ParseBackingSpec(*backing_));
    if (id_ && id_->empty()) throw UsageError("--id: a device needs a name that is not empty");
    const json device = AskVm(vm_, "x-faultline-memory-plug", arguments);
    if (json_) {
      PrintJson(device);
    } else {
      Print("Plugged " + device.at("id").get<std::string>() + ": " +
            ReadableSize(Bytes(device.at("size").get<uint64_t>())) + " at " + Hex(device.at("addr").get<uint64_t>()) +
            ", slot " + std::to_string(device.at("slot").get<unsigned>()) + "\n");
    }
    return 0;
  }

 private:
  std::string vm_;
  std::string size_;
  std::optional<std::string> id_, slot_, node_, address_, backing_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Subcommand> MakeMemoryPlug() { return std::make_unique<MemoryPlug>(); }

}  // namespace faultline
