// Where the content of a page comes from when it is first touched.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <string>

#include "guestmem/host.h"
#include "guestmem/types.h"

namespace faultline {

// Shared by all threads that fault; implementations are thread-safe.
class PageSource {
 public:
  virtual ~PageSource() = default;

  // True when Read may sleep or do I/O. Such a source is only read outside every lock and RCU section.
  virtual bool may_block() const noexcept = 0;

  // True when every byte is zero, wherever.
  virtual bool all_zero() const noexcept { return false; }

  // The content at [offset, offset + size) without copying it, or null when it must be read. `size` is
  // at most kLeafSpan. The pointer stays valid for the life of the source.
  virtual const std::byte* Direct(Bytes offset, Bytes size) noexcept = 0;

  // Fills `out` with the content at `offset` of the region. 0 or -errno.
  virtual int Read(Bytes offset, std::span<std::byte> out) noexcept = 0;
};

// Zeroes, without blocking and without copying.
std::shared_ptr<PageSource> MakeZeroSource();
// The bytes of a file, zeroes past its end. May block. Throws Error when the file cannot be opened.
std::shared_ptr<PageSource> MakeFileSource(Host& host, const std::string& path);
// Zeroes that arrive after `delay`: a slow network or disk, for storms and tests.
std::shared_ptr<PageSource> MakeDelaySource(std::chrono::nanoseconds delay);

// "zero", "file:PATH", "delay:200ms"; throws UsageError on anything else.
std::shared_ptr<PageSource> ParsePageSource(Host& host, std::string_view text);

}  // namespace faultline
