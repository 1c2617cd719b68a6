// `faultline xml` and `faultline run --xml`: a VM written down, and another made of it.
#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/e2e/domain_xml_vm.h"

namespace faultline::e2e {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class DomainXml : public DescribedVm {};

TEST_F(DomainXml, OfTheBuiltInGuestMakesAnotherWithTheSameMemory) {
  StartBuiltIn("a");
  const std::string xml = XmlOf("a");
  std::ofstream(place_ / "a.xml") << xml;
  Terminal second(place_, {"run", "--xml", place_ / "a.xml", "--name", "b"});
  second.ReadUntil(kPrompt);
  EXPECT_THAT(second.Command("mem"), HasSubstr("dimm3 0x100000000+16M online"));
  EXPECT_EQ(WithoutName(XmlOf("b")), WithoutName(xml));
  std::map<std::string, int> slots;
  for (const json& device : place_.Json({"memory", "list", "b"})) slots[device.at("id")] = device.at("slot");
  EXPECT_EQ(slots, (std::map<std::string, int>{{"dimm3", 3}, {"late", 0}}));
  EXPECT_EQ(place_.Run({"memory", "unplug", "b", "late"}).status, 0) << "it is as pluggable as there";
  EXPECT_THAT(XmlOf("b"), Not(HasSubstr("late"))) << "what is plugged now";
}

TEST_F(DomainXml, OfAKernelMakesAnotherWithTheSameDevices) {
  StartKernel("k");
  const std::string xml = XmlOf("k");
  EXPECT_THAT(xml, HasSubstr("<cmdline>quiet \"a b\" &lt;c&gt; &amp; d</cmdline>"));
  End();
  StartFromXml("copy", xml);
  EXPECT_EQ(WithoutName(XmlOf("copy")), WithoutName(xml));
  End();
}

TEST_F(DomainXml, IsFollowedInNameConsoleAndPausedUnlessOptionsSayOtherwise) {
  std::ofstream(place_ / "vm.xml") << "<domain type='kvm'><name>named</name><memory unit='MiB'>64</memory>"
                                      "<devices><serial type='pty'/></devices></domain>";
  Terminal as_is(place_, {"run", "--xml", place_ / "vm.xml"});
  as_is.ReadUntil("VM 'named' is running; its console is pty:");
  Terminal other(place_, {"run", "--xml", place_ / "vm.xml", "--name", "other", "--console", "stdio"});
  other.ReadUntil(kPrompt);
  EXPECT_EQ(place_.Json({"info", "other"}).at("console"), "stdio");
}

TEST_F(DomainXml, WithAnElementThatNeedsMoreThanThereIsLeavesNothingBehind) {
  std::ofstream(place_ / "vm.xml") << "<domain type='kvm'><name>x</name><memory unit='MiB'>64</memory><devices>"
                                      "<memory model='dimm'><target><size unit='MiB'>16</size></target></memory>"
                                      "</devices></domain>";
  const Answer answer = place_.Run({"run", "--xml", place_ / "vm.xml"});
  EXPECT_EQ(answer.status, 2);
  EXPECT_THAT(answer.err, HasSubstr("no room to plug memory into"));
  EXPECT_EQ(std::ranges::count(answer.err, '\n'), 1) << answer.err;
  EXPECT_EQ(place_.Json({"list"}), json::array());
}

TEST(BadDomainXml, IsMetByOneSentence) {
  const Workplace place;
  const auto file = [&place](const std::string& xml) {
    std::ofstream(place / "bad.xml") << xml;
    return place / "bad.xml";
  };
  const auto expect = [&place](const Words& words, int status, const std::string& part) {
    const Answer answer = place.Run(words);
    EXPECT_EQ(answer.status, status) << answer.err;
    EXPECT_THAT(answer.err, HasSubstr(part));
    EXPECT_EQ(std::ranges::count(answer.err, '\n'), 1) << answer.err;
    EXPECT_LT(answer.err.size(), 400U) << answer.err;
  };
  const std::string memory = "<domain type='kvm'><memory unit='MiB'>64</memory>";
  expect({"run", "--xml", place / "none"}, 1, "none cannot be read");
  expect({"run", "--xml", place.runtime_directory()}, 1, "cannot be read");
  expect({"run", "--xml", "/dev/zero"}, 2, "more than 1048576 bytes");
  expect({"run", "--xml", "/dev/null"}, 2, "no XML");
  expect({"run", "--xml", file("<domain")}, 2, "bad.xml: the domain is no XML");
  expect({"run", "--xml", file("<domain type='kvm'/>")}, 2, "<memory> is missing");
  expect({"run", "--xml", file(memory + "<devices><graphics type='vnc'/></devices></domain>")}, 2,
         "<domain><devices><graphics>: this element is not supported; remove it");
  expect({"run", "--xml", file(memory + "<name>a b</name></domain>")}, 2, "'a b' is not a name");
  expect({"run", "--xml", file(memory + "<\x1b[31m" + std::string(5000, 'x') + "/></domain>")}, 2, "bad.xml");
  const std::string good = file(memory + "</domain>");
  for (const Words& option : {Words{"--cpus", "2"}, Words{"--memory", "1G"}, Words{"--kernel", "/k"}, Words{"--linux"},
                              Words{"--rng"}, Words{"--on-reboot", "exit"}}) {
    Words words{"run", "--xml", good};
    words.insert(words.end(), option.begin(), option.end());
    expect(words, 2, "leave out " + option.front());
  }
  expect({"xml", "nobody"}, 2, "nobody");
}

}  // namespace
}  // namespace faultline::e2e
