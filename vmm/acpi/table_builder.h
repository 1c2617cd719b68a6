// One ACPI table under construction: little-endian fields appended in order, header and checksum filled in at the
// end (ACPI 6.5 §5.2.6).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "guestmem/types.h"

namespace faultline {

class TableBuilder {
 public:
  static constexpr size_t kHeaderSize = 36;

  TableBuilder(std::string_view signature, uint8_t revision) {
    Text(signature, 4);
    Append(0, 4);  // length, known at the end
    Append(revision, 1);
    Append(0, 1);  // checksum, likewise
    Text("FAULTL", 6);
    Text("FAULTLIN", 8);
    Append(1, 4);
    Text("FLTL", 4);
    Append(1, 4);
  }

  // The low `width` bytes of `value`.
  void Append(uint64_t value, unsigned width) {
    for (unsigned i = 0; i < width; ++i) bytes_.push_back(static_cast<std::byte>(value >> (8 * i) & 0xff));
  }
  void Append(Gpa gpa) { Append(gpa.value, 8); }
  void Append(Bytes size) { Append(size.value, 8); }
  // A generic address structure of one byte in port space (ACPI 6.5 §5.2.3.2).
  void AppendPort(uint64_t port) {
    constexpr uint8_t kSystemIo = 1;
    constexpr uint8_t kByteAccess = 1;
    Append(kSystemIo, 1);
    Append(8, 1);
    Append(0, 1);
    Append(kByteAccess, 1);
    Append(port, 8);
  }
  // Zeroes up to `offset` from the table's start.
  void PadTo(size_t offset) { bytes_.resize(offset); }

  std::vector<std::byte> Finish() {
    const auto length = static_cast<uint32_t>(bytes_.size());
    for (unsigned i = 0; i < 4; ++i) bytes_[4 + i] = static_cast<std::byte>(length >> (8 * i) & 0xff);
    bytes_[kChecksum] = std::byte{0};
    bytes_[kChecksum] = Checksum(bytes_);
    return bytes_;
  }

  // The byte that makes all of them and itself add up to zero.
  static std::byte Checksum(std::span<const std::byte> bytes) {
    unsigned sum = 0;
    for (const std::byte byte : bytes) sum += std::to_integer<unsigned>(byte);
    return static_cast<std::byte>(-sum & 0xff);
  }

 private:
  static constexpr size_t kChecksum = 9;

  void Text(std::string_view text, size_t size) {
    for (size_t i = 0; i < size; ++i) bytes_.push_back(static_cast<std::byte>(i < text.size() ? text[i] : ' '));
  }

  std::vector<std::byte> bytes_;
};

}  // namespace faultline
