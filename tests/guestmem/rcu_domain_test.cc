#include "guestmem/rcu_domain.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <semaphore>
#include <thread>

namespace faultline {
namespace {

using std::chrono::milliseconds;

// Long enough for a reclaimer that does not wait for readers to show itself; correct code passes however
// slow the machine is.
constexpr milliseconds kTemptation{100};

class Probe final : public RcuObject {
 public:
  explicit Probe(std::atomic<int>& deaths) : deaths_(deaths) {}
  ~Probe() override { deaths_.fetch_add(1); }
  int value = 42;

 private:
  std::atomic<int>& deaths_;
};

// A thread that sits inside a read section until told to leave.
class Reader {
 public:
  explicit Reader(RcuDomain& domain)
      : thread_([this, &domain] {
          const RcuDomain::ReadGuard guard(domain);
          inside_.release();
          leave_.acquire();
        }) {
    inside_.acquire();
  }
  ~Reader() { Leave(); }
  void Leave() {
    if (!thread_.joinable()) return;
    leave_.release();
    thread_.join();
  }

 private:
  std::binary_semaphore inside_{0};
  std::binary_semaphore leave_{0};
  std::thread thread_;
};

TEST(RcuDomainTest, DeletesARetiredObjectOnceWhenNobodyReads) {
  std::atomic<int> deaths{0};
  RcuDomain domain;
  domain.Retire(std::make_unique<Probe>(deaths));
  domain.Barrier();
  EXPECT_EQ(deaths, 1);
  domain.Barrier();
  EXPECT_EQ(deaths, 1);
}

TEST(RcuDomainTest, KeepsARetiredObjectForAsLongAsAnEarlierReaderIsInside) {
  std::atomic<int> deaths{0};
  RcuDomain domain;
  {
    Reader reader(domain);
    domain.Retire(std::make_unique<Probe>(deaths));
    std::this_thread::sleep_for(kTemptation);
    EXPECT_EQ(deaths, 0);
  }
  domain.Barrier();
  EXPECT_EQ(deaths, 1);
}

TEST(RcuDomainTest, AReaderThatNestsIsInsideUntilTheOuterSectionEnds) {
  std::atomic<int> deaths{0};
  RcuDomain domain;
  std::binary_semaphore inner_left{0};
  std::binary_semaphore leave{0};
  std::thread reader([&] {
    const RcuDomain::ReadGuard outer(domain);
    { const RcuDomain::ReadGuard inner(domain); }
    inner_left.release();
    leave.acquire();
  });
  inner_left.acquire();
  domain.Retire(std::make_unique<Probe>(deaths));
  std::this_thread::sleep_for(kTemptation);
  EXPECT_EQ(deaths, 0);
  leave.release();
  reader.join();
  domain.Barrier();
  EXPECT_EQ(deaths, 1);
}

TEST(RcuDomainTest, ACookieElapsesByItselfButNotBeforeAnEarlierReaderLeft) {
  RcuDomain domain;
  Reader reader(domain);
  const RcuDomain::Cookie cookie = domain.Snapshot();
  std::this_thread::sleep_for(kTemptation);
  EXPECT_FALSE(domain.HasElapsed(cookie));
  reader.Leave();
  while (!domain.HasElapsed(cookie)) std::this_thread::yield();  // ends without anybody asking again
}

TEST(RcuDomainTest, ACookieTakenDuringAGracePeriodNeedsAWholeOneOfItsOwn) {
  RcuDomain domain;
  Reader first(domain);
  const RcuDomain::Cookie early = domain.Snapshot();
  std::this_thread::sleep_for(milliseconds(20));  // the reclaimer is inside the grace period of `early`
  Reader second(domain);
  const RcuDomain::Cookie late = domain.Snapshot();
  first.Leave();
  while (!domain.HasElapsed(early)) std::this_thread::yield();
  std::this_thread::sleep_for(kTemptation);
  EXPECT_FALSE(domain.HasElapsed(late));
  second.Leave();
  while (!domain.HasElapsed(late)) std::this_thread::yield();
}

TEST(RcuDomainTest, RetiringAndTakingACookieDoNotWaitForReaders) {
  std::atomic<int> deaths{0};
  RcuDomain domain;
  const RcuDomain::ReadGuard guard(domain);  // this very thread would wait for itself for ever
  for (int i = 0; i < 100; ++i) domain.Retire(std::make_unique<Probe>(deaths));
  EXPECT_GT(domain.Snapshot(), 0u);
}

TEST(RcuDomainTest, DestructionDeletesWhatIsStillRetired) {
  std::atomic<int> deaths{0};
  {
    RcuDomain domain;
    for (int i = 0; i < 1000; ++i) domain.Retire(std::make_unique<Probe>(deaths));
  }
  EXPECT_EQ(deaths, 1000);
}

TEST(RcuDomainTest, HousekeepingRunsAfterAGracePeriodAndAgainWhileItSaysSo) {
  std::atomic<int> runs{0};
  RcuDomain domain;
  domain.SetHousekeeping([&] { return ++runs < 3; });
  domain.Snapshot();
  while (runs < 3) std::this_thread::yield();
  domain.SetHousekeeping(nullptr);
}

TEST(RcuDomainTest, ConcurrentReadersNeverSeeADeletedObject) {
  std::atomic<int> deaths{0};
  {
    RcuDomain domain;
    std::atomic<Probe*> current{new Probe(deaths)};
    std::atomic<bool> stop{false};
    std::vector<std::thread> readers;
    for (int i = 0; i < 3; ++i) {
      readers.emplace_back([&] {
        while (!stop.load(std::memory_order_relaxed)) {
          const RcuDomain::ReadGuard guard(domain);
          ASSERT_EQ(current.load(std::memory_order_acquire)->value, 42);
        }
      });
    }
    for (int i = 0; i < 500; ++i) {
      std::unique_ptr<Probe> old(current.exchange(new Probe(deaths), std::memory_order_acq_rel));
      domain.Retire(std::move(old));
      if (i % 50 == 0) domain.Barrier();
    }
    stop = true;
    for (std::thread& t : readers) t.join();
    domain.Retire(std::unique_ptr<RcuObject>(current.load()));
  }
  EXPECT_EQ(deaths, 501);
}

}  // namespace
}  // namespace faultline
