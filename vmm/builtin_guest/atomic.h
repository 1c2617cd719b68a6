// A sequentially consistent atomic integer: the part of std::atomic the guest needs. The guest is compiled
// without floating point, which rules the C++ library's own headers out.
#pragma once

namespace faultline::guest {

template <class T>
class Atomic {
 public:
  constexpr Atomic() = default;
  constexpr explicit Atomic(T value) : value_(value) {}
  Atomic(const Atomic&) = delete;
  Atomic& operator=(const Atomic&) = delete;

  T Load() const { return __atomic_load_n(&value_, __ATOMIC_SEQ_CST); }
  T LoadRelaxed() const { return __atomic_load_n(&value_, __ATOMIC_RELAXED); }
  void Store(T value) { __atomic_store_n(&value_, value, __ATOMIC_SEQ_CST); }
  // Each returns the value before.
  T Add(T value) { return __atomic_fetch_add(&value_, value, __ATOMIC_SEQ_CST); }
  T Subtract(T value) { return __atomic_fetch_sub(&value_, value, __ATOMIC_SEQ_CST); }
  // Stores `to` if the value is `from`; true when it was.
  bool Replace(T from, T to) {
    return __atomic_compare_exchange_n(&value_, &from, to, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  }

 private:
  T value_ = {};
};

}  // namespace faultline::guest
