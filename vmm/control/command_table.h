// Which QMP commands there are, and the one way to run one.
//
// Built once, read-only afterwards. A handler runs on the control thread and must not block for longer
// than it takes to stop the vCPUs; what takes longer answers at once and reports by an event.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string_view>

namespace faultline {

class VmControl;

// Returns the value of "return". Throws QmpError, or any other Error, whose sentence becomes "desc".
using CommandHandler = nlohmann::json (*)(const nlohmann::json& arguments, VmControl& vm);

struct Command {
  std::string_view name;
  CommandHandler handler;
};

// Sorted by name.
std::span<const Command> QmpCommands();

// Runs `name`; a QmpError of class CommandNotFound when there is none of that name.
nlohmann::json RunCommand(std::string_view name, const nlohmann::json& arguments, VmControl& vm);

}  // namespace faultline
