#include "vmm/cli/console/escape_filter.h"

namespace faultline {
namespace {

constexpr char kCtrlA = 1;

}  // namespace

EscapeFilter::Result EscapeFilter::Feed(std::span<const char> typed) {
  Result result;
  for (const char c : typed) {
    if (!escaped_) {
      if (c == kCtrlA) {
        escaped_ = true;
      } else {
        result.to_guest += c;
      }
      continue;
    }
    escaped_ = false;
    if (c == kCtrlA || c == 'a') result.to_guest += kCtrlA;
    if (c == 'h' || c == '?') result.help = true;
    if (c == 'x') {
      result.quit = true;
      return result;
    }
  }
  return result;
}

}  // namespace faultline
