// A fixture for QMP commands: run over a VM that only remembers.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "tests/vmm/control/fake_vm.h"
#include "vmm/control/command_table.h"

namespace faultline {

class CommandRunner : public testing::Test {
 protected:
  nlohmann::json Run(std::string_view name, const nlohmann::json& arguments = nlohmann::json::object()) {
    return RunCommand(name, arguments, vm_);
  }
  // What the command fails with; empty when it does not.
  std::string Error(std::string_view name, const nlohmann::json& arguments = nlohmann::json::object()) {
    try {
      Run(name, arguments);
    } catch (const std::exception& e) {
      return e.what();
    }
    return "";
  }
  FakeVm vm_;
};

}  // namespace faultline
