// The host's side of a disk: a regular file or a block device, opened and locked.
//
// Owned by a block device. Locked with an open-file-description lock (fcntl(2), F_OFD_SETLK) over the whole
// file, shared for reading only, exclusive otherwise: two VMs never write one image. Constant after Open.
#pragma once

#include <string>

#include "guestmem/host.h"
#include "guestmem/types.h"

namespace faultline {

class DiskFile {
 public:
  // Throws UsageError for what is no disk image and Error for what the host refuses: missing, a directory,
  // unreadable, in use, smaller than a sector.
  static DiskFile Open(Host& host, const std::string& path, bool read_only);

  int fd() const { return file_.get(); }
  // A multiple of 512 bytes; what a regular file has beyond is never touched.
  Bytes size() const { return size_; }

 private:
  DiskFile(FileDescriptor file, Bytes size) : file_(std::move(file)), size_(size) {}
  FileDescriptor file_;
  Bytes size_;
};

}  // namespace faultline
