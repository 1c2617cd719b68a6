// A VM that only remembers what it was told. For one thread, as VmControl is.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "guestmem/error.h"
#include "vmm/control/vm_control.h"

namespace faultline {

class FakeVm final : public VmControl {
 public:
  FakeVm() {
    config_.name = "fake";
    config_.memory.boot = 256_MiB;
    config_.memory.max = 4_GiB;
    config_.memory.slots = 4;
    surroundings_.console = "none";
  }

  const MachineConfig& config() const override { return config_; }
  MachineConfig& config() { return config_; }
  const Surroundings& surroundings() const override { return surroundings_; }
  Surroundings& surroundings() { return surroundings_; }
  MachineStatus Status() const override {
    MachineStatus status;
    status.state = state;
    status.pause_reason = pause_reason;
    status.boot_memory = config_.memory.boot;
    status.max_memory = config_.memory.max;
    status.slots = config_.memory.slots;
    for (const auto& d : devices) status.plugged_memory += d.gpa.size;
    status.vcpus = {{0, 4711}, {1, 4712}};
    return status;
  }
  std::vector<MemoryDeviceInfo> MemoryDevices() const override { return devices; }
  void MergeFaultLatency(LatencyHistogram& into) const override { into.Record(1000); }

  void Pause() override { state = RunState::kPaused; }
  void Resume() override { state = RunState::kRunning; }
  void RequestShutdown() override { ++shutdowns; }
  void Reset() override { ++resets; }
  void Quit() override { ++quits; }

  MemoryDeviceInfo PlugMemory(const PlugRequest& request) override {
    if (std::ranges::any_of(devices, [&](const auto& d) { return d.id == request.id; })) {
      throw UsageError("a device named '" + request.id + "' is plugged already: choose another name");
    }
    if (request.size > 1_GiB) throw Error("the host has no memory for " + request.id + ": free some");
    plugs.push_back(request);
    MemoryDeviceInfo info;
    info.id = request.id;
    info.slot = request.slot.value_or(static_cast<unsigned>(devices.size()));
    info.gpa = {request.address.value_or(Gpa(0x100000000 + devices.size() * (1_GiB).value)), request.size};
    info.node = request.node;
    info.backing = request.backing.value_or(BackingSpec{});
    devices.push_back(info);
    return info;
  }
  uint64_t UnplugMemory(const UnplugRequest& request) override {
    if (std::ranges::none_of(devices, [&](const auto& d) { return d.id == request.id; })) {
      throw UsageError("no device named '" + request.id + "' is plugged");
    }
    unplugs.push_back(request);
    return unplugs.size();
  }
  std::vector<UnplugOperationInfo> MemoryOperations() const override { return operations; }
  void CancelUnplug(uint64_t operation) override {
    if (std::ranges::find(operations, operation, &UnplugOperationInfo::operation) == operations.end()) {
      throw UsageError("there is no unplug operation " + std::to_string(operation));
    }
    cancels.push_back(operation);
  }

  void PlugCard(const Card& card) override {
    if (refuse_cards) throw UsageError("there is no slot for it: unplug something");
    if (const auto* disk = std::get_if<DiskConfig>(&card)) {
      cards.disks.push_back(*disk);
    } else {
      cards.net_cards.push_back(std::get<NetCardConfig>(card));
    }
  }
  void UnplugCard(const std::string& id) override { card_unplugs.push_back(id); }
  DeviceConfig Devices() const override { return cards; }

  std::vector<VirtioMemInfo> VirtioMemDevices() const override { return mems; }
  std::vector<MemoryMapInfo> MemoryMaps(size_t cells) const override {
    return {{"boot", {Gpa(0), 256_MiB}, {Bytes((256_MiB).value / cells), {cells, 4_MiB}, {cells, 1_MiB}}}};
  }
  void ResizeVirtioMem(const std::string& id, Bytes requested) override {
    const auto it = std::ranges::find(mems, id, &VirtioMemInfo::id);
    if (it == mems.end()) throw UsageError("there is no virtio-mem device '" + id + "'");
    it->state.requested = requested;
  }
  Balloon* balloon() override { return balloon_; }
  void SetBalloon(Balloon* balloon) {
    balloon_ = balloon;
    config_.balloon.reset();
    if (balloon != nullptr) config_.balloon.emplace();
  }

  void Save(FileDescriptor out) override { saves.push_back(std::move(out)); }
  void Restore(FileDescriptor in) override { restores.push_back(std::move(in)); }
  void CancelMigration() override { ++cancelled_migrations; }
  MigrationInfo MigrationState() const override { return migration; }

  std::vector<FileDescriptor> saves;
  std::vector<FileDescriptor> restores;
  int cancelled_migrations = 0;
  MigrationInfo migration;
  std::vector<VirtioMemInfo> mems;
  RunState state = RunState::kRunning;
  std::optional<PauseReason> pause_reason;
  int shutdowns = 0;
  int resets = 0;
  int quits = 0;
  std::vector<MemoryDeviceInfo> devices;
  std::vector<PlugRequest> plugs;
  std::vector<UnplugRequest> unplugs;
  std::vector<UnplugOperationInfo> operations;
  std::vector<uint64_t> cancels;
  DeviceConfig cards;
  bool refuse_cards = false;
  std::vector<std::string> card_unplugs;

 private:
  Balloon* balloon_ = nullptr;
  MachineConfig config_;
  Surroundings surroundings_;
};

}  // namespace faultline
