// A view of characters: the few operations of std::string_view the guest needs. The guest is compiled
// without floating point, which rules the C++ library's own headers out.
#pragma once

#include <cstddef>

namespace faultline::guest {

class Text {
 public:
  constexpr Text() = default;
  constexpr Text(const char* data, size_t size) : data_(data), size_(size) {}
  // A zero-terminated string; implicit, as string_view's is.
  constexpr Text(const char* string) : data_(string) {  // NOLINT(google-explicit-constructor)
    while (string[size_] != 0) ++size_;
  }

  constexpr size_t size() const { return size_; }
  constexpr bool empty() const { return size_ == 0; }
  constexpr const char* begin() const { return data_; }
  constexpr const char* end() const { return data_ + size_; }
  constexpr char operator[](size_t i) const { return data_[i]; }
  constexpr char back() const { return data_[size_ - 1]; }

  // What is left of the text from `count` on, and the first `count` characters; clamped to its size.
  constexpr Text DropFirst(size_t count) const { return count < size_ ? Text(data_ + count, size_ - count) : Text(); }
  constexpr Text First(size_t count) const { return count < size_ ? Text(data_, count) : *this; }

  // The index of the first `wanted`, or size().
  constexpr size_t Find(char wanted) const {
    size_t i = 0;
    while (i < size_ && data_[i] != wanted) ++i;
    return i;
  }
  constexpr bool StartsWith(Text prefix) const { return size_ >= prefix.size_ && First(prefix.size_) == prefix; }
  friend constexpr bool operator==(Text a, Text b) {
    if (a.size_ != b.size_) return false;
    for (size_t i = 0; i < a.size_; ++i) {
      if (a.data_[i] != b.data_[i]) return false;
    }
    return true;
  }

 private:
  const char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace faultline::guest
