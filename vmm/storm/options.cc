// The storm's options: their words, and which of them make no storm.
#include <string>
#include <utility>

#include "guestmem/error.h"
#include "guestmem/guest_memory.h"
#include "vmm/builtin_guest/storm_abi.h"
#include "vmm/storm/plan.h"
#include "vmm/storm/storm.h"

namespace faultline {
namespace {

template <class Enum>
struct Word {
  std::string_view text;
  Enum value;
};

constexpr std::array kEngines = {Word<StormEngineKind>{"kvm", StormEngineKind::kKvm},
                                 Word<StormEngineKind>{"threads", StormEngineKind::kThreads}};
constexpr std::array kPatterns = {
    Word<StormPattern>{"random", StormPattern::kRandom}, Word<StormPattern>{"sequential", StormPattern::kSequential},
    Word<StormPattern>{"hot", StormPattern::kHot}, Word<StormPattern>{"same-leaf", StormPattern::kSameLeaf}};
constexpr std::array kUnplugs = {Word<StormUnplug>{"forced", StormUnplug::kForced},
                                 Word<StormUnplug>{"cooperative", StormUnplug::kCooperative},
                                 Word<StormUnplug>{"mixed", StormUnplug::kMixed}};

template <class Words>
auto Parse(const Words& words, std::string_view text, std::string_view what) {
  std::string choices;
  for (const auto& word : words) {
    if (word.text == text) return word.value;
    if (!choices.empty()) choices += ", ";
    choices += word.text;
  }
  throw UsageError("unknown storm " + std::string(what) + " '" + std::string(text) + "': choose one of " + choices);
}

template <class Words, class Enum>
std::string_view Print(const Words& words, Enum value) {
  for (const auto& word : words) {
    if (word.value == value) return word.text;
  }
  return "?";
}

void Require(bool ok, const char* sentence) {
  if (!ok) throw UsageError(sentence);
}

}  // namespace

StormEngineKind ParseStormEngine(std::string_view text) { return Parse(kEngines, text, "engine"); }
StormPattern ParseStormPattern(std::string_view text) { return Parse(kPatterns, text, "pattern"); }
StormUnplug ParseStormUnplug(std::string_view text) { return Parse(kUnplugs, text, "unplug mode"); }
std::string_view ToString(StormEngineKind kind) { return Print(kEngines, kind); }
std::string_view ToString(StormPattern pattern) { return Print(kPatterns, pattern); }
std::string_view ToString(StormUnplug unplug) { return Print(kUnplugs, unplug); }

void ValidateStormOptions(const StormOptions& options) {
  using std::chrono::hours;
  using std::chrono::microseconds;
  using std::chrono::milliseconds;
  Require(options.vcpus >= 1 && options.vcpus <= storm_abi::kMaxVcpus, "a storm takes 1 to 256 vCPUs (--vcpus)");
  Require(options.regions >= 1 && options.regions <= kMaxStormRegions, "a storm takes 1 to 1024 regions (--regions)");
  Require(options.region_size.value != 0 && IsAligned(options.region_size, kLeafSpan),
          "a storm's region size must be a multiple of 2M and not zero (--region-size)");
  Require(options.duration >= milliseconds(100) && options.duration <= hours(24),
          "a storm lasts from 100ms to 24h (--duration)");
  Require(options.churn >= microseconds(100) && options.churn <= options.duration,
          "a storm's churn interval is at least 100us and at most its duration (--churn)");
  Require(options.stuck_after > milliseconds(0), "the time after which a vCPU counts as stuck must not be zero");
  ParseFaultAround(options.fault_around);
  Require(options.region_size <= 1024_GiB, "a storm's region is at most 1T (--region-size)");
  Require(StormPlan::For(options, false).block_size <= 1_GiB,
          "this storm's write log would need more than 1G: take fewer vCPUs, fewer regions or a smaller region size");
}

}  // namespace faultline
