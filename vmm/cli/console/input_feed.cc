#include "vmm/cli/console/input_feed.h"

#include <utility>

namespace faultline {
namespace {

constexpr std::chrono::milliseconds kOfferAgain{5};

}  // namespace

InputFeed::InputFeed(EventLoop& loop, Guest guest, std::function<void(bool)> read)
    : loop_(loop), guest_(std::move(guest)), read_(std::move(read)) {}

InputFeed::~InputFeed() {
  if (timer_ != 0) loop_.CancelTimer(timer_);
}

void InputFeed::Feed(std::span<const char> typed) {
  pending_.append(typed.data(), typed.size());
  if (waiting()) return;
  Offer();
  if (waiting()) read_(false);
}

void InputFeed::Offer() {
  pending_.erase(0, guest_(std::as_bytes(std::span(pending_))));
  if (!pending_.empty()) {
    timer_ = loop_.AddTimer(kOfferAgain, [this] {
      timer_ = 0;
      Offer();
      if (!waiting()) read_(true);
    });
  }
}

}  // namespace faultline
