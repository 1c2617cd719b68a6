#include "guestmem/userfault_pool.h"

#include <sys/eventfd.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "guestmem/clock.h"
#include "guestmem/cpu_follower.h"
#include "guestmem/error.h"
#include "guestmem/huge_donor.h"
#include "guestmem/revoke.h"

#ifndef MADV_GUARD_INSTALL  // Linux 6.13; on shared memory Linux 6.15
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

namespace faultline {
namespace {

// A region below this size stays on one reader.
constexpr Bytes kMinStriped = 16_MiB;
// Copies long enough to tell what a page costs.
constexpr Bytes kTeaching = 64_KiB;
// Messages taken in one read.
constexpr size_t kBatch = 16;

}  // namespace

// One userfaultfd and the thread that answers it.
class UserfaultPool::Reader {
 public:
  Reader(Host& host, RcuDomain& domain, const HostRangeMap& ranges, FaultHandler& handler, const Options& options)
      : host_(host),
        domain_(domain),
        ranges_(ranges),
        handler_(handler),
        options_(options),
        fd_(UserfaultFd::Open(host)),
        huge_donor_(host),
        stop_fd_(host, host.EventFd(0, EFD_CLOEXEC)) {
    if (!stop_fd_) throw Error("cannot create an eventfd for a userfault reader: " + ErrnoText(-stop_fd_.get()));
    thread_ = std::thread([this] { Run(); });
  }
  ~Reader() {
    stop_.store(true, std::memory_order_release);
    const uint64_t one = 1;
    while (host_.Write(stop_fd_.get(), &one, sizeof(one)) < 0) {
    }
    thread_.join();
  }

  UserfaultFd& fd() { return fd_; }
  HugeDonor& huge_donor() { return huge_donor_; }
  const FaultStats& stats() const { return stats_; }

 private:
  void Run() noexcept;
  // Waits for messages; 0 when it is time to look at stop_.
  int Next(std::span<uffd_msg> messages) noexcept;
  void Serve(const uffd_msg& message, uint64_t began_ns) noexcept;

  Host& host_;
  RcuDomain& domain_;
  const HostRangeMap& ranges_;
  FaultHandler& handler_;
  const Options options_;
  UserfaultFd fd_;
  HugeDonor huge_donor_;
  FileDescriptor stop_fd_;
  std::atomic<bool> stop_{false};
  FaultStats stats_;
  std::thread thread_;
};

int UserfaultPool::Reader::Next(std::span<uffd_msg> messages) noexcept {
  if (options_.spin.count() > 0) {
    const uint64_t end = NowNs() + static_cast<uint64_t>(options_.spin.count()) * 1000;
    do {
      if (const int n = fd_.Read(messages); n > 0) return n;
    } while (NowNs() < end && !stop_.load(std::memory_order_relaxed));
  }
  std::array<pollfd, 2> fds{{{fd_.fd(), POLLIN, 0}, {stop_fd_.get(), POLLIN, 0}}};
  host_.Poll(fds.data(), fds.size(), -1);
  return std::max(fd_.Read(messages), 0);
}

void UserfaultPool::Reader::Run() noexcept {
  CpuFollower follower;
  std::array<uffd_msg, kBatch> messages;
  while (!stop_.load(std::memory_order_acquire)) {
    const int n = Next(messages);
    if (n <= 0) continue;
    const uint64_t began_ns = NowNs();
    for (const uffd_msg& message : std::span(messages).first(static_cast<size_t>(n))) {
      if (message.event != UFFD_EVENT_PAGEFAULT) continue;
      Serve(message, began_ns);
      if (options_.placement == ReaderPlacement::kFollow) follower.Served(message.arg.pagefault.feat.ptid, began_ns);
    }
  }
}

void UserfaultPool::Reader::Serve(const uffd_msg& message, uint64_t began_ns) noexcept {
  const Hva hva = AlignDown(Hva(message.arg.pagefault.address), kPageSize);
  const bool write = (message.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WRITE) != 0;
  for (unsigned attempt = 0; attempt < FaultHandler::kMaxRetries; ++attempt) {
    RcuDomain::ReadGuard guard(domain_);
    const HostRangeMap::Entry* entry = ranges_.Lookup(hva);
    if (entry == nullptr) break;  // unmapped since: nobody can be blocked there, and waking is harmless
    const Region& region = *entry->value;
    const Gpa gpa = region.ToGpa(hva);
    if (region.life() != RegionLife::kLive) {
      RevokePage(region, gpa);
      stats_.revoked.Add(1);
      return;
    }
    const FaultOutcome outcome = handler_.HandleIn(region, gpa, write, began_ns, stats_);
    if (outcome == FaultOutcome::kInstalled) stats_.latency.Record(NowNs() - began_ns);
    if (outcome != FaultOutcome::kRetry) return;
  }
  // Hand the fault back: the access is made again and, if the page is still missing, asks anew.
  fd_.Wake({hva, kPageSize});
}

// Installs into one region, whose parts may belong to different readers.
class UserfaultPool::StripedInstaller final : public PageInstaller {
 public:
  StripedInstaller(Host& host, HvaRange range, Bytes part, bool huge, std::vector<Reader*> readers)
      : host_(host), range_(range), part_(part), huge_(huge), readers_(std::move(readers)) {}

  Installed Copy(Hva to, const std::byte* from, Bytes size) noexcept override {
    Reader& reader = ReaderOf(to);  // never crosses a part: parts are whole leaves
    if (!huge_ || size < kTeaching) return reader.fd().Copy(to, from, size);
    const uint64_t began_ns = NowNs();
    const Installed installed = reader.fd().Copy(to, from, size);
    if (installed.done >= kTeaching) reader.huge_donor().LearnCopy(installed.done, NowNs() - began_ns);
    return installed;
  }

  Bytes FillHuge(Hva to) noexcept override {
    if (!huge_) return {};
    Reader& reader = ReaderOf(to);
    return reader.huge_donor().Fill(reader.fd().fd(), to);
  }

  void Wake(HvaRange range) noexcept override { FdOf(range.start).Wake(range); }

  int Revoke(HvaRange range) noexcept override {
    int result = host_.Madvise(range, MADV_GUARD_INSTALL);
    if (result < 0) {
      // Older kernels and huge pages: the same effect at the price of the address space's write lock.
      result = host_.Mprotect(range, PROT_NONE);
    }
    Wake(range);
    return result;
  }

  int Restore(HvaRange range) noexcept override {
    const int guards = host_.Madvise(range, MADV_GUARD_REMOVE);
    const int protection = host_.Mprotect(range, PROT_READ | PROT_WRITE);
    return guards == -EINVAL ? protection : std::min(guards, protection);
  }

 private:
  Reader& ReaderOf(Hva hva) const noexcept { return *readers_[(hva - range_.start) / part_]; }
  UserfaultFd& FdOf(Hva hva) const noexcept { return ReaderOf(hva).fd(); }

  Host& host_;
  const HvaRange range_;
  const Bytes part_;
  const bool huge_;
  const std::vector<Reader*> readers_;
};

UserfaultPool::UserfaultPool(Host& host, RcuDomain& domain, const HostRangeMap& ranges, FaultHandler& handler,
                             const Options& options)
    : host_(host) {
  for (unsigned i = 0; i < std::max(options.shards, 1U); ++i) {
    readers_.push_back(std::make_unique<Reader>(host, domain, ranges, handler, options));
  }
}

UserfaultPool::~UserfaultPool() = default;

std::shared_ptr<PageInstaller> UserfaultPool::Register(const Backing& backing, GpaRange gpa) {
  const HvaRange range = backing.range();
  // Parts are whole leaf tables, so that no install crosses from one reader's to another's.
  const bool one_part = range.size < kMinStriped || !IsAligned(gpa.start, kLeafSpan);
  const size_t parts = one_part ? 1 : readers_.size();
  const Bytes part = AlignUp(Bytes((range.size.value + parts - 1) / parts), kLeafSpan);
  std::vector<Reader*> readers;
  for (Bytes at; at < range.size; at += part) {
    Reader* reader = readers_[next_reader_.fetch_add(1, std::memory_order_relaxed) % readers_.size()].get();
    const HvaRange piece{range.start + at, std::min(part, range.size - at)};
    // What was registered before a failure goes with the mapping.
    if (const int result = reader->fd().Register(piece); result < 0) {
      throw Error("cannot register memory for userfaults: " + ErrnoText(-result));
    }
    readers.push_back(reader);
  }
  return std::make_shared<StripedInstaller>(host_, range, part, backing.accepts_huge_pages(), std::move(readers));
}

void UserfaultPool::AddTotals(FaultTotals& totals) const noexcept {
  for (const auto& reader : readers_) totals.Add(reader->stats());
}

void UserfaultPool::MergeLatency(LatencyHistogram& into) const noexcept {
  for (const auto& reader : readers_) into.Merge(reader->stats().latency);
}

}  // namespace faultline
