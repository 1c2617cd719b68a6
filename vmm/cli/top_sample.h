// What `faultline top` knows of each running VM at one moment.
//
// Plain values. Taking them asks each VM in turn, on the caller's thread.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "guestmem/types.h"

namespace faultline {

struct VmSample {
  struct Map {
    std::string id;
    Gpa start;
    Bytes size;
    Bytes cell;
    std::vector<Bytes> plugged;  // of each stretch of `cell` bytes
    std::vector<Bytes> present;  // likewise
  };
  // Since an earlier sample of the same VM.
  struct Rates {
    double faults = 0;  // a second
    double pages = 0;
  };

  std::string name;
  pid_t pid = 0;
  std::string status;
  // All below only if it answered.
  bool answered = false;
  unsigned cpus = 0;
  std::chrono::milliseconds uptime{0};
  Bytes plugged;  // boot memory, DIMMs and virtio-mem
  Bytes present;  // faulted in
  Bytes charged;  // what the host charges the process
  uint64_t faults = 0;
  uint64_t pages = 0;  // that they brought
  std::chrono::nanoseconds p50{0};
  std::chrono::nanoseconds p99{0};
  std::vector<Map> maps;
  std::optional<Rates> rates;
};

// The running VMs, by name, their maps in at most `cells` stretches. Blocks for up to two seconds for each VM that
// does not answer.
std::vector<VmSample> SampleVms(size_t cells);

// Fills in the rates of those that were among `earlier` ones.
void AddRates(const std::vector<VmSample>& earlier, std::vector<VmSample>* samples);

// Sizes in bytes, times in ns, rates a second.
nlohmann::json ToJson(const VmSample& sample);

}  // namespace faultline
