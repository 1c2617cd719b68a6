#include "vmm/control/message_splitter.h"

#include <algorithm>

namespace faultline {
namespace {

constexpr size_t kGarbageShown = 64;

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

}  // namespace

void MessageSplitter::Feed(std::string_view data) {
  if (state_ == State::kBroken) return;
  if (consumed_ > 0) {
    buffer_.erase(0, consumed_);
    scanned_ -= consumed_;
    consumed_ = 0;
  }
  buffer_.append(data);
}

MessageSplitter::Item MessageSplitter::Take(Kind kind, size_t end) {
  Item item{kind, buffer_.substr(consumed_, end - consumed_)};
  consumed_ = end;
  state_ = State::kBetween;
  depth_ = 0;
  return item;
}

MessageSplitter::Item MessageSplitter::Break(Kind kind) {
  state_ = State::kBroken;
  buffer_.clear();
  buffer_.shrink_to_fit();
  consumed_ = scanned_ = 0;
  return {kind, {}};
}

std::optional<MessageSplitter::Item> MessageSplitter::Next() {
  while (state_ != State::kBroken && scanned_ < buffer_.size()) {
    const char c = buffer_[scanned_++];
    if (state_ != State::kBetween && scanned_ - consumed_ > limits_.bytes) return Break(Kind::kTooLong);
    switch (state_) {
      case State::kBetween:
        consumed_ = scanned_ - 1;
        if (IsSpace(c)) {
          consumed_ = scanned_;
        } else if (c == '{' || c == '[') {
          state_ = State::kInside;
          depth_ = 1;
        } else {
          state_ = State::kGarbage;
        }
        break;
      case State::kInside:
        if (c == '"') {
          state_ = State::kString;
        } else if (c == '{' || c == '[') {
          if (++depth_ > limits_.depth) return Break(Kind::kTooDeep);
        } else if (c == '}' || c == ']') {
          if (--depth_ == 0) return Take(Kind::kMessage, scanned_);
        }
        break;
      case State::kString:
        if (c == '\\') state_ = State::kEscape;
        if (c == '"') state_ = State::kInside;
        break;
      case State::kEscape:
        state_ = State::kString;
        break;
      case State::kGarbage:
        if (c == '\n') {
          Item item = Take(Kind::kGarbage, scanned_);
          item.text.resize(std::min(item.text.size() - 1, kGarbageShown));
          return item;
        }
        break;
      case State::kBroken:
        break;
    }
  }
  return std::nullopt;
}

}  // namespace faultline
