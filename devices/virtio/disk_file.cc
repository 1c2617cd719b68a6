#include "devices/virtio/disk_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdint>

#include "guestmem/error.h"

namespace faultline {
namespace {

constexpr uint64_t kSector = 512;

std::string OpenAdvice(int error, bool read_only) {
  switch (error) {
    case ENOENT:
      return "create it first (truncate -s 1G FILE makes an empty one)";
    case EACCES:
    case EPERM:
    case EROFS:
      return read_only ? "make it readable for this user" : "make it writable for this user, or attach it read-only";
    default:
      return "check the path";
  }
}

void Lock(int fd, const std::string& what, bool read_only) {
  struct flock lock = {};
  lock.l_type = read_only ? F_RDLCK : F_WRLCK;
  lock.l_whence = SEEK_SET;
  if (fcntl(fd, F_OFD_SETLK, &lock) == 0) return;
  if (errno == EAGAIN || errno == EACCES) {
    throw Error(what + " is in use by another VM: end that one, or attach the disk read-only in both");
  }
  throw Error(what + " cannot be locked (" + ErrnoText(errno) + "): keep it on a file system with file locks");
}

}  // namespace

DiskFile DiskFile::Open(Host& host, const std::string& path, bool read_only) {
  const std::string what = "disk '" + path + "'";
  struct stat info = {};
  // Before opening: that alone would wait for a FIFO's other end.
  if (stat(path.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode)) throw UsageError(what + " is a directory: give a disk image or a block device");
    if (!S_ISREG(info.st_mode) && !S_ISBLK(info.st_mode)) {
      throw UsageError(what + " is neither a file nor a block device: give a disk image or a block device");
    }
  }
  FileDescriptor file(host, host.Open(path.c_str(), (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC, 0));
  if (!file) {
    const int error = -file.Release();
    throw Error(what + " cannot be opened (" + ErrnoText(error) + "): " + OpenAdvice(error, read_only));
  }
  uint64_t size = 0;
  if (fstat(file.get(), &info) != 0) throw Error(what + " has no size (" + ErrnoText(errno) + "): check the path");
  if (S_ISBLK(info.st_mode)) {
    const int error = host.Ioctl(file.get(), BLKGETSIZE64, &size);
    if (error < 0) throw Error(what + " does not tell its size (" + ErrnoText(-error) + "): check the device");
  } else {
    size = static_cast<uint64_t>(info.st_size);
  }
  if (size < kSector)
    throw Error(what + " is smaller than a sector of 512 bytes: make it larger (truncate -s 1G FILE)");
  Lock(file.get(), what, read_only);
  return {std::move(file), Bytes(size / kSector * kSector)};
}

}  // namespace faultline
