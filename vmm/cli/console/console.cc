#include "vmm/cli/console/console.h"

#include "guestmem/error.h"

namespace faultline {
namespace {

constexpr std::string_view kSocketPrefix = "socket:";

class NoConsole final : public Console {
 public:
  std::string description() const override { return "none"; }
  void Write(std::span<const std::byte> /*data*/) override {}
  void Start(Guest /*guest*/) override {}
  void Finish() override {}
};

}  // namespace

void Console::CheckSpec(std::string_view spec) {
  if (spec == "stdio" || spec == "pty" || spec == "none") return;
  if (!spec.starts_with(kSocketPrefix)) {
    throw UsageError("--console: '" + std::string(spec) + "' is unknown; choose stdio, pty, socket:PATH or none");
  }
  if (spec.size() == kSocketPrefix.size())
    throw UsageError("--console: socket: needs a path, as in socket:/tmp/vm1.con");
}

std::unique_ptr<Console> Console::Create(EventLoop& loop, std::string_view spec, std::string vm_name) {
  CheckSpec(spec);
  if (spec == "stdio") return MakeStdioConsole(loop, std::move(vm_name));
  if (spec == "pty") return MakePtyConsole(loop);
  if (spec == "none") return std::make_unique<NoConsole>();
  return MakeSocketConsole(loop, std::string(spec.substr(kSocketPrefix.size())));
}

}  // namespace faultline
