#include "vmm/machine/saved_state.h"

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "guestmem/error.h"

namespace faultline {
namespace {

using nlohmann::json;

// A structure of KVM's interface, byte for byte.
template <class T>
json Bytewise(const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::vector<uint8_t> bytes(sizeof(T));
  memcpy(bytes.data(), &value, sizeof(T));
  return json::binary(std::move(bytes));
}

template <class T>
T FromBytes(const json& saved, const char* name) {
  static_assert(std::is_trivially_copyable_v<T>);
  const auto& bytes = saved.at(name).get_binary();
  if (bytes.size() != sizeof(T)) {
    throw Error("the saved '" + std::string(name) + "' of a vCPU has " + std::to_string(bytes.size()) +
                " bytes instead of " + std::to_string(sizeof(T)) +
                ": it is damaged, or comes from a host with another interface to KVM");
  }
  T value;
  memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

// The kind of machine, as Machine chooses it.
std::string_view PlatformOf(const MachineConfig& config) { return config.boot.kernel.empty() ? "built-in" : "pc"; }

void CheckSame(const char* what, const std::string& have, const std::string& saved) {
  if (have == saved) return;
  throw UsageError("the saved VM had " + saved + " as " + what + " and this one has " + have +
                   ": restore into a VM of the same make");
}

}  // namespace

json ToJson(const MachineConfig& config) {
  return {{"name", config.name},
          {"platform", PlatformOf(config)},
          {"cpus", config.cpus},
          {"memory", config.memory.boot.value},
          {"max-memory", config.memory.max.value},
          {"slots", config.memory.slots},
          {"nodes", config.memory.nodes},
          {"backing", ToString(config.memory.backing)},
          {"fault-around", config.memory.fault_around.pages},
          {"on-unplugged-access", ToString(config.on_unplugged_access)}};
}

void CheckSameConfig(const MachineConfig& config, const json& saved) {
  const json have = ToJson(config);
  for (const char* what : {"platform", "cpus", "memory", "max-memory", "slots", "nodes"}) {
    CheckSame(what, have.at(what).dump(), saved.at(what).dump());
  }
}

MachineConfig MachineConfigFrom(const json& saved, MachineConfig otherwise) {
  MachineConfig config = std::move(otherwise);
  if (config.name.empty()) saved.at("name").get_to(config.name);
  saved.at("cpus").get_to(config.cpus);
  saved.at("memory").get_to(config.memory.boot.value);
  saved.at("max-memory").get_to(config.memory.max.value);
  saved.at("slots").get_to(config.memory.slots);
  saved.at("nodes").get_to(config.memory.nodes);
  config.memory.backing = ParseBackingSpec(saved.at("backing").get<std::string>());
  saved.at("fault-around").get_to(config.memory.fault_around.pages);
  config.on_unplugged_access = ParseUnpluggedPolicy(saved.at("on-unplugged-access").get<std::string>());
  return config;
}

json ToJson(const VcpuState& state) {
  json saved{
      {"regs", Bytewise(state.regs)},     {"sregs", Bytewise(state.sregs)}, {"debug-regs", Bytewise(state.debug_regs)},
      {"events", Bytewise(state.events)}, {"xcrs", Bytewise(state.xcrs)},   {"xsave", json::binary(state.xsave)}};
  json msrs = json::array();
  for (const kvm_msr_entry& msr : state.msrs) msrs.push_back({msr.index, msr.data});
  saved["msrs"] = std::move(msrs);
  if (state.lapic) saved["lapic"] = Bytewise(*state.lapic);
  if (state.mp_state) saved["mp-state"] = state.mp_state->mp_state;
  return saved;
}

VcpuState VcpuStateFrom(const json& saved) {
  VcpuState state;
  state.regs = FromBytes<kvm_regs>(saved, "regs");
  state.sregs = FromBytes<kvm_sregs>(saved, "sregs");
  state.debug_regs = FromBytes<kvm_debugregs>(saved, "debug-regs");
  state.events = FromBytes<kvm_vcpu_events>(saved, "events");
  state.xcrs = FromBytes<kvm_xcrs>(saved, "xcrs");
  state.xsave = saved.at("xsave").get_binary();
  for (const json& msr : saved.at("msrs")) {
    state.msrs.push_back({msr.at(0).get<uint32_t>(), 0, msr.at(1).get<uint64_t>()});
  }
  if (saved.contains("lapic")) state.lapic = FromBytes<kvm_lapic_state>(saved, "lapic");
  if (saved.contains("mp-state")) state.mp_state = kvm_mp_state{saved.at("mp-state").get<uint32_t>()};
  return state;
}

json ToJson(const Serial::State& state) {
  return {{"interrupt-enable", state.interrupt_enable},
          {"fifo-control", state.fifo_control},
          {"line-control", state.line_control},
          {"modem-control", state.modem_control},
          {"line-errors", state.line_errors},
          {"modem-delta", state.modem_delta},
          {"scratch", state.scratch},
          {"divisor-low", state.divisor_low},
          {"divisor-high", state.divisor_high},
          {"transmit-empty-pending", state.transmit_empty_pending},
          {"fifo", json::binary(state.fifo)},
          {"queued", json::binary(state.queued)}};
}

Serial::State SerialStateFrom(const json& saved) {
  Serial::State state;
  saved.at("interrupt-enable").get_to(state.interrupt_enable);
  saved.at("fifo-control").get_to(state.fifo_control);
  saved.at("line-control").get_to(state.line_control);
  saved.at("modem-control").get_to(state.modem_control);
  saved.at("line-errors").get_to(state.line_errors);
  saved.at("modem-delta").get_to(state.modem_delta);
  saved.at("scratch").get_to(state.scratch);
  saved.at("divisor-low").get_to(state.divisor_low);
  saved.at("divisor-high").get_to(state.divisor_high);
  saved.at("transmit-empty-pending").get_to(state.transmit_empty_pending);
  state.fifo = saved.at("fifo").get_binary();
  state.queued = saved.at("queued").get_binary();
  return state;
}

json ToJson(const MemoryHotplug::State& state) {
  json slots = json::array();
  for (const MemoryHotplug::SavedSlot& slot : state.slots) {
    slots.push_back({{"addr", slot.state.range.start.value},
                     {"size", slot.state.range.size.value},
                     {"proximity", slot.state.proximity},
                     {"occupied", slot.state.occupied},
                     {"insert-event", slot.state.insert_event},
                     {"remove-event", slot.state.remove_event},
                     {"ost-event", slot.state.ost_event},
                     {"ost-status", slot.state.ost_status},
                     {"ejected", slot.ejected}});
  }
  return {{"selector", state.selector}, {"slots", std::move(slots)}};
}

MemoryHotplug::State MemoryHotplugStateFrom(const json& saved) {
  MemoryHotplug::State state;
  saved.at("selector").get_to(state.selector);
  for (const json& slot : saved.at("slots")) {
    MemoryHotplug::SavedSlot& into = state.slots.emplace_back();
    into.state.range = {Gpa(slot.at("addr").get<uint64_t>()), Bytes(slot.at("size").get<uint64_t>())};
    slot.at("proximity").get_to(into.state.proximity);
    slot.at("occupied").get_to(into.state.occupied);
    slot.at("insert-event").get_to(into.state.insert_event);
    slot.at("remove-event").get_to(into.state.remove_event);
    slot.at("ost-event").get_to(into.state.ost_event);
    slot.at("ost-status").get_to(into.state.ost_status);
    slot.at("ejected").get_to(into.ejected);
  }
  return state;
}

}  // namespace faultline
