// The options of one subcommand, declared without knowing the library that parses them.
//
// Lives while one command line is parsed; not thread-safe. Values stay text: the subcommand converts them
// with quantity.h, so that every wrong one meets the same kind of sentence. What is bound must outlive the
// parsing.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace faultline {

class OptionList {
 public:
  virtual ~OptionList() = default;

  // `name` as in "--cpus"; `value_name` as in "N", shown in help. Given twice is an error.
  virtual void Option(const std::string& name, const std::string& value_name, std::optional<std::string>* value,
                      const std::string& help) = 0;
  // The same for one that may be given again and again.
  virtual void Repeated(const std::string& name, const std::string& value_name, std::vector<std::string>* values,
                        const std::string& help) = 0;
  virtual void Flag(const std::string& name, bool* value, const std::string& help) = 0;
  // Positional arguments, in the order declared. `name` as in "VM".
  virtual void Required(const std::string& name, std::string* value, const std::string& help) = 0;
  // What follows the options in --help: examples, units, exit status.
  virtual void Footer(const std::string& text) = 0;
};

}  // namespace faultline
