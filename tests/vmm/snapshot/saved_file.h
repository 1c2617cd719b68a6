// A saved VM in memory, as a file that can be damaged.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <vector>

#include "guestmem/host.h"

namespace faultline {

// Never cancelled.
inline const std::atomic<bool> kNotCancelled{false};

class SavedFile {
 public:
  SavedFile() : fd_(Host::System(), memfd_create("saved", MFD_CLOEXEC)) { EXPECT_TRUE(fd_); }
  explicit SavedFile(const std::vector<std::byte>& bytes) : SavedFile() {
    EXPECT_EQ(write(fd_.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }

  // At its beginning.
  int Rewound() const {
    EXPECT_EQ(lseek(fd_.get(), 0, SEEK_SET), 0);
    return fd_.get();
  }
  std::vector<std::byte> Bytes() const {
    std::vector<std::byte> bytes(static_cast<size_t>(lseek(fd_.get(), 0, SEEK_END)));
    EXPECT_EQ(pread(fd_.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
    return bytes;
  }

 private:
  FileDescriptor fd_;
};

}  // namespace faultline
