// The virtio devices a machine can put on its PciBus: what each needs, and how to make one.
//
// How a machine uses it, after PciBus (devices/pci/pci_bus.h):
//   VirtioEnvironment env{.memory = memory, .msi = msi_host, .doorbells = &doorbell_host};
//   pci.Add(MakeVirtioBlock({.path = "disk.img"}, env));
//   pci.Add(MakeVirtioNet({.backend = MakeSlirpBackend({...})}, env));
//   pci.Add(MakeVirtioRng(env));
//   auto console = MakeVirtioConsole([](auto bytes) { ... }, env);
//   ConsoleInput& input = console.input;                          // lives as long as the function
//   pci.Add(std::move(console.function));
// Each device has one I/O thread of its own, which starts when its driver does and ends with the function;
// destroy the PciBus before the guest memory and the hosts of interrupts and doorbells, and after the last
// vCPU stopped. All Make functions throw UsageError or Error with a sentence for the user, before any guest
// runs; nothing here may be called from a device's thread.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "devices/doorbell.h"
#include "devices/msi.h"
#include "devices/pci/pci_function.h"
#include "devices/virtio/block_counters.h"
#include "devices/virtio/net_backend.h"
#include "guestmem/guest_memory.h"
#include "guestmem/host.h"

namespace faultline {

// What all virtio devices stand on; everything outlives the devices.
struct VirtioEnvironment {
  GuestMemory& memory;
  MsiHost& msi;
  DoorbellHost* doorbells = nullptr;  // null: every notification is an exit to user space
  Host& host = Host::System();
  // A device does nothing more until its driver resets it, and the sentence says why. Called on any thread, with no
  // lock held; a device calls it no more than kMaxReports times.
  std::function<void(const std::string& device, const std::string& sentence)> on_broken = {};
  static constexpr unsigned kMaxReports = 16;
};

struct BlockConfig {
  std::string path;        // a regular file or a block device; its size is rounded down to 512 bytes
  bool read_only = false;  // opens it for reading and takes a shared lock, otherwise an exclusive one
  bool io_uring = true;    // false: plain reads and writes on the device's thread, as without io_uring
  std::string serial;      // what the guest reads with GET_ID, at most 20 bytes; empty: the file's name
  std::shared_ptr<BlockCounters> counters = nullptr;  // null: nobody asks
};
// A disk (virtio 1.2 §5.2). Error when the image is missing, a directory, unreadable or used by another VM.
std::unique_ptr<PciFunction> MakeVirtioBlock(const BlockConfig& config, const VirtioEnvironment& environment);

// User networking through the helper program: 10.0.2.0/24, gateway 10.0.2.2, DNS 10.0.2.3, DHCP from 10.0.2.15.
struct SlirpConfig {
  std::string helper;                      // path of faultline-slirp; empty: beside the running program
  std::vector<std::string> host_forwards;  // "tcp:127.0.0.1:8080-:80", as QEMU's hostfwd
  bool restricted = false;                 // the guest reaches the host's forwards only, not the outside
};
std::unique_ptr<NetBackend> MakeSlirpBackend(const SlirpConfig& config);
// A tap interface that exists (`ip tuntap add NAME mode tap`); Error when it does not or is in use.
std::unique_ptr<NetBackend> MakeTapBackend(const std::string& name);
// One that somebody opened; `tap` stays theirs. UsageError when it is none, or puts protocol information before frames.
std::unique_ptr<NetBackend> MakeTapBackend(const FileDescriptor& tap);

using MacAddress = std::array<uint8_t, 6>;
// "52:54:00:12:34:56"; throws UsageError for anything else and for a multicast address.
MacAddress ParseMacAddress(const std::string& text);

struct NetConfig {
  std::unique_ptr<NetBackend> backend;
  MacAddress mac = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
};
// A network card (virtio 1.2 §5.1).
std::unique_ptr<PciFunction> MakeVirtioNet(NetConfig config, const VirtioEnvironment& environment);

// A source of entropy (virtio 1.2 §5.4): the host's getrandom(2).
std::unique_ptr<PciFunction> MakeVirtioRng(const VirtioEnvironment& environment);

// Receives what the guest prints, on the device's thread with no lock held.
using ConsoleOutput = std::function<void(std::span<const std::byte>)>;
class ConsoleInput {
 public:
  virtual ~ConsoleInput() = default;
  // Hands bytes to the guest; returns how many were taken (fewer when its queue is full). Thread-safe.
  virtual size_t QueueInput(std::span<const std::byte> input) = 0;
};
struct VirtioConsoleDevice {
  std::unique_ptr<PciFunction> function;
  ConsoleInput& input;  // a part of `function`
};
// A console, /dev/hvc0 (virtio 1.2 §5.3).
VirtioConsoleDevice MakeVirtioConsole(ConsoleOutput output, const VirtioEnvironment& environment);

}  // namespace faultline
