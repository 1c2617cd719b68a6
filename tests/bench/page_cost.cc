// What a page costs when a KVM guest first touches it, by who brings it in: the kernel alone, a one-page userfault
// handler, and Faultline's guest memory; in order and at random, with one vCPU and with four, all in one run.
//
// Each round runs every case once, so a drift of the host falls on all of them; a case's figure is the median of its
// rounds. `page_cost --help` has the options.
#include <sys/mman.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "guestmem/guest_memory.h"
#include "tests/bench/bench_program.h"
#include "tests/bench/one_page_handler.h"
#include "tests/bench/touching_guest.h"

namespace faultline::bench {
namespace {

constexpr uint64_t kPage = kPageSize.value;

enum class Filler { kPopulated, kKernel, kKernelHuge, kOnePage, kFaultline };

struct Case {
  std::string group;  // cases of one group are printed together
  std::string name;
  Filler filler = Filler::kKernel;
  unsigned vcpus = 1;
  bool random = false;
  int vcpu_cpu = -1;     // host CPU of all vCPUs, -1 floats
  int handler_cpu = -1;  // kOnePage
  GuestMemoryOptions options;
  std::vector<double> ns_per_page = {};
};

// Anonymous memory for one run, on a huge page's boundary.
class Window {
 public:
  enum class Pages { kSmall, kHuge, kSmallAndThere };

  Window(uint64_t size, Pages pages) : mapped_size_(size + kLeafSpan.value) {
    mapped_ = mmap(nullptr, mapped_size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    void* window = mapped_;
    size_t space = mapped_size_;
    if (mapped_ == MAP_FAILED || std::align(kLeafSpan.value, size, window, space) == nullptr ||
        madvise(window, size, pages == Pages::kHuge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) != 0) {
      std::perror("mapping the window");
      std::exit(1);
    }
    memory_ = static_cast<std::byte*>(window);
    for (uint64_t at = 0; pages == Pages::kSmallAndThere && at < size; at += kPage) memory_[at] = std::byte{1};
  }
  ~Window() { munmap(mapped_, mapped_size_); }
  Window(const Window&) = delete;
  Window& operator=(const Window&) = delete;
  std::byte* memory() const { return memory_; }

 private:
  void* mapped_;
  size_t mapped_size_;
  std::byte* memory_;
};

// Gives each region of guest memory its place in the touching guest.
class WindowListener final : public RegionListener {
 public:
  explicit WindowListener(TouchingGuest& guest) : guest_(guest) {}
  void OnPlug(const RegionView& region) override { guest_.Map(ToPointer(region.hva.start), region.hva.size.value); }
  void OnRevoke(const RegionView& /*region*/) noexcept override {}
  void OnUnmap(const RegionView& /*region*/) override { guest_.Unmap(); }
  void OnRestore(RegionId /*old_id*/, const RegionView& /*region*/) noexcept override {}

 private:
  TouchingGuest& guest_;
};

// On a machine that is itself a VM, free memory may not be backed by the outer host: whoever gets it first pays for
// that. So before each run as much memory as it needs has just been used.
void WarmHostMemory(uint64_t size) {
  const Window huge(size, Window::Pages::kHuge);
  for (uint64_t at = 0; at < size; at += kPage) huge.memory()[at] = std::byte{1};
}

void RunOnce(Case& c, TouchingGuest& guest, const std::vector<uint32_t>& order) {
  const uint64_t size = order.size() * kPage;
  WarmHostMemory(2 * size);
  guest.SetCpu(c.vcpu_cpu);
  uint64_t ns = 0;
  if (c.filler == Filler::kFaultline) {
    WindowListener listener(guest);
    GuestMemory memory(Host::System(), listener, c.options);
    RegionSpec spec;
    spec.name = "window";
    spec.gpa = GpaRange{Gpa(TouchingGuest::kWindow), Bytes(size)};
    const RegionId id = memory.Plug(spec);
    ns = guest.Touch(order);
    memory.Unplug(id);
  } else {
    const Window window(size, c.filler == Filler::kPopulated    ? Window::Pages::kSmallAndThere
                              : c.filler == Filler::kKernelHuge ? Window::Pages::kHuge
                                                                : Window::Pages::kSmall);
    guest.Map(window.memory(), size);
    if (c.filler == Filler::kOnePage) {
      const OnePageHandler handler(window.memory(), size, c.handler_cpu);
      ns = guest.Touch(order);
    } else {
      ns = guest.Touch(order);
    }
    guest.Unmap();
  }
  c.ns_per_page.push_back(static_cast<double>(ns) / static_cast<double>(order.size()));
}

std::vector<Case> MainCases() {
  std::vector<Case> cases;
  const auto add = [&cases](std::string name, Filler filler) {
    for (const unsigned vcpus : {1U, 4U}) {
      for (const bool random : {false, true}) {
        cases.push_back({.group = "who brings the page in",
                         .name = name,
                         .filler = filler,
                         .vcpus = vcpus,
                         .random = random,
                         .options = {}});
      }
    }
  };
  add("already populated", Filler::kPopulated);
  add("kernel demand-zero", Filler::kKernel);
  add("kernel, huge pages", Filler::kKernelHuge);
  add("one-page handler", Filler::kOnePage);
  add("faultline", Filler::kFaultline);
  return cases;
}

// Where the handler runs, whether it spins, how much a fault brings in.
std::vector<Case> SweepCases() {
  std::vector<Case> cases;
  const std::string peer = "one-page handler, vCPU on CPU 0, random";
  cases.push_back({.group = peer,
                   .name = "handler on CPU 0",
                   .filler = Filler::kOnePage,
                   .random = true,
                   .vcpu_cpu = 0,
                   .handler_cpu = 0,
                   .options = {}});
  cases.push_back({.group = peer,
                   .name = "handler on CPU 1",
                   .filler = Filler::kOnePage,
                   .random = true,
                   .vcpu_cpu = 0,
                   .handler_cpu = 1,
                   .options = {}});
  cases.push_back({.group = peer,
                   .name = "handler floats",
                   .filler = Filler::kOnePage,
                   .random = true,
                   .vcpu_cpu = 0,
                   .options = {}});
  for (const unsigned vcpus : {1U, 4U}) {
    for (const auto placement : {ReaderPlacement::kFollow, ReaderPlacement::kFloat}) {
      for (const unsigned spin_us : {0U, 20U, 100U}) {
        for (const unsigned shards : {1U, 2U}) {
          Case c{.group = "faultline, random: reader placement, spinning and shards",
                 .name = std::string(placement == ReaderPlacement::kFollow ? "follow" : "float") + ", spin " +
                         std::to_string(spin_us) + " us, shards " + std::to_string(shards),
                 .filler = Filler::kFaultline,
                 .vcpus = vcpus,
                 .random = true,
                 .options = {}};
          c.options.placement = placement;
          c.options.reader_spin = std::chrono::microseconds(spin_us);
          c.options.shards = shards;
          cases.push_back(std::move(c));
        }
      }
    }
    for (const unsigned pages : {1U, 16U, 64U, 512U, FaultAround::kAuto}) {
      Case c{.group = "faultline, in order: pages a fault",
             .name = pages == FaultAround::kAuto ? "auto" : std::to_string(pages),
             .filler = Filler::kFaultline,
             .vcpus = vcpus,
             .options = {}};
      c.options.fault_around.pages = pages;
      cases.push_back(std::move(c));
    }
  }
  return cases;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return n == 0 ? 0 : (values[(n - 1) / 2] + values[n / 2]) / 2;
}

void Print(const std::vector<Case>& cases) {
  std::string group;
  for (const Case& c : cases) {
    if (c.group != group) {
      group = c.group;
      std::printf("\n%s\n  %-32s %6s %-8s %12s %10s %10s\n", group.c_str(), "", "vCPUs", "order", "us a page", "min",
                  "max");
    }
    const auto [low, high] = std::minmax_element(c.ns_per_page.begin(), c.ns_per_page.end());
    std::printf("  %-32s %6u %-8s %12.2f %10.2f %10.2f\n", c.name.c_str(), c.vcpus, c.random ? "random" : "in order",
                Median(c.ns_per_page) / 1e3, *low / 1e3, *high / 1e3);
  }
}

nlohmann::json ToJson(const std::vector<Case>& cases) {
  auto list = nlohmann::json::array();
  for (const Case& c : cases) {
    list.push_back({{"group", c.group},
                    {"name", c.name},
                    {"vcpus", c.vcpus},
                    {"order", c.random ? "random" : "sequential"},
                    {"ns_per_page_median", Median(c.ns_per_page)},
                    {"ns_per_page", c.ns_per_page}});
  }
  return list;
}

int Main(int argc, char** argv) {
  CLI::App app{"The cost of a guest's first touch of a page, by who brings the page in"};
  uint64_t pages = 8192;
  unsigned rounds = 7;
  bool sweep = false;
  std::string json_path;
  app.add_option("--pages", pages, "Pages to touch in each run")->check(CLI::Range(512, 131072))->capture_default_str();
  app.add_option("--rounds", rounds, "Runs of each case")->check(CLI::Range(1, 1000))->capture_default_str();
  app.add_flag("--sweep", sweep, "Also measure reader placement, spinning, shards and fault-around sizes");
  app.add_option("--json", json_path, "Write the figures to this file");
  CLI11_PARSE(app, argc, argv);

  std::vector<uint32_t> in_order(pages);
  std::iota(in_order.begin(), in_order.end(), 0U);
  std::vector<uint32_t> shuffled = in_order;
  std::shuffle(shuffled.begin(), shuffled.end(), std::mt19937(1));

  std::vector<Case> cases = MainCases();
  if (sweep) {
    for (Case& c : SweepCases()) cases.push_back(std::move(c));
  }
  TouchingGuest one(1);
  TouchingGuest four(4);
  for (unsigned round = 0; round < rounds; ++round) {
    for (Case& c : cases) RunOnce(c, c.vcpus == 1 ? one : four, c.random ? shuffled : in_order);
  }
  std::printf("%llu pages of 4 KiB, medians of %u rounds\n", static_cast<unsigned long long>(pages), rounds);
  Print(cases);
  WriteFigures(json_path, ToJson(cases));
  return 0;
}

}  // namespace
}  // namespace faultline::bench

int main(int argc, char** argv) { return faultline::bench::RunProgram(faultline::bench::Main, argc, argv); }
