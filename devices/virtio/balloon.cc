// A memory balloon (virtio 1.2 §5.5).
//
// The guest's pages go back to the host before the buffer that named them is returned: when the guest says that
// it gave up so much, that much is free. All buffers of one round are joined into as few host calls as can be.
// Deflating needs nothing: a page comes back when it is touched.
#include "devices/virtio/balloon.h"

#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "devices/virtio/page_ranges.h"
#include "devices/virtio/virtio_device.h"
#include "devices/virtio/virtio_pci.h"
#include "guestmem/error.h"

namespace faultline {
namespace {

constexpr uint64_t Bit(unsigned feature) { return uint64_t{1} << feature; }

// §5.5.2: the queues in this order; those of features that were not negotiated do not exist.
enum class Role : uint8_t { kInflate, kDeflate, kStatistics, kHinting, kReporting };
constexpr unsigned kRoles = 5;
// Page numbers in one buffer. Linux sends 256.
constexpr size_t kMaxPfns = 16384;
// Statistics in one buffer: unknown ones are passed over.
constexpr size_t kMaxStatistics = 64;
// Of the first hinting round: smaller ones mean something else.
constexpr uint32_t kFirstHintId = 2;

class VirtioBalloon final : public VirtioDevice, public Balloon {
 public:
  VirtioBalloon(BalloonConfig config, const VirtioEnvironment& environment)
      : VirtioDevice({.name = "virtio-balloon",
                      .type = VIRTIO_ID_BALLOON,
                      .pci_class = 0x00ff00,
                      .queues = kRoles,
                      .features = Features(config)},
                     environment),
        config_(std::move(config)),
        timer_(environment.host, timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)) {
    if (!timer_) {
      throw Error("the host gives no timer for device virtio-balloon: raise the limit on open files (ulimit -n)");
    }
    MutexLock lock(mutex_);
    SetTargetLocked(config_.target);
  }

  void SetTarget(Bytes target) override {
    MutexLock lock(mutex_);
    SetTargetLocked(target);
    ConfigChangedLocked();
  }

  BalloonState state() const override {
    MutexLock lock(mutex_);
    BalloonState state = counts_;
    state.driver = running();
    state.target = kPageSize * shared_.num_pages;
    state.held = kPageSize * shared_.actual;
    state.hinting = hint_round_open_;
    return state;
  }

  BalloonStatistics statistics() const override {
    MutexLock lock(mutex_);
    return statistics_;
  }

  void SetStatisticsInterval(std::chrono::seconds interval) override {
    MutexLock lock(mutex_);
    interval_ = interval;
    itimerspec spec = {};
    spec.it_value.tv_sec = interval.count();
    spec.it_interval.tv_sec = interval.count();
    timerfd_settime(timer_.get(), 0, &spec, nullptr);
  }
  std::chrono::seconds statistics_interval() const override {
    MutexLock lock(mutex_);
    return interval_;
  }

  bool StartHinting() override {
    MutexLock lock(mutex_);
    if (!running() || hint_round_open_ || std::ranges::find(roles_, Role::kHinting) == roles_.end()) return false;
    hint_id_ = hint_id_ == UINT32_MAX ? kFirstHintId : hint_id_ + 1;
    shared_.free_page_hint_cmd_id = hint_id_;
    hint_round_open_ = true;
    ConfigChangedLocked();
    return true;
  }

 private:
  static uint64_t Features(const BalloonConfig& config) {
    return Bit(VIRTIO_BALLOON_F_STATS_VQ) | Bit(VIRTIO_BALLOON_F_FREE_PAGE_HINT) |
           (config.deflate_on_oom ? Bit(VIRTIO_BALLOON_F_DEFLATE_ON_OOM) : 0) |
           (config.reporting ? Bit(VIRTIO_BALLOON_F_REPORTING) : 0);
  }

  void SetTargetLocked(Bytes target) REQUIRES(mutex_) {
    shared_.num_pages = static_cast<uint32_t>(std::min<uint64_t>(target / kPageSize, UINT32_MAX));
  }

  void OnStart(uint64_t features) override REQUIRES(mutex_) {
    roles_ = {Role::kInflate, Role::kDeflate};
    if ((features & Bit(VIRTIO_BALLOON_F_STATS_VQ)) != 0) roles_.push_back(Role::kStatistics);
    if ((features & Bit(VIRTIO_BALLOON_F_FREE_PAGE_HINT)) != 0) roles_.push_back(Role::kHinting);
    if ((features & Bit(VIRTIO_BALLOON_F_REPORTING)) != 0) roles_.push_back(Role::kReporting);
    WatchLocked(timer_.get());
  }

  void OnStop() override REQUIRES(mutex_) {
    UnwatchLocked(timer_.get());
    statistics_buffer_.reset();
    shared_.free_page_hint_cmd_id = VIRTIO_BALLOON_CMD_ID_STOP;
    hint_round_open_ = hint_taken_ = false;
    // What it gave up it has again: it will say so anew.
    if (shared_.actual != 0) changed_ = true;
    shared_.actual = 0;
  }

  void ServeQueue(unsigned index) override REQUIRES(mutex_) {
    if (index >= roles_.size()) return;
    SplitQueue& served = queue(index);
    do {
      served.DisableNotifications();
      if (!ServeRound(roles_[index], served)) return GiveUpLocked();
    } while (served.EnableNotifications());
  }

  // All that is available now. False when a buffer makes no sense.
  bool ServeRound(Role role, SplitQueue& served) REQUIRES(mutex_) {
    std::vector<uint16_t> done;
    PageRanges pages;
    DescriptorChain chain;
    bool sane = true;
    while (sane && served.Pop(chain)) {
      switch (role) {
        case Role::kInflate:
          sane = TakePageNumbers(chain, pages);
          break;
        case Role::kDeflate:
          break;
        case Role::kStatistics:
          sane = TakeStatistics(chain);
          // Kept until new ones are wanted; one that came before it goes back.
          if (const auto earlier = std::exchange(statistics_buffer_, chain.head)) done.push_back(*earlier);
          continue;
        case Role::kHinting:
          sane = TakeHint(chain, pages);
          break;
        case Role::kReporting:
          for (const Segment& segment : chain.writable) pages.Add(segment);
          break;
      }
      done.push_back(chain.head);
    }
    Discard(pages, role == Role::kInflate ? counts_.returned : counts_.reported);
    for (const uint16_t head : done) served.Push(head, 0);
    return sane;
  }

  void Discard(PageRanges& pages, Bytes& counted) REQUIRES(mutex_) {
    for (const GpaRange& range : pages.Take()) {
      const DiscardReport report = memory().Discard(range);
      counted += report.discarded;
      counts_.host_calls += report.calls;
      if (report.error != 0) counts_.refused += range.size;
    }
  }

  bool TakePageNumbers(const DescriptorChain& chain, PageRanges& pages) REQUIRES(mutex_) {
    const uint64_t size = TotalSize(chain.readable);
    if (size > kMaxPfns * sizeof(uint32_t)) return false;
    std::vector<uint32_t> numbers(size / sizeof(uint32_t));
    if (!CopyIn(memory(), chain.readable, 0, std::as_writable_bytes(std::span(numbers)))) return false;
    for (const uint32_t number : numbers) pages.Add({Gfn(uint64_t{number}).ToGpa(), kPageSize});
    return true;
  }

  bool TakeStatistics(const DescriptorChain& chain) REQUIRES(mutex_) {
    const uint64_t size = TotalSize(chain.readable);
    std::vector<virtio_balloon_stat> sent(std::min<uint64_t>(size / sizeof(virtio_balloon_stat), kMaxStatistics));
    if (!CopyIn(memory(), chain.readable, 0, std::as_writable_bytes(std::span(sent)))) return false;
    statistics_.values.fill(std::nullopt);
    for (const virtio_balloon_stat& one : sent) {
      // The structure is packed: its value is copied, for no reference may be bound to it.
      if (one.tag < BalloonStatistics::kTags) statistics_.values[one.tag] = uint64_t{one.val};
    }
    statistics_.updated = std::chrono::system_clock::now();
    return true;
  }

  // §5.5.6.5: an id opens a round, pages follow, the id of STOP ends it.
  bool TakeHint(const DescriptorChain& chain, PageRanges& pages) REQUIRES(mutex_) {
    if (!chain.readable.empty()) {
      uint32_t id = 0;
      if (!CopyIn(memory(), chain.readable, 0, std::as_writable_bytes(std::span(&id, 1)))) return false;
      if (id == VIRTIO_BALLOON_CMD_ID_STOP && hint_taken_) {
        // The guest may have its pages again.
        hint_round_open_ = hint_taken_ = false;
        shared_.free_page_hint_cmd_id = VIRTIO_BALLOON_CMD_ID_DONE;
        ConfigChangedLocked();
      } else if (id == hint_id_ && hint_round_open_) {
        hint_taken_ = true;
      }
    }
    // Outside a round the guest may use the page again at any time.
    if (!hint_taken_) return true;
    for (const Segment& segment : chain.writable) pages.Add(segment);
    return true;
  }

  // The timer: new statistics are wanted.
  void OnReadable(int fd) override REQUIRES(mutex_) {
    uint64_t expirations = 0;
    host().Read(fd, &expirations, sizeof(expirations));
    const auto role = std::ranges::find(roles_, Role::kStatistics);
    if (!statistics_buffer_ || role == roles_.end()) return;
    queue(static_cast<unsigned>(role - roles_.begin())).Push(*std::exchange(statistics_buffer_, std::nullopt), 0);
  }

  void ReadConfigLocked(uint64_t offset, std::span<std::byte> out) override REQUIRES(mutex_) {
    CopyConfig(std::as_bytes(std::span(&shared_, 1)), offset, out);
  }

  void WriteConfigLocked(uint64_t offset, std::span<const std::byte> data) override REQUIRES(mutex_) {
    const uint32_t before = shared_.actual;
    auto* const actual = reinterpret_cast<std::byte*>(&shared_.actual);
    constexpr uint64_t kActual = offsetof(virtio_balloon_config, actual);
    for (size_t i = 0; i < data.size(); ++i) {
      const uint64_t at = offset + i;
      if (at >= kActual && at - kActual < sizeof(shared_.actual)) actual[at - kActual] = data[i];
    }
    if (shared_.actual == before) return;
    changed_ = true;
    Notify(0);  // told on the device's own thread
  }

  void AfterWork() override EXCLUDES(mutex_) {
    Bytes held;
    {
      MutexLock lock(mutex_);
      if (!std::exchange(changed_, false)) return;
      held = kPageSize * shared_.actual;
    }
    if (config_.on_change) config_.on_change(held);
  }

  const BalloonConfig config_;
  FileDescriptor timer_;
  virtio_balloon_config shared_ GUARDED_BY(mutex_) = {};
  std::vector<Role> roles_ GUARDED_BY(mutex_);
  BalloonState counts_ GUARDED_BY(mutex_);  // the sums alone
  BalloonStatistics statistics_ GUARDED_BY(mutex_);
  std::chrono::seconds interval_ GUARDED_BY(mutex_){0};
  std::optional<uint16_t> statistics_buffer_ GUARDED_BY(mutex_);  // the guest's, waiting for the timer
  uint32_t hint_id_ GUARDED_BY(mutex_) = kFirstHintId - 1;
  bool hint_round_open_ GUARDED_BY(mutex_) = false;
  bool hint_taken_ GUARDED_BY(mutex_) = false;  // the guest answered with the round's id
  bool changed_ GUARDED_BY(mutex_) = false;
};

}  // namespace

VirtioBalloonDevice MakeVirtioBalloon(BalloonConfig config, const VirtioEnvironment& environment) {
  auto device = std::make_unique<VirtioBalloon>(std::move(config), environment);
  Balloon& balloon = *device;
  return {std::make_unique<VirtioPci>(std::move(device), environment.msi), balloon};
}

}  // namespace faultline
