// The form of a saved VM: a header, then sections, each with its length and a checksum, readable front to back from
// a pipe.
//
//   header   "FAULTLIN", version (u32), zero (u32)
//   section  kind (u32), checksum of the payload (u32, CRC-32 as zlib's), its length (u64), payload
//     kState  once and first: CBOR (RFC 8949), what the machine is and the state of its vCPUs and devices
//     kPages  guest-physical address (u64), then whole pages; what no section names is zero
//     kEnd    last: how many sections came before it (u64)
//
// All numbers little-endian. A reader and a writer are for one thread. Both throw Error: the host refused, the other
// end is gone, the stream is not one, is damaged or ends early.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <vector>

#include "guestmem/host.h"
#include "guestmem/types.h"

namespace faultline {

inline constexpr uint32_t kSnapshotVersion = 1;
// What one kPages section holds at most.
inline constexpr Bytes kMaxPagesSection = 1_MiB;

class SnapshotWriter {
 public:
  // `fd` stays the caller's; whatever it is, writing waits for it, but not beyond `cancel` turning true (looked at
  // ten times a second): then an Error. Writes the header.
  SnapshotWriter(Host& host, int fd, const std::atomic<bool>& cancel);

  void WriteState(const nlohmann::json& state);
  // At most kMaxPagesSection, whole pages.
  void WritePages(Gpa gpa, std::span<const std::byte> pages);
  void Finish();

  // From now on, that much a second on average.
  void LimitTo(Bytes a_second);

  Bytes written() const { return written_; }

 private:
  void Pace() const;
  void WriteSection(uint32_t kind, std::span<const std::byte> payload);
  void Write(std::span<const std::byte> data);

  Host* host_;
  const int fd_;
  const std::atomic<bool>* cancel_;
  uint64_t sections_ = 0;
  Bytes written_;
  Bytes rate_;  // zero: as fast as it goes
  Bytes paced_from_;
  std::chrono::steady_clock::time_point paced_since_;
  std::vector<std::byte> payload_;
};

class SnapshotReader {
 public:
  // Reads and checks the header. Otherwise as the writer.
  SnapshotReader(Host& host, int fd, const std::atomic<bool>& cancel);

  nlohmann::json ReadState();

  struct Pages {
    Gpa gpa;
    std::span<const std::byte> data;  // valid until the next call
  };
  // Nothing after the last.
  std::optional<Pages> NextPages();

  Bytes bytes_read() const { return read_; }

 private:
  struct Section {
    uint32_t kind;
    std::span<const std::byte> payload;
  };
  Section NextSection();
  void Read(std::span<std::byte> out);

  Host* host_;
  const int fd_;
  const std::atomic<bool>* cancel_;
  uint64_t sections_ = 0;
  Bytes read_;
  std::vector<std::byte> payload_;
};

}  // namespace faultline
