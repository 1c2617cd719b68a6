#include "guestmem/page_source.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <thread>

#include "guestmem/error.h"

namespace faultline {
namespace {

// Zeroes that cost one physical page however often they are read: a private mapping that is never
// written maps the kernel's zero page.
class ZeroBlock {
 public:
  static const std::byte* Get() noexcept {
    static const ZeroBlock block;
    return block.data_;  // null when not even this could be mapped: the source is then read like a slow one
  }

 private:
  ZeroBlock() noexcept {
    void* p = mmap(nullptr, kLeafSpan.value, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return;
    madvise(p, kLeafSpan.value, MADV_NOHUGEPAGE);  // a huge zero page would be 2 MiB to read through
    data_ = static_cast<const std::byte*>(p);
  }

  const std::byte* data_ = nullptr;
};

class ZeroSource final : public PageSource {
 public:
  bool all_zero() const noexcept override { return true; }
  bool may_block() const noexcept override { return false; }
  const std::byte* Direct(Bytes /*offset*/, Bytes /*size*/) noexcept override { return ZeroBlock::Get(); }
  int Read(Bytes /*offset*/, std::span<std::byte> out) noexcept override {
    memset(out.data(), 0, out.size());
    return 0;
  }
};

class FileSource final : public PageSource {
 public:
  FileSource(Host& host, FileDescriptor fd) : host_(host), fd_(std::move(fd)) {}

  bool may_block() const noexcept override { return true; }
  const std::byte* Direct(Bytes /*offset*/, Bytes /*size*/) noexcept override { return nullptr; }
  int Read(Bytes offset, std::span<std::byte> out) noexcept override {
    size_t done = 0;
    while (done < out.size()) {
      const int64_t n = host_.Pread(fd_.get(), out.data() + done, out.size() - done, offset + Bytes(done));
      if (n == -EINTR || n == -EAGAIN) continue;
      if (n < 0) return static_cast<int>(n);
      if (n == 0) break;  // past the end
      done += static_cast<size_t>(n);
    }
    memset(out.data() + done, 0, out.size() - done);
    return 0;
  }

 private:
  Host& host_;
  FileDescriptor fd_;
};

class DelaySource final : public PageSource {
 public:
  explicit DelaySource(std::chrono::nanoseconds delay) : delay_(delay) {}

  bool may_block() const noexcept override { return true; }
  const std::byte* Direct(Bytes /*offset*/, Bytes /*size*/) noexcept override { return nullptr; }
  int Read(Bytes /*offset*/, std::span<std::byte> out) noexcept override {
    std::this_thread::sleep_for(delay_);
    memset(out.data(), 0, out.size());
    return 0;
  }

 private:
  const std::chrono::nanoseconds delay_;
};

std::chrono::nanoseconds ParseDelay(std::string_view text) {
  uint64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  constexpr uint64_t kMost = 3'600'000'000'000;  // an hour, in ns
  uint64_t scale = 0;
  if (unit == "ns") scale = 1;
  if (unit == "us") scale = 1'000;
  if (unit == "ms") scale = 1'000'000;
  if (unit == "s") scale = 1'000'000'000;
  if (error != std::errc() || scale == 0 || n > kMost / scale) {
    throw UsageError("page source delay '" + std::string(text) +
                     "' is not a time such as 200ms, 50us or 1s (at most 1 h)");
  }
  return std::chrono::nanoseconds(n * scale);
}

}  // namespace

std::shared_ptr<PageSource> MakeZeroSource() { return std::make_shared<ZeroSource>(); }

std::shared_ptr<PageSource> MakeFileSource(Host& host, const std::string& path) {
  const int fd = host.Open(path.c_str(), O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) {
    throw Error("cannot open page source '" + path + "': " + ErrnoText(-fd) + "; name a file that can be read");
  }
  FileDescriptor owned(host, fd);
  std::byte probe;
  if (const int64_t n = host.Pread(fd, &probe, 1, Bytes(0)); n < 0 && n != -EINTR && n != -EAGAIN) {
    throw Error("cannot read page source '" + path + "': " + ErrnoText(static_cast<int>(-n)) + "; name a regular file");
  }
  return std::make_shared<FileSource>(host, std::move(owned));
}

std::shared_ptr<PageSource> MakeDelaySource(std::chrono::nanoseconds delay) {
  return std::make_shared<DelaySource>(delay);
}

std::shared_ptr<PageSource> ParsePageSource(Host& host, std::string_view text) {
  if (text == "zero") return MakeZeroSource();
  if (text.starts_with("file:") && text.size() > 5) return MakeFileSource(host, std::string(text.substr(5)));
  if (text.starts_with("delay:")) return MakeDelaySource(ParseDelay(text.substr(6)));
  throw UsageError("page source '" + std::string(text) + "' is unknown: use zero, file:PATH or delay:TIME");
}

}  // namespace faultline
