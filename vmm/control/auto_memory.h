// Resizes a VM's memory by itself: looks at host and guest now and then, asks the policy, and does what it says.
//
// The lever is the first virtio-mem device, or else the balloon; the guest's figures come from the balloon's
// statistics, so without a balloon there is nothing to go by. Used on the control thread alone; blocks no longer than
// the operations of VmControl that it uses.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "vmm/control/memory_policy.h"
#include "vmm/machine/config.h"

namespace faultline {

class VmControl;

class AutoMemory {
 public:
  using PressureSource = std::function<std::optional<double>()>;

  // How often Tick wants to be called.
  static constexpr std::chrono::seconds kPeriod{2};
  // Figures older than this are not acted on.
  static constexpr std::chrono::seconds kFresh{15};

  explicit AutoMemory(PressureSource pressure) : pressure_(std::move(pressure)) {}

  // Throws UsageError if the VM has nothing to resize or no statistics to go by; the mode stays as it was then.
  void SetMode(AutoMemoryMode mode, VmControl& vm);
  AutoMemoryMode mode() const { return mode_; }

  // Looks, decides and, unless it is a dry run, acts. Nothing while off. A request that the VM refuses is told in the
  // report, and tried again.
  void Tick(VmControl& vm, MemoryPolicy::Clock::time_point now);

  // What the last look saw and decided; sizes in bytes.
  nlohmann::json Report() const;

 private:
  struct Look {
    MemorySample sample;
    MemoryDecision decision;
    bool acted = false;
    std::string failure;  // why the VM refused; empty if it did not
  };

  PressureSource pressure_;
  AutoMemoryMode mode_ = AutoMemoryMode::kOff;
  MemoryPolicy policy_;
  std::optional<Look> last_;
  std::string waiting_for_ = "the first look";  // while there is no sample
  uint64_t changes_ = 0;
};

}  // namespace faultline
