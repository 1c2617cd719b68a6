// Any command line is either a plan or refused with a sentence. One word a line.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "guestmem/error.h"
#include "vmm/qemu/plan.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<std::string> words{""};
  for (size_t i = 0; i < size; ++i) {
    if (data[i] == '\n') {
      words.emplace_back();
    } else {
      words.back() += static_cast<char>(data[i]);
    }
  }
  try {
    faultline::PlanFromCommandLine(words);
  } catch (const faultline::UsageError& e) {
    if (std::string(e.what()).empty()) std::abort();
  }
  return 0;
}
