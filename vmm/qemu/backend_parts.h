// The host's side of a command line: -object and -chardev, each with an id by which something
// else asks for it, once.
//
// Not thread-safe. All members throw UsageError.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "vmm/qemu/command_line.h"
#include "vmm/qemu/plan.h"

namespace faultline {

// What "socket" takes after its id: path= or fd=, server=on, wait=off.
CharacterPlan SocketPlan(OptionValues* values, std::string id);

class BackendParts {
 public:
  explicit BackendParts(QemuCommandLine* line);

  // The backend with that id is boot memory. Twice for the same one is once.
  void UseForBoot(const std::string& id);
  // Backing and size of boot memory as the backend says, when there is one.
  void TakeBootMemory(MemoryConfig* memory);

  // `who` asks for them, for messages.
  CharacterPlan TakeChardev(const std::string& who, const std::string& id);
  BackendPlan TakeMemory(const std::string& who, const std::string& id);
  void TakeRng(const std::string& who, const std::string& id);

  // Refuses what nobody asked for.
  void Finish() const;

 private:
  void AddObject(OptionValues* values);
  void AddChardev(OptionValues* values);

  const std::map<uint64_t, int> fd_sets_;
  std::map<std::string, CharacterPlan> chardevs_;
  std::map<std::string, BackendPlan> memory_;
  std::map<std::string, std::string> rngs_;
  std::optional<std::string> boot_backend_;
};

}  // namespace faultline
