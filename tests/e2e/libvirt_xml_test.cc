// What `faultline xml` prints is a domain to libvirt: its own schema says so, and libvirtd starts it.
#include <gmock/gmock.h>
#include <sys/wait.h>

#include <cstdlib>
#include <sstream>
#include <utility>

#include "tests/e2e/domain_xml_vm.h"
#include "tests/e2e/libvirt_host.h"

namespace faultline::e2e {
namespace {

class LibvirtsSchema : public DescribedVm {
 protected:
  void SetUp() override {
    DescribedVm::SetUp();
    if (std::system("command -v virt-xml-validate xmllint >/dev/null") != 0) {
      GTEST_SKIP() << "virt-xml-validate and xmllint are not there: scripts/install-deps libvirt";
    }
  }
  // What virt-xml-validate says of `xml`, and its exit status.
  std::pair<std::string, int> Verdict(const std::string& xml) const {
    std::ofstream(place_ / "domain.xml") << xml;
    const std::string command =
        "virt-xml-validate '" + (place_ / "domain.xml") + "' domain >'" + (place_ / "verdict") + "' 2>&1";
    const int status = std::system(command.c_str());
    std::stringstream text;
    text << std::ifstream(place_ / "verdict").rdbuf();
    return {text.str(), WIFEXITED(status) ? WEXITSTATUS(status) : -1};
  }
  void ExpectValid(const std::string& xml) const {
    const auto [text, status] = Verdict(xml);
    EXPECT_EQ(status, 0) << text << xml;
  }
};

TEST_F(LibvirtsSchema, TakesTheBuiltInGuest) {
  StartBuiltIn("a");
  ExpectValid(XmlOf("a"));
}

TEST_F(LibvirtsSchema, TakesAKernelWithItsDevices) {
  StartKernel("k");
  ExpectValid(XmlOf("k"));
}

TEST_F(LibvirtsSchema, IsOneThatRefuses) {
  EXPECT_NE(Verdict("<domain type='kvm'><name>x</name><nonsense/></domain>").second, 0);
}

TEST_F(DescribedVm, IsStartedByLibvirtWithTheSameMemory) {
  if (const auto why = WhyNoLibvirt()) GTEST_SKIP() << *why;
  vm_.emplace(place_, Words{"run", "--paused", "--name", "a", "--memory", "64M,max=1G,slots=4", "--console", "pty"});
  vm_->ReadUntil("its console is pty:");
  ASSERT_EQ(place_.Run({"memory", "plug", "a", "128M", "--slot", "2", "--id", "late"}).status, 0);
  const std::string xml = XmlOf("a");
  End();
  const LibvirtHost host;
  host.Ask({"define", host.File("a.xml", xml)});
  host.Ask({"start", "a"});
  const std::string running = host.Ask({"dumpxml", "a"});
  EXPECT_THAT(running, testing::HasSubstr("<size unit='KiB'>131072</size>"));
  EXPECT_THAT(running, testing::HasSubstr("<address type='dimm' slot='2' base='0x100000000'/>"));
}

}  // namespace
}  // namespace faultline::e2e
