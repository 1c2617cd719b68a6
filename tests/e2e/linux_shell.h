// A Linux guest that does what it is told, line by line, and what is to be seen of its memory from both sides.
//
// The guest's init is that of tests/guest, in its shell. One VM, named "lx".
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "guestmem/types.h"
#include "tests/e2e/linux_guest.h"
#include "tests/e2e/program.h"

namespace faultline::e2e {

class LinuxShell : public testing::Test {
 protected:
  using Clock = std::chrono::steady_clock;

  // Boots with `memory` as --memory, to the shell. What is plugged is used at once, and for what can be moved.
  void Boot(const std::string& memory, const Words& more = {}) {
    place_.SetPatience(kSilence);
    Words words{"run",      "--linux",
                "--name",   "lx",
                "--memory", memory,
                "--initrd", PathFrom("guest-initrd test"),
                "--append", "memhp_default_state=online_movable -- shell poweroff"};
    words.insert(words.end(), more.begin(), more.end());
    vm_.emplace(place_, words);
    vm_->SetPatience(kSilence);
    AwaitShell();
  }
  void AwaitShell() {
    vm_->ReadUntil(kInitRuns);
    vm_->ReadUntil("shell: ready");
  }
  // Has the guest do `command` and returns what it printed.
  std::string Guest(const std::string& command) {
    vm_->Type(command + "\r");
    std::string text = vm_->ReadUntil("shell: ready");
    EXPECT_THAT(text, testing::HasSubstr("shell: done")) << command;
    return text;
  }
  // Of the guest, in bytes.
  uint64_t MemTotal() {
    const std::string text = Guest("memory");
    unsigned long kib = 0;
    const size_t at = text.find("MemTotal ");
    EXPECT_NE(at, std::string::npos) << text;
    if (at != std::string::npos) std::sscanf(text.c_str() + at, "MemTotal %lu", &kib);
    return uint64_t{kib} * 1024;
  }
  // What the kernel charges the VM's process for, in bytes.
  uint64_t Charge() const {
    std::ifstream rollup("/proc/" + std::to_string(vm_->pid()) + "/smaps_rollup");
    for (std::string line; std::getline(rollup, line);) {
      unsigned long kib = 0;
      if (std::sscanf(line.c_str(), "Rss: %lu kB", &kib) == 1) return uint64_t{kib} * 1024;
    }
    ADD_FAILURE() << "no Rss";
    return 0;
  }
  // As `memory list` shows it.
  nlohmann::json Device(const std::string& id) const {
    for (const nlohmann::json& device : place_.Json({"memory", "list", "lx"})) {
      if (device.at("id") == id) return device;
    }
    ADD_FAILURE() << "there is no device " << id;
    return nlohmann::json::object();
  }
  // Plugs, and waits until the guest says that it has taken the memory into use. It is dimm0.
  void Plug(const Words& what) {
    const auto start = Clock::now();
    Words words{"memory", "plug", "lx"};
    words.insert(words.end(), what.begin(), what.end());
    const Answer answer = place_.Run(words);
    ASSERT_EQ(answer.status, 0) << answer.err;
    while (!Device("dimm0").contains("guest")) {
      ASSERT_LT(Clock::now() - start, kSilence) << "the guest says nothing";
      usleep(300000);
    }
    EXPECT_TRUE(Device("dimm0").at("guest").at("accepted").get<bool>()) << Device("dimm0");
    Say("plugged and onlined", Clock::now() - start);
  }
  // Asks for dimm0; the command has to end with `status`.
  nlohmann::json Unplug(int status) {
    const Answer answer = place_.Run({"memory", "unplug", "lx", "dimm0", "--timeout", kGuestTime, "--json"});
    EXPECT_EQ(answer.status, status) << answer.err;
    nlohmann::json outcome = nlohmann::json::parse(answer.out);
    Say("asked: the guest answered", std::chrono::nanoseconds(outcome.at("guest-ns").get<int64_t>()));
    if (outcome.contains("ns")) {
      Say("given back to the host", std::chrono::nanoseconds(outcome.at("ns").at("total").get<int64_t>()));
    }
    return outcome;
  }
  static void Say(const std::string& what, Clock::duration time) {
    std::printf("%s after %.3f s\n", what.c_str(), std::chrono::duration<double>(time).count());
    std::fflush(stdout);
  }

  // For --timeout.
  static constexpr const char* kGuestTime = "600s";

  Workplace place_;
  std::optional<Terminal> vm_;
};

}  // namespace faultline::e2e
