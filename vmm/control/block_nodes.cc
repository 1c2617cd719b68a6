#include "vmm/control/block_nodes.h"

#include <algorithm>
#include <utility>

#include "guestmem/error.h"

namespace faultline {
namespace {

constexpr size_t kMost = 256;

std::string Quoted(const std::string& name) { return "'" + name.substr(0, 60) + "'"; }

}  // namespace

void BlockNodes::Add(OptionValues* values) {
  Node node;
  node.driver = values->Need("driver");
  const std::string name = values->Need("node-name");
  node.read_only = values->TakeBool("read-only").value_or(false);
  if (node.driver == "file" || node.driver == "host_device") {
    node.path = values->Need("filename");
  } else if (node.driver == "raw") {
    node.file = values->Need("file");
  } else {
    throw UsageError(values->option() + ": disks are raw, not '" + node.driver.substr(0, 40) +
                     "'; write <driver type='raw'/> (`qemu-img convert -O raw` makes one)");
  }
  // How the host caches is the host's affair: the guest's flushes are honoured, whatever these say.
  for (const char* key : {"cache.direct", "cache.no-flush", "auto-read-only", "discard", "aio", "detect-zeroes"}) {
    values->Ignore(key);
  }
  values->Finish();
  if (nodes_.size() >= kMost) {
    throw UsageError(values->option() + ": there are " + std::to_string(kMost) + " block nodes; delete one first");
  }
  if (!nodes_.emplace(name, std::move(node)).second) {
    throw UsageError(values->option() + ": the id " + Quoted(name) + " is taken");
  }
}

BlockNodes::Node& BlockNodes::Free(const std::string& who, const std::string& name, const IsThere& is_there) {
  const auto found = nodes_.find(name);
  if (found == nodes_.end()) throw UsageError(who + ": there is no block node " + Quoted(name));
  const std::optional<std::string>& device = found->second.device;
  // A device without an id stays.
  if (device && (device->empty() || is_there(*device))) {
    throw UsageError(who + ": the block node " + Quoted(name) + " is used by another disk" +
                     (device->empty() ? "" : ", " + Quoted(*device)));
  }
  return found->second;
}

void BlockNodes::Delete(const std::string& name, const IsThere& is_there) {
  Free("blockdev-del", name, is_there);
  const auto above = std::ranges::find_if(nodes_, [&](const auto& entry) { return entry.second.file == name; });
  if (above != nodes_.end()) {
    throw UsageError("blockdev-del: the block node " + Quoted(name) + " is used by " + Quoted(above->first) +
                     ": delete that one first");
  }
  nodes_.erase(name);
}

DiskConfig BlockNodes::Attach(const std::string& who, const std::string& name, const std::string& id,
                              const IsThere& is_there) {
  Node& format = Free(who, name, is_there);
  Node& storage = format.driver == "raw" ? Free(who, format.file, is_there) : format;
  if (storage.path.empty()) throw UsageError(who + ": the block node " + Quoted(name) + " ends in no file");
  DiskConfig disk;
  disk.path = storage.path;
  disk.read_only = format.read_only || storage.read_only;
  format.device = storage.device = id;
  return disk;
}

std::vector<DiskNode> BlockNodes::Disks(const IsThere& is_there) const {
  std::vector<DiskNode> disks;
  for (const auto& [name, node] : nodes_) {
    if (!node.device || (!node.device->empty() && !is_there(*node.device))) continue;
    const bool raw = node.driver == "raw";
    // A storage node is told of with the format node over it.
    const bool under = std::ranges::any_of(
        nodes_, [&name = name](const auto& entry) { return entry.second.file == name && entry.second.device; });
    if (!raw && under) continue;
    const auto storage = raw ? nodes_.find(node.file) : nodes_.find(name);
    if (storage == nodes_.end()) continue;
    disks.push_back({.format_node = name,
                     .storage_node = storage->first,
                     .path = storage->second.path,
                     .read_only = node.read_only || storage->second.read_only,
                     .device = *node.device});
  }
  return disks;
}

void BlockNodes::Finish() const {
  for (const auto& [name, node] : nodes_) {
    if (!node.device) throw UsageError("-blockdev " + Quoted(name) + " is used by nothing");
  }
}

}  // namespace faultline
