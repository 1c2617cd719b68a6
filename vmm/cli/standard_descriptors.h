// What a program does first about the descriptors it was started with.
#pragma once

#include <fcntl.h>

namespace faultline {

// The first file opened would take the number of a closed standard descriptor, and be mistaken for it.
inline void FillStandardDescriptors() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (fcntl(fd, F_GETFD) < 0) open("/dev/null", O_RDWR);  // stays open, as a standard descriptor does
  }
}

}  // namespace faultline
