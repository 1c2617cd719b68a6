#include "tests/bench/one_page_handler.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace faultline::bench {
namespace {

constexpr uint64_t kPage = 4096;
alignas(kPage) std::array<std::byte, kPage> zero_page{};

[[noreturn]] void Fail(const char* what) {
  std::fprintf(stderr, "%s failed: %s\n", what, std::strerror(errno));
  std::exit(1);
}

int OpenUserfaultfd() {
  const int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
  if (device >= 0) {
    const int fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
    close(device);
    if (fd >= 0) return fd;
  }
  return static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK));
}

}  // namespace

OnePageHandler::OnePageHandler(std::byte* memory, uint64_t size, int cpu) : cpu_(cpu) {
  uffd_ = OpenUserfaultfd();
  if (uffd_ < 0) Fail("userfaultfd");
  uffdio_api api{};
  api.api = UFFD_API;
  if (ioctl(uffd_, UFFDIO_API, &api) < 0) Fail("UFFDIO_API");
  uffdio_register reg{};
  reg.range.start = reinterpret_cast<uintptr_t>(memory);
  reg.range.len = size;
  reg.mode = UFFDIO_REGISTER_MODE_MISSING;
  if (ioctl(uffd_, UFFDIO_REGISTER, &reg) < 0) Fail("UFFDIO_REGISTER");
  stop_ = eventfd(0, EFD_CLOEXEC);
  if (stop_ < 0) Fail("eventfd");
  thread_ = std::thread([this] { Serve(); });
}

OnePageHandler::~OnePageHandler() {
  const uint64_t one = 1;
  if (write(stop_, &one, sizeof one) < 0) Fail("stopping the handler");
  thread_.join();
  close(uffd_);
  close(stop_);
}

void OnePageHandler::Serve() {
  if (cpu_ >= 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<size_t>(cpu_), &set);
    sched_setaffinity(0, sizeof set, &set);
  }
  std::array<pollfd, 2> fds{pollfd{uffd_, POLLIN, 0}, pollfd{stop_, POLLIN, 0}};
  for (;;) {
    if (poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) Fail("poll");
    if (fds[1].revents != 0) return;
    uffd_msg message{};
    if (read(uffd_, &message, sizeof message) != sizeof message) continue;
    if (message.event != UFFD_EVENT_PAGEFAULT) continue;
    uffdio_copy copy{};
    copy.dst = message.arg.pagefault.address & ~(kPage - 1);
    copy.src = reinterpret_cast<uintptr_t>(zero_page.data());
    copy.len = kPage;
    if (ioctl(uffd_, UFFDIO_COPY, &copy) < 0 && errno != EEXIST) Fail("UFFDIO_COPY");
  }
}

}  // namespace faultline::bench
