// One thing the program can be told to do.
//
// Made for one command line, used once: Describe, then Run. Files named for a subcommand hold it, and
// subcommands.cc lists them all.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "vmm/cli/option_list.h"

namespace faultline {

class Subcommand {
 public:
  virtual ~Subcommand() = default;

  virtual void Describe(OptionList& options) = 0;
  // Returns the exit status. Throws UsageError (status 2) or Error (status 1).
  virtual int Run() = 0;
};

struct SubcommandEntry {
  std::string_view group;  // "memory" for `memory plug`; empty for most
  std::string_view name;
  std::string_view summary;
  std::unique_ptr<Subcommand> (*make)();
};

// In the order of --help.
std::span<const SubcommandEntry> Subcommands();

std::unique_ptr<Subcommand> MakeRun();
std::unique_ptr<Subcommand> MakeList();
std::unique_ptr<Subcommand> MakeInfo();
std::unique_ptr<Subcommand> MakeTop();
std::unique_ptr<Subcommand> MakeMemoryPlug();
std::unique_ptr<Subcommand> MakeMemoryUnplug();
std::unique_ptr<Subcommand> MakeMemoryList();
std::unique_ptr<Subcommand> MakeMemoryResize();
std::unique_ptr<Subcommand> MakeMemoryBalloon();
std::unique_ptr<Subcommand> MakeMemoryTrim();
std::unique_ptr<Subcommand> MakeMemoryAuto();
std::unique_ptr<Subcommand> MakeMemoryOperations();
std::unique_ptr<Subcommand> MakeMemoryCancel();
std::unique_ptr<Subcommand> MakePause();
std::unique_ptr<Subcommand> MakeResume();
std::unique_ptr<Subcommand> MakeShutdown();
std::unique_ptr<Subcommand> MakeKill();
std::unique_ptr<Subcommand> MakeSave();
std::unique_ptr<Subcommand> MakeRestore();
std::unique_ptr<Subcommand> MakeXml();
std::unique_ptr<Subcommand> MakeEvents();
std::unique_ptr<Subcommand> MakeStorm();
std::unique_ptr<Subcommand> MakeVersion();

}  // namespace faultline
