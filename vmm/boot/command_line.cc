#include "vmm/boot/command_line.h"

#include <algorithm>
#include <set>

#include "vmm/boot/boot.h"

namespace faultline {
namespace {

std::string ParameterName(std::string_view word) {
  std::string name(word.substr(0, word.find('=')));
  std::ranges::replace(name, '-', '_');
  return name;
}

// Words end at spaces outside of double quotes; those behind "--" are not the kernel's.
std::set<std::string> ParametersIn(std::string_view text) {
  std::set<std::string> names;
  std::string word;
  bool quoted = false;
  const auto finish = [&] {
    const bool last = word == "--";
    if (!word.empty()) names.insert(ParameterName(word));
    word.clear();
    return last;
  };
  for (const char c : text) {
    if (c == '"') quoted = !quoted;
    const bool space = c == ' ' || c == '\t' || c == '\n';
    if (!space || quoted) {
      word += c;
    } else if (finish()) {
      return names;
    }
  }
  finish();
  return names;
}

}  // namespace

std::string CompleteCommandLine(std::string_view text, std::span<const std::string> defaults) {
  const std::set<std::string> given = ParametersIn(text);
  std::string line;
  const auto append = [&line](std::string_view part) {
    if (!line.empty() && !part.empty()) line += ' ';
    line += part;
  };
  for (const std::string& word : defaults) {
    if (!given.contains(ParameterName(word))) append(word);
  }
  append(text);
  return line;
}

std::vector<std::string> DefaultCommandLine(bool software_kvm, unsigned tsc_khz) {
  std::vector<std::string> words = {"console=ttyS0", "panic=-1", "reboot=k"};
  if (tsc_khz != 0) words.push_back("tsc_early_khz=" + std::to_string(tsc_khz));
  if (software_kvm) {
    // Work that an interpreter makes long: patching the kernel's own code, clearing 2 MiB for a few pages of per-CPU
    // data, splitting the kernel's large pages to write-protect some, clearing 64 MiB of bounce buffers, which room for
    // more memory asks for and no device of ours uses, and copying and clearing by `rep movsb` and `rep stosb`, byte by
    // byte.
    words.insert(words.end(), {"clearcpuid=erms,fsrm", "mitigations=off", "swiotlb=noforce", "noreplace-smp",
                               "percpu_alloc=page", "rodata=off",
                               // For the programs of tests/guest (tests/guest/start.S); a kernel hands it to init.
                               "syscalls=sysenter"});
  }
  return words;
}

}  // namespace faultline
