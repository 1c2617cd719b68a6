// Cuts a byte stream into JSON values, the way QMP frames them: by balanced brackets, not by lines.
//
// Owned by one connection; not thread-safe; never blocks. What arrives is hostile until proven otherwise:
// a message is bounded in bytes and in nesting, and text that cannot start a message is reported once for
// each line of it.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace faultline {

class MessageSplitter {
 public:
  struct Limits {
    size_t bytes = size_t{1} << 20;  // of one message
    unsigned depth = 64;             // of nested objects and arrays
  };

  enum class Kind {
    kMessage,  // `text` is one object or array with balanced brackets; not otherwise checked
    kGarbage,  // `text` is the beginning of a line outside of any message
    kTooLong,  // fatal: nothing more will come out
    kTooDeep,  // fatal too
  };
  struct Item {
    Kind kind;
    std::string text;
  };

  explicit MessageSplitter(Limits limits) : limits_(limits) {}

  // Takes what was received. Amortised O(1) a byte.
  void Feed(std::string_view data);
  // The next item, or nothing until more is fed.
  std::optional<Item> Next();

  // Bytes held that belong to no finished item yet.
  size_t pending_bytes() const { return buffer_.size() - consumed_; }

 private:
  enum class State { kBetween, kInside, kString, kEscape, kGarbage, kBroken };

  Item Take(Kind kind, size_t end);
  Item Break(Kind kind);

  const Limits limits_;
  State state_ = State::kBetween;
  std::string buffer_;
  size_t consumed_ = 0;  // start of the current item in buffer_
  size_t scanned_ = 0;   // how far the states have moved
  unsigned depth_ = 0;
};

}  // namespace faultline
