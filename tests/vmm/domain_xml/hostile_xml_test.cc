// Text that is no domain, or one made to break what reads it, is refused with a sentence and takes no time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "guestmem/error.h"
#include "vmm/domain_xml/document.h"
#include "vmm/domain_xml/domain.h"

namespace faultline {
namespace {

using testing::HasSubstr;

constexpr char kHead[] = "<domain type='kvm'><memory unit='MiB'>64</memory>";
constexpr char kTail[] = "</domain>";

std::string RefusalOf(const std::string& xml) {
  try {
    ReadDomain(xml);
  } catch (const UsageError& e) {
    return e.what();
  }
  return "none";
}

std::string Repeated(const std::string& text, size_t times) {
  std::string all;
  for (size_t i = 0; i < times; ++i) all += text;
  return all;
}

TEST(HostileXml, IsTakenWhenItIsPlain) { EXPECT_EQ(RefusalOf(std::string(kHead) + kTail), "none"); }

TEST(HostileXml, IsRefusedWhenItIsTooLong) {
  const std::string xml = std::string(kHead) + kTail;
  EXPECT_EQ(RefusalOf(xml + std::string(kMostXmlBytes - xml.size(), ' ')), "none");
  EXPECT_THAT(RefusalOf(xml + std::string(kMostXmlBytes - xml.size() + 1, ' ')), HasSubstr("1048576 bytes"));
}

TEST(HostileXml, IsRefusedWhenItIsTooDeep) {
  const auto nested = [](size_t depth) {
    return kHead + ("<metadata>" + Repeated("<a>", depth) + Repeated("</a>", depth) + "</metadata>") + kTail;
  };
  EXPECT_EQ(RefusalOf(nested(kMostXmlDepth - 2)), "none");
  EXPECT_THAT(RefusalOf(nested(kMostXmlDepth - 1)), HasSubstr("more than 32 deep"));
  EXPECT_THAT(RefusalOf(nested(140000)), HasSubstr("more than 32 deep"));
  EXPECT_THAT(RefusalOf(Repeated("<domain>", 120000)), HasSubstr("no XML"));
}

TEST(HostileXml, DeclaresNoEntities) {
  EXPECT_THAT(RefusalOf("<!DOCTYPE domain [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>" + std::string(kHead) +
                        "<name>&x;</name>" + kTail),
              HasSubstr("DOCTYPE"));
  EXPECT_THAT(RefusalOf("<!DOCTYPE domain>" + std::string(kHead) + kTail), HasSubstr("DOCTYPE"));
  EXPECT_EQ(ReadDomain(std::string(kHead) + "<name>&x;&amp;&#65;</name>" + kTail).machine.name, "&x;&A");
}

TEST(HostileXml, WithManyElementsOfOneNameIsReadAtOnce) {
  // In pairs, so that looking for each from the beginning would be millions of millions of steps.
  const std::string many = Repeated("<uuid/>", 70000) + Repeated("<title/>", 60000);
  EXPECT_EQ(RefusalOf(kHead + many + kTail), "none");
  EXPECT_THAT(RefusalOf(kHead + Repeated("<name/>", 140000) + kTail), HasSubstr("one at most"));
  EXPECT_THAT(RefusalOf(kHead + ("<devices>" + Repeated("<disk/>", 140000)) + "</devices>" + kTail),
              HasSubstr("<source> is missing"));
}

TEST(HostileXml, IsOneDomainInUtf8) {
  EXPECT_THAT(RefusalOf(std::string(kHead) + kTail + '\0' + "<more/>"), HasSubstr("no XML"));
  EXPECT_THAT(RefusalOf(std::string("\xff\xfe<\0d\0", 6)), HasSubstr("no XML"));
  EXPECT_THAT(RefusalOf(std::string(kHead) + kTail + kHead + kTail), HasSubstr("one domain"));
  EXPECT_THAT(RefusalOf(""), HasSubstr("no XML"));
  EXPECT_THAT(RefusalOf("<domain type='kvm'>"), HasSubstr("no XML"));
}

TEST(HostileXml, HidesNothingBetweenComments) {
  EXPECT_EQ(ReadDomain(std::string(kHead) + "<name>a<!-- x -->b<![CDATA[c]]></name>" + kTail).machine.name, "abc");
  EXPECT_THAT(RefusalOf(std::string(kHead) + "text" + kTail), HasSubstr("text does not belong here"));
  EXPECT_THAT(RefusalOf(std::string(kHead) + "<![CDATA[text]]>" + kTail), HasSubstr("text does not belong here"));
  EXPECT_THAT(RefusalOf("<domain type='kvm' type='qemu'><memory unit='MiB'>64</memory></domain>"),
              HasSubstr("'type' is not supported"));
}

TEST(HostileXml, HasNoSizesThatWrapAround) {
  const std::string dimm = "<memory model='dimm'><target><size unit='TiB'>32</size></target></memory>";
  EXPECT_THAT(RefusalOf(kHead + ("<devices>" + Repeated(dimm, 9000)) + "</devices>" + kTail),
              HasSubstr("less than the <memory> devices have together"));
  EXPECT_THAT(RefusalOf("<domain type='kvm'><memory unit='TiB'>33</memory></domain>"), HasSubstr("32 is the most"));
}

}  // namespace
}  // namespace faultline
