// VMs with much to describe, for tests of `faultline xml`.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <fstream>
#include <optional>
#include <regex>
#include <string>

#include "tests/e2e/program.h"

namespace faultline::e2e {

class DescribedVm : public testing::Test {
 protected:
  void SetUp() override {
    if (!HasKvm()) GTEST_SKIP() << "/dev/kvm is not there or not for this user";
  }

  // The built-in guest with two devices plugged.
  void StartBuiltIn(const std::string& name) {
    vm_.emplace(place_, Words{"run", "--name", name, "--cpus", "2", "--memory",
                              "64M,max=1G,slots=4,backing=memfd,fault-around=64K", "--on-unplugged-access", "log",
                              "--on-reboot", "restart"});
    vm_->ReadUntil(kPrompt);
    ASSERT_EQ(place_.Run({"memory", "plug", name, "16M", "--slot", "3", "--backing", "anonymous"}).status, 0);
    ASSERT_EQ(place_.Run({"memory", "plug", name, "32M", "--id", "late"}).status, 0);
  }

  // A kernel, never run, with one of each device that needs nothing of the host.
  void StartKernel(const std::string& name) {
    WriteKernel(place_ / "kernel");
    std::ofstream(place_ / "disk.raw") << std::string(1 << 20, '\0');
    vm_.emplace(place_, Words{"run",          "--paused",
                              "--name",       name,
                              "--cpus",       "3",
                              "--memory",     "128M,max=2G,slots=8,auto=dry-run",
                              "--kernel",     place_ / "kernel",
                              "--append",     "quiet \"a b\" <c> & d",
                              "--irqchip",    "kernel",
                              "--disk",       place_ / "disk.raw" + ",readonly,serial=s1",
                              "--net",        "user,restricted",
                              "--rng",        "--virtio-console",
                              "--virtio-mem", "1G,requested=256M,id=grow,backing=memfd",
                              "--balloon",    "size=16M,reporting=off",
                              "--device",     "debug-exit",
                              "--console",    "socket:" + (place_ / "console")});
    vm_->ReadUntil("VM '" + name + "' is running; its console is ");
  }

  // As `faultline run --xml` makes it of `xml`.
  void StartFromXml(const std::string& name, const std::string& xml) {
    std::ofstream(place_ / "vm.xml") << xml;
    vm_.emplace(place_, Words{"run", "--xml", place_ / "vm.xml", "--name", name, "--paused"});
    vm_->ReadUntil("VM '" + name + "' is running; its console is ");
  }

  void End() {
    vm_->Signal(SIGTERM);
    EXPECT_EQ(vm_->Wait(), 0);
    vm_.reset();
  }

  std::string XmlOf(const std::string& name) const {
    const Answer answer = place_.Run({"xml", name});
    EXPECT_EQ(answer.status, 0) << answer.err;
    return answer.out;
  }

  static std::string WithoutName(const std::string& xml) {
    return std::regex_replace(xml, std::regex("<name>[^<]*</name>"), "");
  }

  Workplace place_;
  std::optional<Terminal> vm_;

 private:
  // A flat Multiboot image (Multiboot specification 0.6.96 §3.1) of a header and one instruction.
  static void WriteKernel(const std::string& path) {
    constexpr uint32_t kMagic = 0x1badb002;
    constexpr uint32_t kHasAddresses = 1U << 16;
    constexpr uint32_t kAddress = 1U << 20;
    constexpr uint32_t kEntry = kAddress + 8 * sizeof(uint32_t);
    constexpr uint32_t kHalt = 0xf4;
    const std::array<uint32_t, 9> image{kMagic, kHasAddresses, 0U - (kMagic + kHasAddresses), kAddress, kAddress, 0, 0,
                                        kEntry, kHalt};
    std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(image.data()), sizeof(image));
  }
};

}  // namespace faultline::e2e
