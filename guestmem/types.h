// Strong types for guest and host addresses, and the page geometry shared by the whole project.
//
// No interface takes a bare integer where an address or a size is meant: mixing up a guest-physical
// address, a host-virtual address and a length is then a compile error. All types here are trivially
// copyable values without synchronisation.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>

namespace faultline {

// A length or an offset in bytes.
struct Bytes {
  uint64_t value = 0;

  constexpr Bytes() = default;
  constexpr explicit Bytes(uint64_t v) : value(v) {}
  friend constexpr auto operator<=>(Bytes, Bytes) = default;
  friend constexpr Bytes operator+(Bytes a, Bytes b) { return Bytes(a.value + b.value); }
  friend constexpr Bytes operator-(Bytes a, Bytes b) { return Bytes(a.value - b.value); }
  friend constexpr Bytes operator*(Bytes a, uint64_t n) { return Bytes(a.value * n); }
  friend constexpr uint64_t operator/(Bytes a, Bytes b) { return a.value / b.value; }
  friend constexpr Bytes operator%(Bytes a, Bytes b) { return Bytes(a.value % b.value); }
  constexpr Bytes& operator+=(Bytes b) {
    value += b.value;
    return *this;
  }
  constexpr Bytes& operator-=(Bytes b) {
    value -= b.value;
    return *this;
  }
};

constexpr Bytes operator""_KiB(unsigned long long n) { return Bytes(n << 10); }
constexpr Bytes operator""_MiB(unsigned long long n) { return Bytes(n << 20); }
constexpr Bytes operator""_GiB(unsigned long long n) { return Bytes(n << 30); }

// The smallest unit that is faulted in, and what one leaf table covers.
inline constexpr Bytes kPageSize = 4_KiB;
inline constexpr Bytes kLeafSpan = 2_MiB;
inline constexpr unsigned kPagesPerLeaf = 512;
static_assert(kLeafSpan / kPageSize == kPagesPerLeaf);

// An address in some space; `Tag` keeps the spaces apart.
template <class Tag>
struct Address {
  uint64_t value = 0;

  constexpr Address() = default;
  constexpr explicit Address(uint64_t v) : value(v) {}
  friend constexpr auto operator<=>(Address, Address) = default;
  friend constexpr Address operator+(Address a, Bytes b) { return Address(a.value + b.value); }
  friend constexpr Address operator-(Address a, Bytes b) { return Address(a.value - b.value); }
  friend constexpr Bytes operator-(Address a, Address b) { return Bytes(a.value - b.value); }
};

using Gpa = Address<struct GpaTag>;  // guest-physical
using Hva = Address<struct HvaTag>;  // host-virtual, in this process

inline std::byte* ToPointer(Hva hva) {
  return reinterpret_cast<std::byte*>(hva.value);  // NOLINT(performance-no-int-to-ptr)
}
inline Hva ToHva(const void* p) { return Hva(reinterpret_cast<uintptr_t>(p)); }

// A guest frame number: a guest-physical address in pages.
struct Gfn {
  uint64_t value = 0;

  constexpr Gfn() = default;
  constexpr explicit Gfn(uint64_t v) : value(v) {}
  constexpr explicit Gfn(Gpa gpa) : value(gpa.value / kPageSize.value) {}
  constexpr Gpa ToGpa() const { return Gpa(value * kPageSize.value); }
  friend constexpr auto operator<=>(Gfn, Gfn) = default;
};

constexpr bool IsAligned(uint64_t v, Bytes unit) { return v % unit.value == 0; }
constexpr bool IsAligned(Bytes b, Bytes unit) { return IsAligned(b.value, unit); }
template <class Tag>
constexpr bool IsAligned(Address<Tag> a, Bytes unit) {
  return IsAligned(a.value, unit);
}
constexpr Bytes AlignUp(Bytes b, Bytes unit) { return Bytes((b.value + unit.value - 1) / unit.value * unit.value); }
template <class A>
constexpr A AlignDown(A a, Bytes unit) {
  return A(a.value / unit.value * unit.value);
}

// A half-open range [start, start + size). Callers that take ranges from outside use `Make`, which
// refuses one that wraps around the address space.
template <class A>
struct Range {
  A start;
  Bytes size;

  static constexpr std::optional<Range> Make(A start, Bytes size) {
    if (start.value + size.value < start.value) return std::nullopt;
    return Range{start, size};
  }
  constexpr A end() const { return start + size; }
  constexpr bool Contains(A a) const { return a >= start && a - start < size; }
  constexpr bool Contains(Range r) const { return r.start >= start && r.end() <= end(); }
  constexpr bool Overlaps(Range r) const { return start < r.end() && r.start < end(); }
  friend constexpr bool operator==(Range, Range) = default;
};

using GpaRange = Range<Gpa>;
using HvaRange = Range<Hva>;

// Names one incarnation of a region. Never reused within a process; 0 names none.
struct RegionId {
  uint64_t value = 0;
  friend constexpr auto operator<=>(RegionId, RegionId) = default;
};

}  // namespace faultline

template <>
struct std::hash<faultline::RegionId> {
  size_t operator()(faultline::RegionId id) const noexcept { return std::hash<uint64_t>()(id.value); }
};
