#include "vmm/boot/image_source.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "guestmem/error.h"

namespace faultline {

void ImageSource::ThrowTruncated() const {
  throw Error(name_ + " is truncated: it ends before what its header promises; copy it again");
}

FileImage::FileImage(Host& host, const std::string& kind, const std::string& path)
    : ImageSource("the " + kind + " '" + path + "'"), host_(host) {
  // Without O_NONBLOCK, opening a FIFO would wait for a writer.
  const int fd = host.Open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
  if (fd < 0) throw Error("cannot open " + name() + ": " + ErrnoText(-fd) + "; name a file that can be read");
  fd_ = FileDescriptor(host, fd);
  struct stat status {};
  if (fstat(fd, &status) < 0) throw Error("cannot read " + name() + ": " + ErrnoText(errno));
  if (S_ISDIR(status.st_mode)) throw Error(name() + " is a directory; name a file");
  if (!S_ISREG(status.st_mode)) throw Error(name() + " is not a regular file; name one");
  if (status.st_size == 0) throw Error(name() + " is empty");
  size_ = Bytes(static_cast<uint64_t>(status.st_size));
}

void FileImage::Read(Bytes offset, std::span<std::byte> out) const {
  if (offset > size_ || Bytes(out.size()) > size_ - offset) ThrowTruncated();
  while (!out.empty()) {
    const int64_t got = host_.Pread(fd_.get(), out.data(), out.size(), offset);
    if (got == -EINTR) continue;
    if (got < 0) throw Error("cannot read " + name() + ": " + ErrnoText(static_cast<int>(-got)));
    if (got == 0) ThrowTruncated();
    out = out.subspan(static_cast<size_t>(got));
    offset += Bytes(static_cast<uint64_t>(got));
  }
}

void MemoryImage::Read(Bytes offset, std::span<std::byte> out) const {
  if (offset > size() || Bytes(out.size()) > size() - offset) ThrowTruncated();
  if (!out.empty()) std::memcpy(out.data(), bytes_.data() + offset.value, out.size());
}

}  // namespace faultline
