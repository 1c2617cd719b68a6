#include "devices/rtc.h"

namespace faultline {
namespace {

enum Register : uint8_t {
  kSeconds = 0x00,
  kMinutes = 0x02,
  kHours = 0x04,
  kWeekday = 0x06,
  kDay = 0x07,
  kMonth = 0x08,
  kYear = 0x09,
  kStatusA = 0x0a,
  kStatusB = 0x0b,
  kStatusC = 0x0c,
  kStatusD = 0x0d,
  kCentury = 0x32,
};

constexpr uint8_t kIndexMask = 0x7f;  // the top bit of the index port is the NMI's mask
constexpr uint8_t kBinary = 1U << 2;
constexpr uint8_t k24Hours = 1U << 1;
constexpr uint8_t kDivider = 0x26;    // register A: 32768 Hz; never in the middle of an update
constexpr uint8_t kValid = 1U << 7;   // register D: the battery is good
constexpr uint8_t kAfternoon = 0x80;  // of hours in 12-hour mode

}  // namespace

uint8_t Rtc::EncodedLocked(int value) const {
  return static_cast<uint8_t>((control_ & kBinary) != 0 ? value : value / 10 * 16 + value % 10);
}

uint8_t Rtc::ReadRegisterLocked() const {
  const std::time_t seconds = now_();
  std::tm time{};
  gmtime_r(&seconds, &time);
  constexpr int kTmEpoch = 1900;
  constexpr int kNoon = 12;
  switch (index_) {
    case kSeconds:
      return EncodedLocked(time.tm_sec);
    case kMinutes:
      return EncodedLocked(time.tm_min);
    case kHours: {
      if ((control_ & k24Hours) != 0) return EncodedLocked(time.tm_hour);
      const int hour = time.tm_hour % kNoon == 0 ? kNoon : time.tm_hour % kNoon;
      return EncodedLocked(hour) | (time.tm_hour >= kNoon ? kAfternoon : uint8_t{0});
    }
    case kWeekday:
      return EncodedLocked(time.tm_wday + 1);
    case kDay:
      return EncodedLocked(time.tm_mday);
    case kMonth:
      return EncodedLocked(time.tm_mon + 1);
    case kYear:
      return EncodedLocked(time.tm_year % 100);
    case kCentury:
      return EncodedLocked((time.tm_year + kTmEpoch) / 100);
    case kStatusA:
      return kDivider;
    case kStatusB:
      return control_;
    case kStatusC:  // no interrupt ever came
      return 0;
    case kStatusD:
      return kValid;
    default:
      return cmos_[index_];
  }
}

void Rtc::Read(Bytes offset, std::span<std::byte> out) {
  MutexLock lock(mutex_);
  StoreLittleEndian(offset.value == 1 ? ReadRegisterLocked() : 0xff, out);
}

void Rtc::Write(Bytes offset, std::span<const std::byte> data) {
  MutexLock lock(mutex_);
  size_t next = 0;
  if (offset.value == 0) index_ = std::to_integer<uint8_t>(data[next++]) & kIndexMask;
  if (next == data.size()) return;
  const auto value = std::to_integer<uint8_t>(data[next]);
  if (index_ == kStatusB) {
    control_ = value & (kBinary | k24Hours);
  } else if (index_ > kStatusD && index_ != kCentury) {
    cmos_[index_] = value;
  }
}

}  // namespace faultline
