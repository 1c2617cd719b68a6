#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/virtio_blk.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "devices/virtio/devices.h"
#include "guestmem/error.h"
#include "tests/devices/virtio/virtio_world.h"

namespace faultline {
namespace {

constexpr uint64_t kFlush = uint64_t{1} << VIRTIO_BLK_F_FLUSH;
constexpr uint64_t kIndirectDesc = uint64_t{1} << 28;

// A file of one mebibyte whose every sector says its number.
class DiskImage {
 public:
  static constexpr unsigned kSectors = 2048;
  DiskImage() {
    const int fd = mkstemp(path.data());
    close(fd);
    std::ofstream out(path, std::ios::binary);
    for (unsigned i = 0; i < kSectors; ++i) out << Sector(i);
  }
  ~DiskImage() { unlink(path.c_str()); }
  DiskImage(const DiskImage&) = delete;
  DiskImage& operator=(const DiskImage&) = delete;

  static std::string Sector(unsigned number) {
    std::string text = "sector " + std::to_string(number);
    text.resize(512, '.');
    return text;
  }
  std::string Read(unsigned sector, unsigned count = 1) const {
    std::ifstream in(path, std::ios::binary);
    in.seekg(sector * 512);
    std::string text(count * 512, '\0');
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    return text;
  }
  std::string path = testing::TempDir() + "faultline-disk-XXXXXX";
};

class BlockTest : public testing::TestWithParam<bool> {
 protected:
  void Attach(bool read_only = false, uint64_t features = kFlush) {
    const unsigned slot = world.pci.Add(MakeVirtioBlock(
        {.path = image.path, .read_only = read_only, .io_uring = GetParam(), .serial = {}, .counters = counters},
        world.environment()));
    driver.emplace(world, slot);
    driver->Start(features, 1, 16);
    header = driver->Allocate(16);
    data = driver->Allocate(1 << 20, 4096);
    status = driver->Allocate(1);
  }
  // One request; returns its status byte and leaves `written` as the device said.
  int Do(uint32_t type, uint64_t sector, std::vector<Buffer> buffers, bool indirect = false) {
    driver->Put(header, virtio_blk_outhdr{type, 0, sector});
    driver->Put(status, uint8_t{0xee});
    buffers.insert(buffers.begin(), Buffer{header, 16, false});
    buffers.push_back({status, 1, true});
    written = driver->Transfer(0, buffers, indirect).written;
    return driver->Get<uint8_t>(status);
  }
  int DoRange(uint32_t type, uint64_t sector, uint32_t count, uint32_t flags) {
    driver->Put(data, virtio_blk_discard_write_zeroes{sector, count, flags});
    return Do(type, 0, {{data, 16, false}});
  }

  BlockCounters::Figures Count(BlockCounters::Kind kind) const { return counters->figures(kind); }

  DiskImage image;
  VirtioWorld world;
  std::shared_ptr<BlockCounters> counters = std::make_shared<BlockCounters>();
  std::optional<VirtioDriver> driver;
  Gpa header, data, status;
  uint32_t written = 0;
};

TEST_P(BlockTest, TheConfigurationTellsTheDisk) {
  Attach();
  EXPECT_EQ(driver->DeviceConfig(0, 8), DiskImage::kSectors);
  EXPECT_EQ(driver->DeviceConfig(12, 4), 254U) << "seg_max";
  EXPECT_EQ(driver->DeviceConfig(20, 4), 512U) << "block size";
  EXPECT_EQ(driver->OfferedFeatures() & uint64_t{1} << VIRTIO_BLK_F_RO, 0U);
}

TEST_P(BlockTest, SectorsAreReadIntoTheGuestsBuffers) {
  Attach();
  EXPECT_EQ(Do(VIRTIO_BLK_T_IN, 5, {{data, 1024, true}}), VIRTIO_BLK_S_OK);
  EXPECT_EQ(written, 1025U);
  EXPECT_EQ(driver->GetText(data, 1024), DiskImage::Sector(5) + DiskImage::Sector(6));
}

TEST_P(BlockTest, SectorsAreWrittenFromTheGuestsBuffersAndFlushed) {
  Attach();
  const std::string text(512, 'w');
  driver->PutText(data, text);
  EXPECT_EQ(Do(VIRTIO_BLK_T_OUT, 9, {{data, 512, false}}), VIRTIO_BLK_S_OK);
  EXPECT_EQ(written, 1U);
  EXPECT_EQ(Do(VIRTIO_BLK_T_FLUSH, 0, {}), VIRTIO_BLK_S_OK);
  EXPECT_EQ(image.Read(9), text);
  EXPECT_EQ(image.Read(8), DiskImage::Sector(8));
  EXPECT_EQ(image.Read(10), DiskImage::Sector(10));
}

TEST_P(BlockTest, WhatTheGuestAsksForIsCounted) {
  using Kind = BlockCounters::Kind;
  Attach();
  Do(VIRTIO_BLK_T_IN, 5, {{data, 1024, true}});
  Do(VIRTIO_BLK_T_IN, 0, {{data, 512, true}});
  Do(VIRTIO_BLK_T_OUT, 9, {{data, 2048, false}});
  Do(VIRTIO_BLK_T_OUT, 3, {{data, 512, false}});
  Do(VIRTIO_BLK_T_FLUSH, 0, {});
  EXPECT_EQ(Count(Kind::kRead).operations, 2U);
  EXPECT_EQ(Count(Kind::kRead).moved, Bytes(1536));
  EXPECT_GT(Count(Kind::kRead).took.count(), 0);
  EXPECT_EQ(Count(Kind::kWrite).operations, 2U);
  EXPECT_EQ(Count(Kind::kWrite).moved, Bytes(2560));
  EXPECT_EQ(counters->written_end(), Bytes(13 * 512)) << "the earlier write ends farther back";
  EXPECT_EQ(Count(Kind::kFlush).operations, 1U);
  DoRange(VIRTIO_BLK_T_WRITE_ZEROES, 20, 4, 0);
  EXPECT_EQ(Count(Kind::kWrite).operations, 3U);
  EXPECT_EQ(Count(Kind::kWrite).moved, Bytes(2560 + 4 * 512));
  EXPECT_EQ(counters->written_end(), Bytes(24 * 512));
  DoRange(VIRTIO_BLK_T_DISCARD, 40, 2, 0);
  EXPECT_EQ(Count(Kind::kUnmap).operations, 1U);
  EXPECT_EQ(Count(Kind::kUnmap).moved, Bytes(1024));
  EXPECT_EQ(counters->written_end(), Bytes(24 * 512)) << "a discard writes nothing";

  Do(VIRTIO_BLK_T_IN, DiskImage::kSectors, {{data, 512, true}});
  Do(VIRTIO_BLK_T_OUT, 0, {{data, 100, false}});
  DoRange(VIRTIO_BLK_T_DISCARD, DiskImage::kSectors, 1, 0);
  Do(VIRTIO_BLK_T_GET_ID, 0, {{data, 20, true}});
  for (const Kind kind : {Kind::kRead, Kind::kWrite, Kind::kUnmap}) {
    EXPECT_EQ(Count(kind).invalid, 1U);
    EXPECT_EQ(Count(kind).failed, 0U);
  }
  EXPECT_EQ(Count(Kind::kRead).operations, 2U);
  EXPECT_EQ(Count(Kind::kRead).moved, Bytes(1536));

  // The host has cut the file off.
  ASSERT_EQ(truncate(image.path.c_str(), 512), 0);
  Do(VIRTIO_BLK_T_IN, 100, {{data, 512, true}});
  EXPECT_EQ(Count(Kind::kRead).failed, 1U);
  EXPECT_EQ(Count(Kind::kRead).operations, 2U);
}

TEST_P(BlockTest, WithoutFlushNegotiatedWritesAreCompletedAfterAFlush) {
  Attach(false, 0);
  driver->PutText(data, std::string(512, 'x'));
  EXPECT_EQ(Do(VIRTIO_BLK_T_OUT, 3, {{data, 512, false}}), VIRTIO_BLK_S_OK);
  EXPECT_EQ(image.Read(3), std::string(512, 'x'));
}

TEST_P(BlockTest, BuffersMayBeCutAnywhereAndIndirect) {
  Attach(false, kFlush | kIndirectDesc);
  EXPECT_EQ(Do(VIRTIO_BLK_T_IN, 1, {{data, 100, true}, {data + Bytes(4096), 412, true}}, true), VIRTIO_BLK_S_OK);
  EXPECT_EQ(driver->GetText(data, 100) + driver->GetText(data + Bytes(4096), 412), DiskImage::Sector(1));
  // The status in the same buffer as the data, and the header in two.
  driver->Put(header, virtio_blk_outhdr{VIRTIO_BLK_T_IN, 0, 2});
  const auto used = driver->Transfer(0, {{header, 7, false}, {header + Bytes(7), 9, false}, {data, 513, true}});
  EXPECT_EQ(used.written, 513U);
  EXPECT_EQ(driver->GetText(data, 512), DiskImage::Sector(2));
  EXPECT_EQ(driver->Get<uint8_t>(data + Bytes(512)), VIRTIO_BLK_S_OK);
}

TEST_P(BlockTest, ManyRequestsAtOnceAllComeBack) {
  Attach();
  for (unsigned round = 0; round < 8; ++round) {
    for (unsigned i = 0; i < 5; ++i) {
      const Gpa request = driver->Allocate(16);
      driver->Put(request, virtio_blk_outhdr{VIRTIO_BLK_T_IN, 0, round * 5 + i});
      driver->Add(0, {{request, 16, false}, {data + Bytes(512 * i), 512, true}, {status, 1, true}});
    }
    driver->Kick(0);
    for (unsigned i = 0; i < 5; ++i) driver->WaitUsed(0);
    for (unsigned i = 0; i < 5; ++i) {
      EXPECT_EQ(driver->GetText(data + Bytes(512 * i), 512), DiskImage::Sector(round * 5 + i));
    }
  }
}

TEST_P(BlockTest, ABufferAcrossTwoRegionsIsCopied) {
  world.memory.Plug({.name = "dimm",
                     .gpa = {Gpa(VirtioWorld::kRam.value), 2_MiB},
                     .backing = {},
                     .source = nullptr,
                     .read_only = false});
  Attach();
  const Gpa across = Gpa(VirtioWorld::kRam.value - 256);
  EXPECT_EQ(Do(VIRTIO_BLK_T_IN, 7, {{across, 512, true}}), VIRTIO_BLK_S_OK);
  EXPECT_EQ(driver->GetText(across, 512), DiskImage::Sector(7));
  driver->PutText(across, std::string(512, 'y'));
  EXPECT_EQ(Do(VIRTIO_BLK_T_OUT, 8, {{across, 512, false}}), VIRTIO_BLK_S_OK);
  EXPECT_EQ(image.Read(8), std::string(512, 'y'));
}

TEST_P(BlockTest, CopiesTooLargeForOneTimeWaitForEachOther) {
  constexpr uint64_t kHalf = 12 << 20;  // of a request, on each side of the border: three exceed what is copied at once
  world.memory.Plug({.name = "dimm",
                     .gpa = {Gpa(VirtioWorld::kRam.value), 16_MiB},
                     .backing = {},
                     .source = nullptr,
                     .read_only = false});
  ASSERT_EQ(truncate(image.path.c_str(), 4 * kHalf), 0);
  Attach();
  constexpr unsigned kRequests = 3;
  std::vector<Gpa> results;
  const Gpa across(VirtioWorld::kRam.value - kHalf);
  for (unsigned i = 0; i < kRequests; ++i) {
    const Gpa request = driver->Allocate(16);
    results.push_back(driver->Allocate(1));
    driver->Put(results.back(), uint8_t{0xee});
    driver->Put(request, virtio_blk_outhdr{VIRTIO_BLK_T_IN, 0, i});
    driver->Add(0, {{request, 16, false}, {across, 2 * kHalf, true}, {results.back(), 1, true}});
  }
  driver->Kick(0);
  for (unsigned i = 0; i < kRequests; ++i) driver->WaitUsed(0);
  for (const Gpa result : results) EXPECT_EQ(driver->Get<uint8_t>(result), VIRTIO_BLK_S_OK);
}

TEST_P(BlockTest, DiscardAndWriteZeroesLeaveZeroes) {
  Attach();
  EXPECT_EQ(DoRange(VIRTIO_BLK_T_WRITE_ZEROES, 16, 8, 0), VIRTIO_BLK_S_OK);
  EXPECT_EQ(image.Read(16, 8), std::string(4096, '\0'));
  EXPECT_EQ(image.Read(15), DiskImage::Sector(15));
  EXPECT_EQ(image.Read(24), DiskImage::Sector(24));
  EXPECT_EQ(DoRange(VIRTIO_BLK_T_WRITE_ZEROES, 32, 8, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP), VIRTIO_BLK_S_OK);
  EXPECT_EQ(image.Read(32, 8), std::string(4096, '\0'));
  EXPECT_EQ(DoRange(VIRTIO_BLK_T_DISCARD, 40, 8, 0), VIRTIO_BLK_S_OK);
  struct stat info = {};
  ASSERT_EQ(stat(image.path.c_str(), &info), 0);
  EXPECT_EQ(info.st_size, DiskImage::kSectors * 512) << "the file keeps its size";
}

TEST_P(BlockTest, RangesThatMakeNoSenseFail) {
  Attach();
  EXPECT_EQ(DoRange(VIRTIO_BLK_T_DISCARD, 2040, 9, 0), VIRTIO_BLK_S_IOERR) << "past the end";
  EXPECT_EQ(DoRange(VIRTIO_BLK_T_DISCARD, ~0ULL, 1, 0), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(DoRange(VIRTIO_BLK_T_DISCARD, 0, 1, 1), VIRTIO_BLK_S_UNSUPP) << "unmap means nothing there";
  EXPECT_EQ(DoRange(VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 2), VIRTIO_BLK_S_UNSUPP) << "an unknown flag";
  EXPECT_EQ(Do(VIRTIO_BLK_T_DISCARD, 0, {}), VIRTIO_BLK_S_IOERR) << "no range";
  EXPECT_EQ(Do(VIRTIO_BLK_T_DISCARD, 0, {{data, 17, false}}), VIRTIO_BLK_S_IOERR) << "half a range";
  EXPECT_EQ(Do(VIRTIO_BLK_T_DISCARD, 0, {{data, 17 * 16, false}}), VIRTIO_BLK_S_IOERR) << "too many";
}

TEST_P(BlockTest, TheSerialNumberIsTheFilesName) {
  Attach();
  EXPECT_EQ(Do(VIRTIO_BLK_T_GET_ID, 0, {{data, 20, true}}), VIRTIO_BLK_S_OK);
  std::string name = image.path.substr(image.path.rfind('/') + 1);
  name.resize(20);
  EXPECT_EQ(driver->GetText(data, 20), name);
}

TEST_P(BlockTest, TransfersOutsideTheDiskOrOfHalfSectorsFail) {
  Attach();
  EXPECT_EQ(Do(VIRTIO_BLK_T_IN, 2047, {{data, 1024, true}}), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(Do(VIRTIO_BLK_T_IN, ~0ULL, {{data, 512, true}}), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(Do(VIRTIO_BLK_T_IN, 0, {{data, 100, true}}), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(Do(VIRTIO_BLK_T_IN, 0, {}), VIRTIO_BLK_S_IOERR) << "no data";
  EXPECT_EQ(Do(VIRTIO_BLK_T_IN, 2047, {{data, 512, true}}), VIRTIO_BLK_S_OK) << "the last sector";
}

TEST_P(BlockTest, BuffersOutsideMemoryFailTheRequestAlone) {
  Attach();
  EXPECT_EQ(Do(VIRTIO_BLK_T_IN, 0, {{Gpa(0x7000'0000), 512, true}}), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(Do(VIRTIO_BLK_T_OUT, 0, {{Gpa(0x7000'0000), 512, false}}), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(Do(VIRTIO_BLK_T_IN, 0, {{Gpa(0x7000'0000), 0x4000'0000, true}}), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(Do(VIRTIO_BLK_T_IN, 0, {{data, 512, true}}), VIRTIO_BLK_S_OK);
}

TEST_P(BlockTest, UnknownRequestsAreUnsupported) {
  Attach();
  EXPECT_EQ(Do(99, 0, {{data, 512, true}}), VIRTIO_BLK_S_UNSUPP);
}

TEST_P(BlockTest, ARequestWithoutHeaderOrStatusBreaksTheDevice) {
  Attach();
  driver->Add(0, {{header, 15, false}, {status, 1, true}});
  driver->Kick(0);
  EXPECT_TRUE(driver->WaitNeedsReset());
  driver->Start(kFlush, 1, 16);
  driver->Add(0, {{header, 16, false}});
  driver->Kick(0);
  EXPECT_TRUE(driver->WaitNeedsReset());
  driver->Start(kFlush, 1, 16);
  EXPECT_EQ(Do(VIRTIO_BLK_T_IN, 0, {{data, 512, true}}), VIRTIO_BLK_S_OK) << "healed by the reset";
}

TEST_P(BlockTest, AReadOnlyDiskSaysSoAndTakesNoWrites) {
  Attach(true);
  EXPECT_NE(driver->OfferedFeatures() & uint64_t{1} << VIRTIO_BLK_F_RO, 0U);
  EXPECT_EQ(Do(VIRTIO_BLK_T_OUT, 0, {{data, 512, false}}), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(DoRange(VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 0), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(Do(VIRTIO_BLK_T_IN, 4, {{data, 512, true}}), VIRTIO_BLK_S_OK);
  EXPECT_EQ(driver->GetText(data, 512), DiskImage::Sector(4));
}

TEST_P(BlockTest, AnImageCutOffBehindTheDeviceFailsReads) {
  Attach();
  ASSERT_EQ(truncate(image.path.c_str(), 512 * 100), 0);
  EXPECT_EQ(Do(VIRTIO_BLK_T_IN, 200, {{data, 512, true}}), VIRTIO_BLK_S_IOERR);
  EXPECT_EQ(Do(VIRTIO_BLK_T_IN, 99, {{data, 512, true}}), VIRTIO_BLK_S_OK);
}

TEST_P(BlockTest, NothingStaysPinnedAfterARequest) {
  Attach();
  EXPECT_EQ(Do(VIRTIO_BLK_T_IN, 0, {{data, 4096, true}}), VIRTIO_BLK_S_OK);
  EXPECT_EQ(world.memory.Regions().front().pins, 0U);
}

TEST_P(BlockTest, AResetInTheMiddleLetsGoOfEverything) {
  Attach();
  for (int round = 0; round < 50; ++round) {
    for (unsigned i = 0; i < 5; ++i) {
      driver->Put(header, virtio_blk_outhdr{VIRTIO_BLK_T_IN, 0, 0});
      driver->Add(0, {{header, 16, false}, {data, 65536, true}, {status, 1, true}});
    }
    driver->Kick(0);
    driver->SetStatus(0);
    EXPECT_EQ(world.memory.Regions().front().pins, 0U);
    driver->Start(kFlush, 1, 16);
  }
  EXPECT_EQ(Do(VIRTIO_BLK_T_IN, 0, {{data, 512, true}}), VIRTIO_BLK_S_OK);
}

INSTANTIATE_TEST_SUITE_P(Engines, BlockTest, testing::Values(true, false),
                         [](const auto& engine) { return engine.param ? "IoUring" : "Plain"; });

// What is said about a path that is no usable disk.
std::string Complaint(const BlockConfig& config) {
  VirtioWorld world;
  try {
    MakeVirtioBlock(config, world.environment());
  } catch (const Error& e) {
    return e.what();
  }
  return "nothing";
}

TEST(BlockPath, WhatIsNoUsableDiskIsNamedWithTheWayOut) {
  const std::string folder = testing::TempDir();
  EXPECT_EQ(Complaint({.path = folder + "no-such-disk", .serial = {}}),
            "disk '" + folder +
                "no-such-disk' cannot be opened (No such file or directory): create it first "
                "(truncate -s 1G FILE makes an empty one)");
  EXPECT_EQ(Complaint({.path = folder, .serial = {}}),
            "disk '" + folder + "' is a directory: give a disk image or a block device");
  EXPECT_EQ(Complaint({.path = "/dev/null", .serial = {}}),
            "disk '/dev/null' is neither a file nor a block device: give a disk image or a block device");
  const DiskImage image;
  ASSERT_EQ(truncate(image.path.c_str(), 100), 0);
  EXPECT_EQ(Complaint({.path = image.path, .serial = {}}),
            "disk '" + image.path + "' is smaller than a sector of 512 bytes: make it larger (truncate -s 1G FILE)");
}

TEST(BlockPath, AnUnreadableImageIsRefused) {
  if (geteuid() == 0) GTEST_SKIP() << "root reads everything";
  const DiskImage image;
  ASSERT_EQ(chmod(image.path.c_str(), 0), 0);
  EXPECT_EQ(Complaint({.path = image.path, .serial = {}}),
            "disk '" + image.path +
                "' cannot be opened (Permission denied): make it writable for this user, or attach it read-only");
}

TEST(BlockPath, AnImageIsWrittenByOneVmOrReadByMany) {
  const DiskImage image;
  VirtioWorld world;
  const std::string in_use =
      "disk '" + image.path + "' is in use by another VM: end that one, or attach the disk read-only in both";
  {
    const auto writer = MakeVirtioBlock({.path = image.path, .serial = {}}, world.environment());
    EXPECT_EQ(Complaint({.path = image.path, .serial = {}}), in_use);
    EXPECT_EQ(Complaint({.path = image.path, .read_only = true, .serial = {}}), in_use);
  }
  const auto reader = MakeVirtioBlock({.path = image.path, .read_only = true, .serial = {}}, world.environment());
  EXPECT_EQ(Complaint({.path = image.path, .read_only = true, .serial = {}}), "nothing");
  EXPECT_EQ(Complaint({.path = image.path, .serial = {}}), in_use);
}

}  // namespace
}  // namespace faultline
