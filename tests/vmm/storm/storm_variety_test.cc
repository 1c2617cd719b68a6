// What holds for a storm whichever engine runs it.
#include <unistd.h>

#include "tests/vmm/storm/short_storm.h"

namespace faultline {
namespace {

std::string NameOf(std::string_view text) {
  std::string name(text);
  std::erase(name, '-');
  return name;
}

void SkipWithout(StormEngineKind engine) {
  if (engine == StormEngineKind::kKvm && access("/dev/kvm", R_OK | W_OK) != 0) {
    GTEST_SKIP() << "needs /dev/kvm, which is absent or forbidden here";
  }
}

class EachEngine : public testing::TestWithParam<StormEngineKind> {
 protected:
  void SetUp() override { SkipWithout(GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(Storm, EachEngine, testing::Values(StormEngineKind::kKvm, StormEngineKind::kThreads),
                         [](const auto& test) { return NameOf(ToString(test.param)); });

class EachPattern : public testing::TestWithParam<std::tuple<StormEngineKind, StormPattern>> {
 protected:
  void SetUp() override { SkipWithout(std::get<0>(GetParam())); }
};
INSTANTIATE_TEST_SUITE_P(Storm, EachPattern,
                         testing::Combine(testing::Values(StormEngineKind::kKvm, StormEngineKind::kThreads),
                                          testing::Values(StormPattern::kRandom, StormPattern::kSequential,
                                                          StormPattern::kHot, StormPattern::kSameLeaf)),
                         [](const auto& test) {
                           return NameOf(ToString(std::get<0>(test.param))) + NameOf(ToString(std::get<1>(test.param)));
                         });

TEST_P(EachPattern, EndsWithoutViolations) {
  StormOptions options = ShortStorm(std::get<0>(GetParam()));
  options.pattern = std::get<1>(GetParam());
  ExpectCleanStorm(options);
}

TEST_P(EachEngine, WithCooperativeUnplugsEndsWithoutViolations) {
  StormOptions options = ShortStorm(GetParam());
  options.unplug = StormUnplug::kCooperative;
  ExpectCleanStorm(options);
}

TEST_P(EachEngine, WithMixedUnplugsEndsWithoutViolations) {
  StormOptions options = ShortStorm(GetParam());
  options.unplug = StormUnplug::kMixed;
  ExpectCleanStorm(options);
}

}  // namespace
}  // namespace faultline
