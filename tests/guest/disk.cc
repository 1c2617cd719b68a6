#include "commands.h"
#include "system.h"

namespace guest {
namespace {

constexpr uint32_t kPart = 1 << 20;

constexpr uint32_t kHostMultiplier = 7, kHostAddend = 0;
constexpr uint32_t kGuestMultiplier = 11, kGuestAddend = 1;

bool Complain(const char* what, int error) {
  Print("disk: FAILED to ");
  Print(what);
  Print(", error ");
  PrintNumber(static_cast<unsigned long>(-error));
  Print("\n");
  return false;
}

bool TestOpenDisk(int fd) {
  uint8_t* buffer = Allocate(kPart);
  if (buffer == nullptr) return Complain("have memory", -12);
  int rc = ReadAt(fd, buffer, kPart, 0);
  if (rc < 0) return Complain("read what the host wrote", rc);
  if (run_native(native_check_bytes, buffer, kPart, kHostMultiplier, kHostAddend) != kPart) {
    return Complain("find what the host wrote", 0);
  }
  run_native(native_fill_bytes, buffer, kPart, kGuestMultiplier, kGuestAddend);
  rc = WriteAt(fd, buffer, kPart, kPart);
  if (rc < 0) return Complain("write", rc);
  rc = SystemCall(nr::kFsync, fd);
  if (rc < 0) return Complain("flush", rc);
  memset(buffer, 0, kPart);
  rc = ReadAt(fd, buffer, kPart, kPart);
  if (rc < 0) return Complain("read back", rc);
  if (run_native(native_check_bytes, buffer, kPart, kGuestMultiplier, kGuestAddend) != kPart) {
    return Complain("read back what it wrote", 0);
  }
  Print("disk: ok, 1 MiB verified, 1 MiB written and flushed\n");
  return true;
}

}  // namespace

bool TestDisk(const char* path) {
  const int fd = Open(path, kReadWrite | kDirect);
  if (fd < 0) return Complain("open the disk", fd);
  const bool worked = TestOpenDisk(fd);
  Close(fd);
  return worked;
}

}  // namespace guest
