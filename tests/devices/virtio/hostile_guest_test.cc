// What a guest that means harm can do to each virtio device: any write to any register at any width, rings
// full of nonsense, buffers anywhere. Nothing may crash, hang or leave the access (the address sanitizer
// watches); the device fails the request or asks to be reset, and a reset makes it whole.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <random>

#include "devices/virtio/balloon.h"
#include "devices/virtio/devices.h"
#include "devices/virtio/mem.h"
#include "devices/virtio/virtio_pci.h"
#include "tests/devices/virtio/virtio_world.h"

namespace faultline {
namespace {

// What a device stands on, gone after it.
struct Backing {
  Backing() {
    close(mkstemp(disk.data()));
    if (truncate(disk.c_str(), 1 << 20) != 0) throw Error("no disk image");
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) throw Error("no socket");
    wire = FileDescriptor(Host::System(), pair[0]);
    frames = FileDescriptor(Host::System(), pair[1]);
  }
  ~Backing() { unlink(disk.c_str()); }
  Backing(const Backing&) = delete;
  Backing& operator=(const Backing&) = delete;
  std::string disk = testing::TempDir() + "faultline-hostile-XXXXXX";
  FileDescriptor wire;
  FileDescriptor frames;
};

struct Victim {
  const char* name;
  unsigned queues;
  std::function<std::unique_ptr<PciFunction>(Backing&, VirtioWorld&)> make;
  uint64_t features = 0;
};
void PrintTo(const Victim& victim, std::ostream* os) { *os << victim.name; }

class HostileGuest : public testing::TestWithParam<Victim> {
 protected:
  unsigned queues() const { return GetParam().queues; }
  void WriteAt(uint64_t offset, size_t width, uint64_t value) {
    std::array<std::byte, 16> bytes = {};
    StoreLittleEndian(value, bytes);
    world.mmio.Write(driver.bar() + offset, std::span(bytes).first(width));
  }
  void ReadAt(uint64_t offset, size_t width) {
    constexpr std::byte kGuard{0xc3};
    std::vector<std::byte> bytes(width + 2, kGuard);
    world.mmio.Read(driver.bar() + offset, std::span(bytes).subspan(1, width));
    EXPECT_EQ(bytes.front(), kGuard);
    EXPECT_EQ(bytes.back(), kGuard);
  }
  // The device is whole: it can be reset and driven again.
  void ExpectAlive() {
    driver.SetConfig(pci::kBar0, 4, driver.bar() & 0xffffffff);
    driver.SetConfig(pci::kBar0 + 4, 4, driver.bar() >> 32);
    driver.SetConfig(pci::kCommand, 2, pci::kCommandMemory);
    driver.SetStatus(0);
    EXPECT_EQ(driver.Status(), 0);
    driver.Start(GetParam().features, queues());
    EXPECT_EQ(driver.Status() & (VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET), VIRTIO_CONFIG_S_DRIVER_OK);
    driver.SetStatus(0);
  }
  void ExpectNeedsReset(const char* what, const std::function<void(unsigned)>& harm) {
    for (unsigned q = 0; q < queues(); ++q) {
      driver.Start(GetParam().features | uint64_t{1} << 28, queues());
      harm(q);
      driver.Kick(q);
      // A network card reads its receive ring only when there is a frame for it.
      const Frame frame = {};
      EXPECT_EQ(write(backing.wire.get(), frame.data(), frame.size()), static_cast<ssize_t>(frame.size()));
      if (GetParam().name == std::string("Console") && q == 0) input->QueueInput(std::as_bytes(std::span(frame)));
      EXPECT_TRUE(driver.WaitNeedsReset()) << what << ", queue " << q;
    }
    ExpectAlive();
  }
  using Frame = std::array<char, 60>;

 public:
  static inline ConsoleInput* input = nullptr;

 protected:
  Backing backing;
  VirtioWorld world;
  VirtioDriver driver{world, world.pci.Add(GetParam().make(backing, world))};
  std::mt19937_64 random{20240229};  // NOLINT(cert-msc51-cpp): repeatable
};

TEST_P(HostileGuest, EveryRegisterAtEveryWidthIsSafe) {
  driver.Start(GetParam().features, queues());
  for (uint64_t offset = 0; offset < VirtioPci::kBarSize.value; ++offset) {
    // All of what is there, and the start of each empty stretch.
    if (offset % VirtioPci::kPart >= 0x80 && offset % 0x400 >= 0x20) continue;
    for (const size_t width : {1, 2, 3, 4, 8, 16}) {
      if (offset + width > VirtioPci::kBarSize.value) continue;
      for (const uint64_t value : {0ULL, 1ULL, 0x7fULL, 0x80000000ULL, ~0ULL}) {
        WriteAt(offset, width, value);
        ReadAt(offset, width);
      }
    }
  }
  ExpectAlive();
}

TEST_P(HostileGuest, EveryConfigurationRegisterAtEveryWidthIsSafe) {
  driver.Start(GetParam().features, queues());
  for (unsigned offset = 0; offset < 0x110; ++offset) {
    for (const size_t width : {1, 2, 4, 8}) {
      for (const uint64_t value : {0ULL, 1ULL, 0x7fULL, 0x80000000ULL, ~0ULL}) {
        driver.SetConfig(offset, width, value);
        driver.Config(offset, width);
      }
    }
  }
  ExpectAlive();
}

TEST_P(HostileGuest, RandomAccessesAreSafe) {
  for (int round = 0; round < 20; ++round) {
    driver.Start(GetParam().features, queues());
    for (int i = 0; i < 500; ++i) {
      const uint64_t part = random() % 5 * VirtioPci::kPart;
      const uint64_t offset = part + random() % 64;
      const size_t width = size_t{1} << random() % 4;
      if (random() % 3 == 0) {
        ReadAt(offset, width);
      } else {
        WriteAt(offset, width, random() % 4 == 0 ? random() : random() % 256);
      }
    }
    ExpectAlive();
  }
}

TEST_P(HostileGuest, RingsOfRandomBytesAreSafe) {
  for (int round = 0; round < 200; ++round) {
    driver.Start(GetParam().features | (random() % 2 == 0 ? uint64_t{3} << 28 : 0), queues());
    for (unsigned q = 0; q < queues(); ++q) {
      VirtioDriver::Queue& queue = driver.queue(q);
      for (uint16_t i = 0; i < queue.size; ++i) {
        // Often near to sense, sometimes far from it.
        const uint64_t address = random() % 4 == 0 ? random() : random() % VirtioWorld::kRam.value;
        const auto size = static_cast<uint32_t>(random() % 8 == 0 ? random() : random() % 5000);
        driver.SetDescriptor(q, i, address, size, static_cast<uint16_t>(random() % 8),
                             static_cast<uint16_t>(random() % (queue.size + 1)));
      }
      for (unsigned i = 0; i < random() % 4; ++i) driver.MakeAvailable(q, static_cast<uint16_t>(random() % queue.size));
      driver.Kick(q);
    }
    // Time for the device's thread to look; what it has not looked at by then the next reset takes away.
    std::this_thread::sleep_for(std::chrono::microseconds(200));
    if (round % 20 == 0) ExpectAlive();
  }
  ExpectAlive();
}

TEST_P(HostileGuest, RingsOnTopOfEachOtherDoNotHoldTheDeviceForEver) {
  driver.Negotiate(uint64_t{1} << VIRTIO_F_VERSION_1);
  for (unsigned q = 0; q < queues(); ++q) {
    // The used index is the available index: each buffer used makes another available.
    driver.SetCommon(VIRTIO_PCI_COMMON_Q_SELECT, 2, q);
    driver.SetCommon(VIRTIO_PCI_COMMON_Q_SIZE, 2, 8);
    driver.SetCommon(VIRTIO_PCI_COMMON_Q_DESCLO, 4, 0x1000);
    driver.SetCommon(VIRTIO_PCI_COMMON_Q_AVAILLO, 4, 0x2000);
    driver.SetCommon(VIRTIO_PCI_COMMON_Q_USEDLO, 4, 0x2000);
    driver.SetCommon(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
  }
  for (uint64_t i = 0; i < 8; ++i) driver.SetDescriptorAt(Gpa(0x1000 + 16 * i), 0x8000, 64, i % 2 == 0 ? 2 : 0, 0);
  driver.Put(Gpa(0x2002), uint16_t{1});
  driver.SetStatus(driver.Status() | VIRTIO_CONFIG_S_DRIVER_OK);
  for (unsigned q = 0; q < queues(); ++q) driver.Kick(q);
  for (int i = 0; i < 10; ++i) driver.Status();
  ExpectAlive();
}

TEST_P(HostileGuest, MalformedRingsAskForAReset) {
  ExpectNeedsReset("a head behind the table", [&](unsigned q) { driver.MakeAvailable(q, 8); });
  ExpectNeedsReset("an index that jumps",
                   [&](unsigned q) { driver.Put(driver.queue(q).avail + Bytes(2), uint16_t{0x8000}); });
  ExpectNeedsReset("a loop", [&](unsigned q) {
    driver.SetDescriptor(q, 0, 0x8000, 16, 1, 1);
    driver.SetDescriptor(q, 1, 0x8000, 16, 1, 0);
    driver.MakeAvailable(q, 0);
  });
  ExpectNeedsReset("a length that wraps around", [&](unsigned q) {
    driver.SetDescriptor(q, 0, ~0ULL - 8, 0xffff, 2, 0);
    driver.MakeAvailable(q, 0);
  });
  ExpectNeedsReset("an indirect table outside memory", [&](unsigned q) {
    driver.SetDescriptor(q, 0, 0x7000'0000, 64, 4, 0);
    driver.MakeAvailable(q, 0);
  });
  ExpectNeedsReset("an indirect table inside another", [&](unsigned q) {
    driver.SetDescriptorAt(Gpa(0x8000), 0x8000, 16, 4, 0);
    driver.SetDescriptor(q, 0, 0x8000, 16, 4, 0);
    driver.MakeAvailable(q, 0);
  });
}

INSTANTIATE_TEST_SUITE_P(
    Devices, HostileGuest,
    testing::Values(Victim{"Rng", 1, [](Backing&, VirtioWorld& world) { return MakeVirtioRng(world.environment()); }},
                    Victim{"BlockUring", 1,
                           [](Backing& backing, VirtioWorld& world) {
                             return MakeVirtioBlock({.path = backing.disk, .serial = {}}, world.environment());
                           }},
                    Victim{"BlockPlain", 1,
                           [](Backing& backing, VirtioWorld& world) {
                             return MakeVirtioBlock({.path = backing.disk, .io_uring = false, .serial = {}},
                                                    world.environment());
                           }},
                    Victim{"Console", 2,
                           [](Backing&, VirtioWorld& world) {
                             VirtioConsoleDevice device = MakeVirtioConsole([](auto) {}, world.environment());
                             HostileGuest::input = &device.input;
                             return std::move(device.function);
                           }},
                    Victim{"Balloon", 5,
                           [](Backing&, VirtioWorld& world) {
                             return std::move(MakeVirtioBalloon({}, world.environment()).function);
                           },
                           0x2a},
                    Victim{"Mem", 1,
                           [](Backing&, VirtioWorld& world) {
                             VirtioMemConfig config;
                             config.region = {Gpa((4_GiB).value), 64_MiB};
                             config.requested = 32_MiB;
                             return std::move(MakeVirtioMem(config, world.environment()).function);
                           },
                           2},
                    Victim{"Net", 2,
                           [](Backing& backing, VirtioWorld& world) {
                             NetConfig config;
                             config.backend = std::make_unique<NetBackend>(std::move(backing.frames));
                             return MakeVirtioNet(std::move(config), world.environment());
                           }}),
    [](const auto& victim) { return std::string(victim.param.name); });

}  // namespace
}  // namespace faultline
