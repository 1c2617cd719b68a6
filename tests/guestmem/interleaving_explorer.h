// Runs a few threads one at a time and tries every order of their steps, up to a number of preemptions.
//
// The threads run the real code; each step of the protocol that it reports is a point where the explorer
// may switch to another thread. A thread that waits for a lock which a stopped thread holds is seen asleep
// and set aside until it comes out. Each order is one run of the scenario from the beginning: depth first,
// the choices of the last run replayed up to the point where the next one differs.
//
// Model: Musuvathi and Qadeer, "Iterative Context Bounding for Systematic Testing", PLDI 2007.
#pragma once

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "guestmem/protocol_observer.h"

namespace faultline {

class InterleavingExplorer final : public ProtocolObserver {
 public:
  struct Limits {
    unsigned preemptions = 2;
    unsigned runs = 2000;
    // A thread that must wait for no other one. A moment asleep proves nothing (the allocator and the
    // sanitizers have locks of their own), so it is set aside only after seconds, and exploring ends there.
    std::optional<size_t> never_waits = std::nullopt;
  };
  struct Result {
    unsigned runs = 0;
    unsigned longest = 0;            // decisions in one run
    bool complete = false;           // every order within the bound was tried
    std::vector<bool> ever_blocked;  // by thread
  };

  // `scenario` makes the bodies of one run; what it returns last, `check`, runs after them.
  struct Run {
    std::vector<std::function<void()>> threads;
    std::function<void()> check;
  };
  Result Explore(const Limits& limits, const std::function<Run()>& scenario) {
    Result result;
    std::vector<Decision> path;
    do {
      RunOnce(scenario(), path, limits, result);
      ++result.runs;
      result.longest = std::max(result.longest, static_cast<unsigned>(path.size()));
      if (limits.never_waits && result.ever_blocked[*limits.never_waits]) break;
      result.complete = !Backtrack(path, limits);
    } while (!result.complete && result.runs < limits.runs);
    return result;
  }

  // The order of the run under way, for messages: which thread went at each decision.
  std::string order() const { return order_.substr(0, 200); }

  void At(ProtocolStep step, RegionId /*region*/) noexcept override {
    if (self_ == nullptr || self_->explorer != this) return;
    // A thread that retries waits for another one: switching away then is no preemption, and is a must.
    Pause(*self_, step == ProtocolStep::kFaultRetry);
  }

 private:
  enum class State : uint8_t { kReady, kRunning, kAside, kDone };
  struct Thread {
    InterleavingExplorer* explorer = nullptr;
    State state = State::kRunning;
    bool go = false;  // may leave Pause; apart from `state`, which is a guess while the thread sleeps
    bool yields = false;
    long tid = 0;
    std::thread thread;
  };
  struct Decision {
    std::vector<size_t> options;  // the default first
    size_t taken = 0;             // index into options
    bool may_preempt = false;     // any option but the first is a preemption
    unsigned preemptions = 0;     // in the run before this decision
  };

  // How often in a row, 300 us and more apart, a thread is seen asleep before it is set aside.
  static constexpr unsigned kSeemsAsleep = 3;
  static constexpr unsigned kSurelyAsleep = 10000;

  void Pause(Thread& me, bool yields) {
    std::unique_lock<std::mutex> lock(mutex_);
    me.yields = yields;
    me.state = State::kReady;
    changed_.notify_all();
    changed_.wait(lock, [&] { return me.go; });
    me.go = false;
  }

  void RunOnce(Run run, std::vector<Decision>& path, const Limits& limits, Result& result) {
    std::vector<Thread> threads(run.threads.size());
    result.ever_blocked.resize(threads.size());
    for (size_t i = 0; i < threads.size(); ++i) {
      Thread& t = threads[i];
      t.explorer = this;
      t.thread = std::thread([this, &t, body = run.threads[i]] {
        {
          const std::lock_guard<std::mutex> lock(mutex_);
          t.tid = syscall(SYS_gettid);
        }
        self_ = &t;
        Pause(t, /*yields=*/false);
        body();
        self_ = nullptr;
        const std::lock_guard<std::mutex> lock(mutex_);
        t.state = State::kDone;
        changed_.notify_all();
      });
    }
    {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [&] {
        return std::all_of(threads.begin(), threads.end(), [](const Thread& t) { return t.state == State::kReady; });
      });
    }
    order_.clear();
    size_t current = threads.size();
    unsigned preemptions = 0;
    bool deadlock = false;
    for (size_t depth = 0;; ++depth) {
      std::vector<size_t> ready;
      if (!AwaitReady(threads, ready)) {
        deadlock = AnyAlive(threads);
        break;
      }
      if (depth == path.size()) path.push_back(MakeDecision(threads, ready, current, preemptions));
      Decision& d = path[depth];
      size_t next = d.options[d.taken];
      if (std::find(ready.begin(), ready.end(), next) == ready.end()) {
        // Timing moved a thread in or out of a lock: go on from here as a new run.
        path.resize(depth);
        path.push_back(MakeDecision(threads, ready, current, preemptions));
        next = path[depth].options[0];
      }
      if (path[depth].may_preempt && next != path[depth].options[0]) ++preemptions;
      current = next;
      order_ += static_cast<char>('A' + next);
      Let(threads, next, limits.never_waits == next ? kSurelyAsleep : kSeemsAsleep, result);
    }
    if (deadlock) {
      fprintf(stderr, "deadlock in the order %s\n", order().c_str());
      abort();  // the threads never end, and they use what the test would free
    }
    for (Thread& t : threads) t.thread.join();
    run.check();
  }

  // Waits until nobody runs and somebody is ready. False when that does not happen.
  bool AwaitReady(std::vector<Thread>& threads, std::vector<size_t>& ready) {
    std::unique_lock<std::mutex> lock(mutex_);
    const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    for (;;) {
      ready.clear();
      bool alive = false;
      for (size_t i = 0; i < threads.size(); ++i) {
        if (threads[i].state == State::kReady) ready.push_back(i);
        alive = alive || threads[i].state != State::kDone;
      }
      if (!ready.empty()) return true;
      if (!alive || std::chrono::steady_clock::now() > patience) return false;
      changed_.wait_for(lock, std::chrono::milliseconds(1));
    }
  }
  static bool AnyAlive(const std::vector<Thread>& threads) {
    return std::any_of(threads.begin(), threads.end(), [](const Thread& t) { return t.state != State::kDone; });
  }

  static Decision MakeDecision(const std::vector<Thread>& threads, const std::vector<size_t>& ready, size_t current,
                               unsigned preemptions) {
    Decision d;
    d.preemptions = preemptions;
    const bool goes_on = std::find(ready.begin(), ready.end(), current) != ready.end();
    d.may_preempt = goes_on && !threads[current].yields;
    if (d.may_preempt) d.options.push_back(current);
    for (const size_t i : ready) {
      if (i != current && !threads[i].yields) d.options.push_back(i);
    }
    if (d.options.empty()) d.options = ready;  // all of them wait for each other
    return d;
  }

  // Lets one thread go until its next step, its end, or a lock it has to wait for.
  void Let(std::vector<Thread>& threads, size_t index, unsigned patience, Result& result) {
    std::unique_lock<std::mutex> lock(mutex_);
    Thread& t = threads[index];
    t.state = State::kRunning;
    t.go = true;
    changed_.notify_all();
    unsigned asleep = 0;
    while (t.state == State::kRunning) {
      if (changed_.wait_for(lock, std::chrono::microseconds(300)) == std::cv_status::no_timeout) continue;
      if (t.state != State::kRunning) break;
      lock.unlock();
      const bool now = Asleep(t.tid);
      lock.lock();
      asleep = now && !t.go ? asleep + 1 : 0;
      if (asleep >= patience && t.state == State::kRunning) {
        t.state = State::kAside;  // comes back by itself, through Pause
        result.ever_blocked[index] = true;
      }
    }
  }
  static bool Asleep(long tid) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/task/%ld/stat", tid);
    FILE* file = fopen(path, "re");
    if (file == nullptr) return false;
    char line[512] = {};
    const bool read = fgets(line, sizeof(line), file) != nullptr;
    fclose(file);
    const char* end = read ? strrchr(line, ')') : nullptr;
    return end != nullptr && end[1] == ' ' && end[2] == 'S';
  }

  // To the next order: changes the last decision that has an option left. False when there is none.
  static bool Backtrack(std::vector<Decision>& path, const Limits& limits) {
    while (!path.empty()) {
      Decision& d = path.back();
      const bool affordable = !d.may_preempt || d.preemptions < limits.preemptions;
      if (affordable && d.taken + 1 < d.options.size()) {
        ++d.taken;
        return true;
      }
      path.pop_back();
    }
    return false;
  }

  static inline thread_local Thread* self_ = nullptr;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string order_;
};

}  // namespace faultline
