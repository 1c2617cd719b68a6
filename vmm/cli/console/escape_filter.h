// Finds the escape sequences that a person types at the console among the bytes meant for the guest.
//
// Owned by the stdio console; not thread-safe. Ctrl-A begins a sequence: x ends the VM, h shows help, a
// second Ctrl-A (or a) sends one Ctrl-A to the guest; anything else is dropped with it.
#pragma once

#include <span>
#include <string>

namespace faultline {

class EscapeFilter {
 public:
  struct Result {
    std::string to_guest;
    bool quit = false;
    bool help = false;
  };

  // What follows a quit in `typed` is dropped.
  Result Feed(std::span<const char> typed);

 private:
  bool escaped_ = false;
};

}  // namespace faultline
