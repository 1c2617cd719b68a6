// One virtio device and a driver that does anything: registers at any width, rings and buffers of any
// content, notifications, resets, and input from the host's side. FAULTLINE_FUZZ_DEVICE names the device.
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

#include "devices/virtio/balloon.h"
#include "devices/virtio/devices.h"
#include "devices/virtio/mem.h"
#include "tests/devices/virtio/virtio_world.h"
#include "tests/fuzz/guest_input.h"

namespace faultline {
namespace {

enum Device {
  rng,
  block,
  console,
  net,
  balloon,
  mem
};  // NOLINT(readability-identifier-naming): as the build names them
constexpr Device kDevice = FAULTLINE_FUZZ_DEVICE;
constexpr unsigned kQueues = kDevice == balloon ? 5 : kDevice == console || kDevice == net ? 2 : 1;
// All of the balloon's; without its one a virtio-mem device cannot be driven.
constexpr uint64_t kFeatures = kDevice == balloon ? 0x2e : kDevice == mem ? 2 : 0;
constexpr uint64_t kArena = 0x8000;  // 64 KiB and a little where buffers lie

// Made once: inputs are steps in the life of one device, which a reset ends.
struct Fixture {
  VirtioWorld world;
  FileDescriptor wire;
  ConsoleInput* input = nullptr;
  unsigned slot = world.pci.Add(Make());

  std::unique_ptr<PciFunction> Make() {
    const VirtioEnvironment environment = world.environment();
    switch (kDevice) {
      case rng:
        return MakeVirtioRng(environment);
      case block: {
        const int fd = memfd_create("fuzzed-disk", MFD_CLOEXEC);
        if (ftruncate(fd, 1 << 20) != 0) abort();
        return MakeVirtioBlock({.path = "/proc/self/fd/" + std::to_string(fd), .serial = "fuzz"}, environment);
      }
      case console: {
        VirtioConsoleDevice device = MakeVirtioConsole([](auto) {}, environment);
        input = &device.input;
        return std::move(device.function);
      }
      case net: {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) abort();
        wire = FileDescriptor(Host::System(), pair[0]);
        NetConfig config;
        config.backend = std::make_unique<NetBackend>(FileDescriptor(Host::System(), pair[1]));
        return MakeVirtioNet(std::move(config), environment);
      }
      case balloon: {
        VirtioBalloonDevice device = MakeVirtioBalloon({}, environment);
        device.balloon.SetTarget(8_MiB);
        return std::move(device.function);
      }
      case mem: {
        VirtioMemConfig config;
        config.region = {Gpa((4_GiB).value), 32_MiB};
        config.requested = 16_MiB;
        return std::move(MakeVirtioMem(config, environment).function);
      }
    }
    return nullptr;
  }
};

class Steps {
 public:
  Steps(Fixture& fixture, std::span<const std::byte> bytes)
      : fixture_(fixture), world_(fixture.world), driver_(world_, fixture.slot), input_(bytes) {}

  void Run() {
    Start(0);
    while (!input_.empty()) Step();
    Settle();
    world_.pci.Reset();
  }

 private:
  void Start(uint64_t features) { driver_.Start((features & driver_.OfferedFeatures()) | kFeatures, kQueues); }

  void Step() {
    const auto q = static_cast<unsigned>(input_.Take(1) % kQueues);
    switch (input_.Take(1) % 10) {
      case 0: {
        const uint64_t at = driver_.bar() + input_.Take(2) % 0x5000;
        const size_t width = input_.TakeWidth();
        StoreLittleEndian(input_.Take(width), data_);
        world_.mmio.Write(at, std::span(data_).first(width));
        break;
      }
      case 1:
        world_.mmio.Read(driver_.bar() + input_.Take(2) % 0x5000, std::span(data_).first(input_.TakeWidth()));
        break;
      case 2: {
        const size_t width = input_.TakeWidth();
        driver_.SetConfig(static_cast<unsigned>(input_.Take(1)), width, input_.Take(width));
        break;
      }
      case 3: {
        const Gpa at(kArena + input_.Take(2));
        world_.memory.Write(at, input_.TakeBytes(input_.Take(1)));
        break;
      }
      case 4: {
        const uint64_t address = kArena + input_.Take(2);
        const auto size = static_cast<uint32_t>(input_.Take(2));
        const auto flags = static_cast<uint16_t>(input_.Take(1) % 8);
        const auto index = static_cast<uint16_t>(input_.Take(1) % 8);
        driver_.SetDescriptor(q, index, address, size, flags, static_cast<uint16_t>(input_.Take(1) % 9));
        break;
      }
      case 5:
        driver_.MakeAvailable(q, static_cast<uint16_t>(input_.Take(1) % 9));
        driver_.Kick(q);
        break;
      case 6:
        Settle();
        break;
      case 7:
        world_.pci.Reset();
        driver_.SetConfig(pci::kCommand, 2, pci::kCommandMemory);
        Start(input_.Take(1) << 24 | input_.Take(2));
        break;
      case 8: {
        const auto bytes = input_.TakeBytes(input_.Take(1));
        if (fixture_.input != nullptr) fixture_.input->QueueInput(bytes);
        if (fixture_.wire) static_cast<void>(write(fixture_.wire.get(), bytes.data(), bytes.size()) < 0);
        break;
      }
      default:
        driver_.Put(driver_.queue(q).avail + Bytes(input_.Take(1) % 22), static_cast<uint16_t>(input_.Take(2)));
        driver_.Kick(q);
    }
  }

  // Gives the device's thread time to look, and takes what the guest sent off the wire.
  void Settle() {
    for (int i = 0; i < 20; ++i) sched_yield();
    std::array<std::byte, 2048> frame;
    while (fixture_.wire && read(fixture_.wire.get(), frame.data(), frame.size()) > 0) {
    }
  }

  Fixture& fixture_;
  VirtioWorld& world_;
  VirtioDriver driver_;
  GuestInput input_;
  std::array<std::byte, 8> data_ = {};
};

}  // namespace
}  // namespace faultline

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static auto* const fixture = new faultline::Fixture;
  try {
    faultline::Steps(*fixture, std::as_bytes(std::span(data, size))).Run();
  } catch (const std::runtime_error&) {
    // The driver lost its BAR or wrote outside memory: its own doing.
  }
  fixture->world.pci.Reset();
  return 0;
}
