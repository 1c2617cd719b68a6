#include "vmm/boot/memory_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace faultline {
namespace {

using testing::ElementsAre;

constexpr MemoryMapEntry Ram(uint64_t start, uint64_t end) {
  return {{Gpa(start), Bytes(end - start)}, MemoryType::kRam};
}
constexpr MemoryMapEntry Reserved(uint64_t start, uint64_t end) {
  return {{Gpa(start), Bytes(end - start)}, MemoryType::kReserved};
}

TEST(MemoryMap, LeavesOutWhatAPcReservesBelowOneMebibyte) {
  EXPECT_THAT(BuildMemoryMap({{Gpa(0), 64_MiB}}, {}),
              ElementsAre(Ram(0, 0x9fc00), Reserved(0x9fc00, 0x100000), Ram(0x100000, 0x4000000)));
}

TEST(MemoryMap, CutsReservedRangesOutOfRamAndKeepsThoseOutside) {
  EXPECT_THAT(BuildMemoryMap({{Gpa(0), 64_MiB}, {Gpa(1ULL << 32), 1_GiB}},
                             {{Gpa(0xe0000000), 256_MiB}, {Gpa(0x3fff000), Bytes(0x1000)}, {Gpa(0x200000), 1_MiB}}),
              ElementsAre(Ram(0, 0x9fc00), Reserved(0x9fc00, 0x100000), Ram(0x100000, 0x200000),
                          Reserved(0x200000, 0x300000), Ram(0x300000, 0x3fff000), Reserved(0x3fff000, 0x4000000),
                          Reserved(0xe0000000, 0xf0000000), Ram(0x100000000, 0x140000000)));
}

TEST(MemoryMap, JoinsReservedRangesThatOverlapOrTouch) {
  EXPECT_THAT(BuildMemoryMap({}, {{Gpa(0x200000), Bytes(0x3000)},
                                  {Gpa(0x201000), Bytes(0x1000)},
                                  {Gpa(0x203000), Bytes(0x1000)},
                                  {Gpa(0x900000), Bytes(0)}}),
              ElementsAre(Reserved(0x9fc00, 0x100000), Reserved(0x200000, 0x204000)));
}

TEST(MemoryMap, GivesNothingOfRamThatIsReservedWhole) {
  EXPECT_THAT(BuildMemoryMap({{Gpa(0x200000), 1_MiB}}, {{Gpa(0x100000), 4_MiB}}),
              ElementsAre(Reserved(0x9fc00, 0x500000)));
}

}  // namespace
}  // namespace faultline
