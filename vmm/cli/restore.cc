// `faultline restore`: a saved VM goes on.
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <utility>

#include "guestmem/error.h"
#include "vmm/cli/console/console.h"
#include "vmm/cli/log.h"
#include "vmm/cli/run_options.h"
#include "vmm/cli/subcommand.h"
#include "vmm/cli/vm_process.h"
#include "vmm/control/vm_lease.h"
#include "vmm/machine/saved_state.h"
#include "vmm/snapshot/stream.h"

namespace faultline {
namespace {

using nlohmann::json;

FileDescriptor OpenSaved(const std::string& path) {
  const int fd = Host::System().Open(path.c_str(), O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) throw Error(path + " cannot be opened (" + ErrnoText(-fd) + "): give a file that `faultline save` wrote");
  return FileDescriptor(Host::System(), fd);
}

class Restore final : public Subcommand {
 public:
  void Describe(OptionList& options) override {
    options.Required("FILE", &file_, "What `faultline save` wrote; it stays as it is");
    options.Option("--name", "NAME", &name_, "What other commands call the VM; the saved VM's name by default");
    options.Option("--console", "WHERE", &console_, "The guest's console: stdio (default), pty, socket:PATH or none");
    options.Flag("--paused", &paused_, "Do not let the vCPUs go on until `faultline resume`");
    options.Option("--log-level", "LEVEL", &log_level_,
                   "debug, info, warning (default), error or off; to standard error");
    options.Footer(
        "The VM runs in the foreground, as with `faultline run`, with the memory, plugged devices and vCPUs it had.\n"
        "Exit status as of `faultline run`, or 1 when the file cannot be read or is damaged.\n\n"
        "Examples:\n  faultline restore vm1.saved\n  faultline restore vm1.saved --name copy --console pty");
  }

  int Run() override {
    RunOptions options;
    if (console_) options.console = *console_;
    Console::CheckSpec(options.console);
    if (log_level_) options.log_level = ParseLogLevel(*log_level_);
    SetLogLevel(options.log_level);
    if (name_) {
      CheckVmName(*name_);
      options.machine.name = *name_;
    }
    options.machine.start_paused = paused_;
    FileDescriptor saved = OpenSaved(file_);
    options.machine = SavedMachine(saved.get(), options.machine);
    VmProcess vm(options, std::move(saved));
    return RunAndReport(vm);
  }

 private:
  // What machine the file was made of; it stands at its beginning again afterwards.
  MachineConfig SavedMachine(int fd, const MachineConfig& otherwise) const {
    if (lseek(fd, 0, SEEK_SET) != 0) throw UsageError(file_ + " cannot be read twice: restore from a plain file");
    const std::atomic<bool> never_cancelled{false};
    SnapshotReader reader(Host::System(), fd, never_cancelled);
    const json state = reader.ReadState();
    lseek(fd, 0, SEEK_SET);
    try {
      MachineConfig config = MachineConfigFrom(state.at("config"), otherwise);
      CheckVmName(config.name);
      Validate(config);
      config.incoming = true;
      return config;
    } catch (const json::exception& e) {
      throw Error(file_ + " does not say what machine was saved (" + e.what() + "): restore from another copy");
    } catch (const UsageError& e) {
      throw Error(file_ + " holds a machine that cannot be: " + e.what());
    }
  }

  std::string file_;
  std::optional<std::string> name_, console_, log_level_;
  bool paused_ = false;
};

}  // namespace

std::unique_ptr<Subcommand> MakeRestore() { return std::make_unique<Restore>(); }

}  // namespace faultline
