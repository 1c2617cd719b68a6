// `faultline storm`: its options; the rest is in vmm/storm.
#include "vmm/storm/storm.h"

#include <limits>

#include "guestmem/error.h"
#include "vmm/cli/quantity.h"
#include "vmm/cli/subcommand.h"

namespace faultline {
namespace {

class Storm final : public Subcommand {
 public:
  void Describe(OptionList& options) override {
    options.Option("--engine", "NAME", &engine_,
                   "kvm (default), or threads: host threads stand in for vCPUs, without /dev/kvm");
    options.Option("--vcpus", "N", &vcpus_, "vCPUs that touch memory; 4 by default");
    options.Option("--regions", "N", &regions_, "Regions that come and go; 8 by default");
    options.Option("--region-size", "SIZE", &region_size_, "Size of each, a multiple of 2M; 64M by default");
    options.Option("--duration", "TIME", &duration_, "How long; 10s by default");
    options.Option("--churn", "TIME", &churn_, "From one unplug to the next; 20ms by default");
    options.Option("--pattern", "NAME", &pattern_, "random (default), sequential, hot or same-leaf");
    options.Option("--unplug", "KIND", &unplug_, "forced (default), cooperative or mixed");
    options.Option("--source", "KIND", &source_, "Where pages come from: zero (default), file:PATH or delay:TIME");
    options.Option("--fault-around", "SIZE", &fault_around_,
                   "auto (default), or how much one fault brings in, 4K to 2M");
    options.Option("--seed", "N", &seed_, "Same seed, same choices; random by default");
    options.Option("--report", "FILE", &report_, "Write a self-contained HTML report");
    options.Option("--json", "FILE", &json_, "Write the results as JSON; - is standard output");
    options.Footer(
        "vCPUs write and verify stamps all over memory that is unplugged and plugged again under them.\n"
        "Exit status: 0 if nothing was violated, 1 if anything was, 2 for wrong options.\n\n"
        "Examples:\n  faultline storm --duration 30s --churn 20ms --report storm.html\n"
        "  faultline storm --engine threads --pattern same-leaf --unplug mixed --json -");
  }

  int Run() override {
    StormCommand command;
    StormOptions& o = command.options;
    const auto count = [](const char* what, const std::string& text, uint64_t most) {
      return static_cast<unsigned>(ParseCount(what, text, 1, most));
    };
    if (engine_) o.engine = ParseStormEngine(*engine_);
    if (vcpus_) o.vcpus = count("--vcpus", *vcpus_, 256);
    if (regions_) o.regions = count("--regions", *regions_, 1024);
    if (region_size_) o.region_size = ParseAlignedSize("--region-size", *region_size_, kLeafSpan);
    if (duration_) o.duration = ParseDuration("--duration", *duration_);
    if (churn_) o.churn = ParseDuration("--churn", *churn_);
    if (pattern_) o.pattern = ParseStormPattern(*pattern_);
    if (unplug_) o.unplug = ParseStormUnplug(*unplug_);
    if (source_) o.source = *source_;
    if (fault_around_) o.fault_around = *fault_around_;
    if (seed_) o.seed = ParseCount("--seed", *seed_, 0, std::numeric_limits<uint64_t>::max());
    command.report_path = report_.value_or("");
    command.json_path = json_.value_or("");
    if (report_ && report_->empty()) throw UsageError("--report: the file needs a name");
    if (json_ && json_->empty()) throw UsageError("--json: the file needs a name; - is standard output");
    return RunStormCommand(Host::System(), command);
  }

 private:
  std::optional<std::string> engine_, vcpus_, regions_, region_size_, duration_, churn_, pattern_, unplug_, source_,
      fault_around_, seed_, report_, json_;
};

}  // namespace

std::unique_ptr<Subcommand> MakeStorm() { return std::make_unique<Storm>(); }

}  // namespace faultline
