// A balloon that only remembers what it was told. For one thread.
#pragma once

#include <utility>

#include "devices/virtio/balloon.h"

namespace faultline {

class FakeBalloon final : public Balloon {
 public:
  void SetTarget(Bytes target) override { the_state.target = target; }
  BalloonState state() const override { return the_state; }
  BalloonStatistics statistics() const override { return the_statistics; }
  void SetStatisticsInterval(std::chrono::seconds interval) override { interval_ = interval; }
  std::chrono::seconds statistics_interval() const override { return interval_; }
  bool StartHinting() override { return std::exchange(can_hint, false); }

  BalloonState the_state;
  BalloonStatistics the_statistics;
  bool can_hint = false;

 private:
  std::chrono::seconds interval_{0};
};

}  // namespace faultline
