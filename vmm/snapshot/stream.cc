#include "vmm/snapshot/stream.h"

#include <fcntl.h>
#include <poll.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "devices/bus.h"
#include "guestmem/error.h"

namespace faultline {
namespace {

using nlohmann::json;

constexpr std::array kMagic = {std::byte{'F'}, std::byte{'A'}, std::byte{'U'}, std::byte{'L'},
                               std::byte{'T'}, std::byte{'L'}, std::byte{'I'}, std::byte{'N'}};
constexpr size_t kHeaderSize = 16;
constexpr size_t kSectionHeaderSize = 16;

constexpr uint32_t kState = 1;
constexpr uint32_t kPages = 2;
constexpr uint32_t kEnd = 3;

// A vCPU takes about 15 KiB, a page table of the largest VM none at all.
constexpr uint64_t kMaxState = uint64_t{64} << 20;
constexpr uint64_t kMaxPayload = std::max(kMaxState, 8 + kMaxPagesSection.value);

constexpr int kPollMs = 100;

// How deep the values of a state nest; the JSON library follows them with its own stack.
constexpr unsigned kMaxDepth = 16;

// Accepts any value that does not nest too deeply.
class DepthCheck final : public nlohmann::json_sax<json> {
 public:
  bool null() override { return true; }
  bool boolean(bool /*value*/) override { return true; }
  bool number_integer(number_integer_t /*value*/) override { return true; }
  bool number_unsigned(number_unsigned_t /*value*/) override { return true; }
  bool number_float(number_float_t /*value*/, const string_t& /*text*/) override { return true; }
  bool string(string_t& /*value*/) override { return true; }
  bool binary(binary_t& /*value*/) override { return true; }
  bool key(string_t& /*value*/) override { return true; }
  bool start_object(std::size_t /*elements*/) override { return ++depth_ <= kMaxDepth; }
  bool end_object() override { return depth_-- > 0; }
  bool start_array(std::size_t /*elements*/) override { return ++depth_ <= kMaxDepth; }
  bool end_array() override { return depth_-- > 0; }
  bool parse_error(std::size_t /*position*/, const std::string& /*token*/,
                   const nlohmann::detail::exception& /*error*/) override {
    return false;
  }

 private:
  unsigned depth_ = 0;
};

uint32_t Checksum(std::span<const std::byte> data) {
  const auto* bytes = static_cast<const Bytef*>(static_cast<const void*>(data.data()));
  return static_cast<uint32_t>(crc32_z(0, bytes, data.size()));
}

[[noreturn]] void ThrowCancelled() { throw Error("saving or restoring the VM was cancelled"); }

// Waits until `fd` is ready; regular files always are.
void WaitFor(Host& host, int fd, short events, const std::atomic<bool>& cancel) {
  while (true) {
    if (cancel.load(std::memory_order_relaxed)) ThrowCancelled();
    pollfd poll{fd, events, 0};
    const int rc = host.Poll(&poll, 1, kPollMs);
    if (rc > 0) return;
    if (rc < 0 && rc != -EINTR) {
      throw Error("waiting for the saved VM's file failed (" + ErrnoText(-rc) + "): try again");
    }
  }
}

[[noreturn]] void ThrowDamaged(const std::string& how, Bytes at) {
  throw Error("the saved VM is damaged " + how + " at byte " + std::to_string(at.value) +
              ": restore from another copy, or save it again");
}

}  // namespace

SnapshotWriter::SnapshotWriter(Host& host, int fd, const std::atomic<bool>& cancel)
    : host_(&host), fd_(fd), cancel_(&cancel) {
  // A pipe whose reader sleeps must not take this thread with it. Regular files do not mind.
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  std::array<std::byte, kHeaderSize> header{};
  const std::span<std::byte> at(header);
  std::ranges::copy(kMagic, header.begin());
  StoreLittleEndian(kSnapshotVersion, at.subspan(8, 4));
  Write(header);
}

void SnapshotWriter::Write(std::span<const std::byte> data) {
  while (!data.empty()) {
    WaitFor(*host_, fd_, POLLOUT, *cancel_);
    const int64_t n = host_->Write(fd_, data.data(), data.size());
    if (n > 0) {
      data = data.subspan(static_cast<size_t>(n));
      written_ += Bytes(static_cast<uint64_t>(n));
    } else if (n == -EPIPE) {
      throw Error("whoever was to receive the saved VM is gone: the VM was not saved");
    } else if (n != -EINTR && n != -EAGAIN) {
      throw Error("the saved VM could not be written (" + ErrnoText(static_cast<int>(-n)) +
                  "): make room or choose another place");
    }
  }
}

void SnapshotWriter::LimitTo(Bytes a_second) {
  rate_ = a_second;
  paced_from_ = written_;
  paced_since_ = std::chrono::steady_clock::now();
}

void SnapshotWriter::Pace() const {
  if (rate_.value == 0) return;
  const std::chrono::duration<double> due(static_cast<double>((written_ - paced_from_).value) /
                                          static_cast<double>(rate_.value));
  while (true) {
    if (cancel_->load(std::memory_order_relaxed)) ThrowCancelled();
    const std::chrono::duration<double> left = due - (std::chrono::steady_clock::now() - paced_since_);
    if (left.count() <= 0) return;
    std::this_thread::sleep_for(std::min<std::chrono::duration<double>>(left, std::chrono::milliseconds(kPollMs)));
  }
}

void SnapshotWriter::WriteSection(uint32_t kind, std::span<const std::byte> payload) {
  std::array<std::byte, kSectionHeaderSize> header{};
  const std::span<std::byte> at(header);
  StoreLittleEndian(kind, at.subspan(0, 4));
  StoreLittleEndian(Checksum(payload), at.subspan(4, 4));
  StoreLittleEndian(payload.size(), at.subspan(8, 8));
  Write(header);
  Write(payload);
  Pace();
  ++sections_;
}

void SnapshotWriter::WriteState(const json& state) {
  const std::vector<uint8_t> cbor = json::to_cbor(state);
  WriteSection(kState, std::as_bytes(std::span(cbor)));
}

void SnapshotWriter::WritePages(Gpa gpa, std::span<const std::byte> pages) {
  payload_.resize(8 + pages.size());
  const std::span<std::byte> payload(payload_);
  StoreLittleEndian(gpa.value, payload.subspan(0, 8));
  std::ranges::copy(pages, payload.subspan(8).begin());
  WriteSection(kPages, payload);
}

void SnapshotWriter::Finish() {
  std::array<std::byte, 8> count{};
  StoreLittleEndian(sections_, count);
  WriteSection(kEnd, count);
}

SnapshotReader::SnapshotReader(Host& host, int fd, const std::atomic<bool>& cancel)
    : host_(&host), fd_(fd), cancel_(&cancel) {
  std::array<std::byte, kHeaderSize> header{};
  Read(header);
  if (!std::equal(kMagic.begin(), kMagic.end(), header.begin())) {
    throw Error("this is not a saved VM: give a file that `faultline save` wrote");
  }
  const uint64_t version = LoadLittleEndian(std::span(header).subspan(8, 8));
  if (version != kSnapshotVersion) {
    throw Error("the saved VM has format version " + std::to_string(version) + " and this program knows only " +
                std::to_string(kSnapshotVersion) + ": restore it with the program that saved it");
  }
}

void SnapshotReader::Read(std::span<std::byte> out) {
  while (!out.empty()) {
    WaitFor(*host_, fd_, POLLIN, *cancel_);
    const int64_t n = host_->Read(fd_, out.data(), out.size());
    if (n > 0) {
      out = out.subspan(static_cast<size_t>(n));
      read_ += Bytes(static_cast<uint64_t>(n));
    } else if (n == 0) {
      throw Error("the saved VM ends early, after " + std::to_string(read_.value) +
                  " bytes: restore from another copy, or save it again");
    } else if (n != -EINTR && n != -EAGAIN) {
      throw Error("the saved VM could not be read (" + ErrnoText(static_cast<int>(-n)) + "): check the file");
    }
  }
}

SnapshotReader::Section SnapshotReader::NextSection() {
  const Bytes begin = read_;
  std::array<std::byte, kSectionHeaderSize> header{};
  Read(header);
  const std::span<const std::byte> at(header);
  const auto kind = static_cast<uint32_t>(LoadLittleEndian(at.subspan(0, 4)));
  const uint64_t checksum = LoadLittleEndian(at.subspan(4, 4));
  const uint64_t length = LoadLittleEndian(at.subspan(8, 8));
  if (length > kMaxPayload) ThrowDamaged("(a section of an impossible length)", begin);
  // In steps: a damaged length must not cost memory that the stream does not fill.
  payload_.clear();
  while (payload_.size() < length) {
    const size_t step = std::min<uint64_t>(length - payload_.size(), kMaxPagesSection.value);
    payload_.resize(payload_.size() + step);
    Read(std::span(payload_).last(step));
  }
  if (Checksum(payload_) != checksum) ThrowDamaged("(a checksum does not match)", begin);
  ++sections_;
  return {kind, payload_};
}

json SnapshotReader::ReadState() {
  const Bytes begin = read_;
  const Section section = NextSection();
  if (section.kind != kState) ThrowDamaged("(the state of the machine is not where it belongs)", begin);
  const auto* bytes = static_cast<const uint8_t*>(static_cast<const void*>(section.payload.data()));
  const auto* const end = bytes + section.payload.size();
  DepthCheck depth;
  json state;
  if (json::sax_parse(bytes, end, &depth, json::input_format_t::cbor)) {
    state = json::from_cbor(bytes, end, /*strict=*/true, /*allow_exceptions=*/false);
  }
  if (!state.is_object()) ThrowDamaged("(the state of the machine is not CBOR)", begin);
  return state;
}

std::optional<SnapshotReader::Pages> SnapshotReader::NextPages() {
  const Bytes begin = read_;
  const uint64_t before = sections_;
  const Section section = NextSection();
  if (section.kind == kEnd) {
    if (section.payload.size() != 8 || LoadLittleEndian(section.payload) != before) {
      ThrowDamaged("(sections are missing)", begin);
    }
    return std::nullopt;
  }
  const size_t size = section.payload.size();
  if (section.kind != kPages || size <= 8 || size > 8 + kMaxPagesSection.value ||
      !IsAligned(Bytes(size - 8), kPageSize)) {
    ThrowDamaged("(a section that is no memory)", begin);
  }
  const Gpa gpa(LoadLittleEndian(section.payload.first(8)));
  if (!IsAligned(gpa, kPageSize)) ThrowDamaged("(memory at an address that is no page's)", begin);
  return Pages{gpa, section.payload.subspan(8)};
}

}  // namespace faultline
