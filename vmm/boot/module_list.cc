#include "vmm/boot/module_list.h"

namespace faultline {

ModuleFiles::ModuleFiles(Host& host, const std::string& text) {
  size_t at = 0;
  while (at < text.size()) {
    const size_t end = std::min(text.find(',', at), text.size());
    // The kernel is given the path too, as the first word.
    const std::string module = text.substr(at, end - at);
    files_.emplace_back(host, "module", module.substr(0, module.find(' ')));
    modules_.push_back({files_.back(), module});
    at = end + 1;
  }
}

}  // namespace faultline
