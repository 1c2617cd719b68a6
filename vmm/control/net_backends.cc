#include "vmm/control/net_backends.h"

#include <memory>
#include <utility>

#include "guestmem/error.h"

namespace faultline {
namespace {

constexpr size_t kMost = 256;

std::string Quoted(const std::string& name) { return "'" + name.substr(0, 60) + "'"; }

void TakeTap(OptionValues* values, const NetBackends::TakeDescriptor& take, NetCardConfig* card) {
  // Frames go through this program, whether or not the host's kernel offers to carry them.
  values->Ignore("vhost");
  if (const auto vhost = values->Take("vhostfd")) take(*vhost);
  if (const auto fd = values->Take("fd")) {
    card->tap_fd = std::make_shared<const FileDescriptor>(take(*fd));
    return;
  }
  card->tap = values->Take("ifname");
  if (!card->tap) throw UsageError(values->option() + ": a tap comes by its name, as ifname=, or open, as fd=");
  values->Accept("script", "no");
  values->Accept("downscript", "no");
}

}  // namespace

void NetBackends::Add(OptionValues* values, const TakeDescriptor& take) {
  const std::string type = values->Need("type");
  const std::string id = values->Need("id");
  Net net;
  if (type == "user") {
    net.config.user.restricted = values->TakeBool("restrict").value_or(false);
    for (const std::string key : {"hostfwd", "hostfwd.0.str"}) {
      if (auto forward = values->Take(key)) net.config.user.host_forwards.push_back(*std::move(forward));
    }
  } else if (type == "tap") {
    TakeTap(values, take, &net.config);
  } else {
    throw UsageError(values->option() + ": networks are 'user' and 'tap', not '" + type.substr(0, 40) +
                     "'; write <interface type='user'>");
  }
  values->Finish();
  if (nets_.size() >= kMost) {
    throw UsageError(values->option() + ": there are " + std::to_string(kMost) + " networks; delete one first");
  }
  if (!nets_.emplace(id, std::move(net)).second) {
    throw UsageError(values->option() + ": the id " + Quoted(id) + " is taken");
  }
}

NetBackends::Net& NetBackends::Free(const std::string& who, const std::string& name, const IsThere& is_there) {
  const auto found = nets_.find(name);
  if (found == nets_.end()) throw UsageError(who + ": there is no netdev " + Quoted(name));
  const std::optional<std::string>& device = found->second.device;
  // A device without an id stays.
  if (device && (device->empty() || is_there(*device))) {
    throw UsageError(who + ": the netdev " + Quoted(name) + " is used by another network card" +
                     (device->empty() ? "" : ", " + Quoted(*device)));
  }
  return found->second;
}

void NetBackends::Delete(const std::string& id, const IsThere& is_there) {
  Free("netdev_del", id, is_there);
  nets_.erase(id);
}

NetCardConfig NetBackends::Attach(const std::string& who, const std::string& name, const std::string& id,
                                  const IsThere& is_there) {
  Net& net = Free(who, name, is_there);
  net.device = id;
  return net.config;
}

void NetBackends::Finish() const {
  for (const auto& [id, net] : nets_) {
    if (!net.device) throw UsageError("-netdev " + Quoted(id) + " is used by nothing");
  }
}

}  // namespace faultline
