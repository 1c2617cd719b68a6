// Stand-ins for what surrounds the fault protocol, so that its units run with plain memory and with one
// thread at a time.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "guestmem/fault_handler.h"
#include "guestmem/region.h"

namespace faultline {

// Plain zeroed memory of this process.
class FakeBacking final : public Backing {
 public:
  explicit FakeBacking(Bytes size, Bytes granule = kPageSize) : Backing(Map(size), granule, true) {}
  ~FakeBacking() override { munmap(ToPointer(range_.start), range_.size.value); }
  int Discard(HvaRange part) noexcept override {
    discarded.push_back(part);
    return madvise(ToPointer(part.start), part.size.value, MADV_DONTNEED) == 0 ? 0 : -errno;
  }
  std::vector<HvaRange> discarded;

 private:
  static HvaRange Map(Bytes size) {
    void* p = mmap(nullptr, size.value, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return {ToHva(p), size};
  }
};

// Installs by memcpy and remembers every page; refuses what a test tells it to.
class FakeInstaller final : public PageInstaller {
 public:
  Installed Copy(Hva to, const std::byte* from, Bytes size) noexcept override {
    ++copies;
    Installed out;
    for (Bytes at; at < size; at += kPageSize) {
      const Hva page = to + at;
      if (refuse_at != 0 && ++pages_seen >= refuse_at) {
        out.result = refusal;
        return out;
      }
      if (there.count(page.value) != 0) {
        out.result = InstallResult::kExists;
        return out;
      }
      if (revoked.count(page.value) != 0) {
        out.result = InstallResult::kExists;  // as the kernel answers over a guard
        return out;
      }
      std::memcpy(ToPointer(page), from + at.value, kPageSize.value);
      there.insert(page.value);
      out.done += kPageSize;
    }
    return out;
  }
  void Wake(HvaRange range) noexcept override { woken.push_back(range); }
  int Revoke(HvaRange range) noexcept override {
    for (Bytes at; at < range.size; at += kPageSize) {
      if (there.count((range.start + at).value) == 0) revoked.insert((range.start + at).value);
    }
    woken.push_back(range);
    return 0;
  }
  int Restore(HvaRange range) noexcept override {
    for (Bytes at; at < range.size; at += kPageSize) revoked.erase((range.start + at).value);
    return 0;
  }

  bool Woke(Hva hva) const {
    return std::any_of(woken.begin(), woken.end(), [&](const HvaRange& r) { return r.Contains(hva); });
  }

  unsigned copies = 0;
  // From the Nth page on (0: never) Copy stops with `refusal`.
  uint64_t refuse_at = 0;
  uint64_t pages_seen = 0;
  InstallResult refusal = InstallResult::kNoMemory;
  std::set<uint64_t> there;
  std::set<uint64_t> revoked;
  std::vector<HvaRange> woken;
};

// Every byte of page `n` is Stamp(n): content that tells where it came from.
class StampSource final : public PageSource {
 public:
  explicit StampSource(uint8_t seed, bool blocks = true) : seed_(seed), blocks_(blocks) {}
  bool may_block() const noexcept override { return blocks_; }
  const std::byte* Direct(Bytes /*offset*/, Bytes /*size*/) noexcept override { return nullptr; }
  int Read(Bytes offset, std::span<std::byte> out) noexcept override {
    reads.fetch_add(1);
    if (before_read) before_read();
    if (const int e = error.load()) return -e;
    for (size_t i = 0; i < out.size(); ++i) out[i] = Stamp((offset.value + i) / kPageSize.value);
    return 0;
  }
  std::byte Stamp(uint64_t page) const { return static_cast<std::byte>(seed_ + page); }

  std::atomic<int> error{0};
  std::atomic<unsigned> reads{0};
  std::function<void()> before_read;

 private:
  uint8_t seed_;
  bool blocks_;
};

// Keeps what is submitted until the test completes it.
class HeldFills final : public FillQueue {
 public:
  bool Submit(FillClaim claim) noexcept override {
    if (full) return false;
    claims.push_back(std::move(claim));
    return true;
  }
  std::vector<FillClaim> claims;
  bool full = false;
};

class CollectedFailures final : public FailureSink {
 public:
  struct Failure {
    FillClaim claim;
    int error;
    bool host;
  };
  void OnParked(const FillClaim& claim, int error, bool host) noexcept override {
    failures.push_back({claim, error, host});
  }
  std::vector<Failure> failures;
};

// Runs `action` at the `nth` time (from 1) that `step` is taken, on the thread that takes it.
class ActAt final : public ProtocolObserver {
 public:
  ActAt(ProtocolStep step, std::function<void()> action, unsigned nth = 1)
      : step_(step), action_(std::move(action)), left_(nth) {}
  void At(ProtocolStep step, RegionId /*region*/) noexcept override {
    if (step == step_ && left_ != 0 && --left_ == 0) action_();
  }
  bool acted() const { return left_ == 0; }

 private:
  ProtocolStep step_;
  std::function<void()> action_;
  std::atomic<unsigned> left_;
};

}  // namespace faultline
