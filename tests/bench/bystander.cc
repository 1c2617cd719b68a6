// Does unplugging a big populated region disturb faults in another? The latency of a guest's first touches in a
// bystander region, as the guest sees it, with nothing going on and while the big region is unplugged beside it.
//
// The bystander is touched at random by one vCPU in short runs; those that overlap an unplug make the second row.
// The big region has a memslot of its own, and is measured twice: populated with single pages, where giving them back
// takes longest, and as a sequential stream populates it, with huge pages where the host has them.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "guestmem/error.h"
#include "guestmem/guest_memory.h"
#include "tests/bench/bench_program.h"
#include "tests/bench/touching_guest.h"

namespace faultline::bench {
namespace {

constexpr Gpa kBigStart(TouchingGuest::kBeside);

// Maps both regions into the touching guest, whose vCPU only runs in the bystander.
class BystanderListener final : public RegionListener {
 public:
  explicit BystanderListener(TouchingGuest& guest) : guest_(guest) {}
  void OnPlug(const RegionView& region) override {
    void* memory = ToPointer(region.hva.start);
    if (region.name == "bystander") {
      guest_.Map(memory, region.hva.size.value);
    } else {
      guest_.MapBeside(memory, region.hva.size.value);
    }
  }
  void OnRevoke(const RegionView& /*region*/) noexcept override {}
  void OnUnmap(const RegionView& region) override {
    if (region.name == "bystander") {
      guest_.Unmap();
    } else {
      guest_.UnmapBeside();
    }
  }
  void OnRestore(RegionId /*old_id*/, const RegionView& /*region*/) noexcept override {}

 private:
  TouchingGuest& guest_;
};

struct Figures {
  uint64_t count = 0;
  double p50_us = 0, p99_us = 0, p999_us = 0, max_us = 0;
};

Figures Summarise(std::vector<uint64_t> ns) {
  std::sort(ns.begin(), ns.end());
  const auto at = [&ns](double q) {
    return ns.empty() ? 0.0
                      : static_cast<double>(ns[static_cast<size_t>(q * static_cast<double>(ns.size() - 1))]) / 1e3;
  };
  return {ns.size(), at(0.5), at(0.99), at(0.999), at(1.0)};
}

// Touches every page of the big region: in order, or backwards, which no window takes for a stream.
void Populate(GuestMemory& memory, Bytes size, bool stream) {
  const std::array<std::byte, 8> stamp{std::byte{0x5a}};
  const uint64_t pages = size / kPageSize;
  for (uint64_t i = 0; i < pages; ++i) {
    const uint64_t page = stream ? i : pages - 1 - i;
    if (memory.Write(kBigStart + kPageSize * page, stamp) != AccessResult::kOk) {
      throw Error("the big region cannot be populated; give a smaller --size");
    }
  }
}

nlohmann::json Measure(bool stream, uint64_t big_mib, unsigned unplugs) {
  constexpr uint64_t kPagesARun = 512;
  constexpr Bytes kBystanderSize = 64_MiB;
  TouchingGuest guest(1);
  BystanderListener listener(guest);
  GuestMemory memory(Host::System(), listener, {});

  std::vector<uint32_t> order(kBystanderSize / kPageSize);
  std::iota(order.begin(), order.end(), 0U);
  std::shuffle(order.begin(), order.end(), std::mt19937(1));
  RegionSpec bystander;
  bystander.name = "bystander";
  bystander.gpa = {Gpa(TouchingGuest::kWindow), kBystanderSize};
  RegionSpec big;
  big.name = "big";
  big.gpa = {kBigStart, Bytes(big_mib << 20)};

  std::vector<uint64_t> quiet, disturbed;
  std::vector<double> unplug_ms;
  RegionId bystander_id = memory.Plug(bystander);
  size_t next = 0;
  // One run of touches that all fault; a used-up bystander is replaced by a fresh one first.
  const auto run = [&](std::vector<uint64_t>& into) {
    if (next + kPagesARun > order.size()) {
      memory.Unplug(bystander_id);
      bystander_id = memory.Plug(bystander);
      next = 0;
    }
    guest.Touch(std::span(order).subspan(next, kPagesARun));
    next += kPagesARun;
    const auto latencies = guest.LastLatencies();
    into.insert(into.end(), latencies.begin(), latencies.end());
  };

  for (unsigned i = 0; i < unplugs; ++i) {
    const RegionId id = memory.Plug(big);
    Populate(memory, big.gpa.size, stream);
    for (unsigned k = 0; k < 8; ++k) run(quiet);
    // Fresh bystander, so that the runs beside the unplug need no control call of their own.
    next = order.size();
    run(quiet);
    std::atomic<bool> done{false};
    std::thread unplugger([&] {
      const auto begin = std::chrono::steady_clock::now();
      memory.Unplug(id);
      unplug_ms.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
      done.store(true);
    });
    while (!done.load() && next + kPagesARun <= order.size()) run(disturbed);
    unplugger.join();
  }
  memory.Unplug(bystander_id);

  const Figures before = Summarise(quiet), during = Summarise(disturbed);
  const Figures whole = Summarise([&] {
    std::vector<uint64_t> ns;
    for (const double ms : unplug_ms) ns.push_back(static_cast<uint64_t>(ms * 1e6));
    return ns;
  }());
  std::printf(
      "bystander faults, one vCPU at random, beside %u unplugs of %llu MiB populated with %s (median %.0f ms)\n\n",
      unplugs, static_cast<unsigned long long>(big_mib), stream ? "a sequential stream" : "single pages",
      whole.p50_us / 1e3);
  std::printf("  %-16s %8s %10s %10s %10s %10s\n", "", "faults", "p50 (us)", "p99", "p99.9", "max");
  auto json = nlohmann::json::object();
  for (const auto& [name, f] : {std::pair{"quiet", before}, std::pair{"during unplug", during}}) {
    std::printf("  %-16s %8llu %10.1f %10.1f %10.1f %10.1f\n", name, static_cast<unsigned long long>(f.count), f.p50_us,
                f.p99_us, f.p999_us, f.max_us);
    json[name] = {
        {"faults", f.count}, {"p50_us", f.p50_us}, {"p99_us", f.p99_us}, {"p999_us", f.p999_us}, {"max_us", f.max_us}};
  }
  if (before.p99_us > 0) std::printf("  p99 ratio: %.2f\n\n", during.p99_us / before.p99_us);
  json["unplug_ms"] = unplug_ms;
  return json;
}

int Main(int argc, char** argv) {
  CLI::App app{"Fault latency in one region while another is unplugged"};
  uint64_t big_mib = 4096;
  unsigned unplugs = 5;
  std::string json_path;
  app.add_option("--size", big_mib, "Size of the region that is unplugged, in MiB")
      ->check(CLI::Range(2, 65536))
      ->capture_default_str();
  app.add_option("--unplugs", unplugs, "How often")->check(CLI::Range(1, 1000))->capture_default_str();
  app.add_option("--json", json_path, "Write the figures to this file");
  CLI11_PARSE(app, argc, argv);

  nlohmann::json json;
  json["single_pages"] = Measure(/*stream=*/false, big_mib, unplugs);
  json["stream"] = Measure(/*stream=*/true, big_mib, unplugs);
  WriteFigures(json_path, json);
  return 0;
}

}  // namespace
}  // namespace faultline::bench

int main(int argc, char** argv) { return faultline::bench::RunProgram(faultline::bench::Main, argc, argv); }
