// How long from exec to a guest's first I/O, how much memory an idle VM then holds, and how long killing it takes:
// `faultline run` beside the least C that does the same, and QEMU's microvm. All guests have 128 MiB.
//
// A run starts the program with its standard output on a pipe; the first byte in it is the guest's first I/O (a
// serial port in each case). Rounds are interleaved; figures are medians. Peers that are not installed are left out.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "tests/bench/bench_program.h"

extern char** environ;

namespace faultline::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::duration<double, std::milli>;

struct Case {
  std::string name;
  std::vector<std::string> command;
  std::vector<double> first_io_ms = {};
  std::vector<double> kill_ms = {};
  std::vector<double> rss_kib = {};
  std::vector<double> private_kib = {};
  std::string failure = {};
};

// The values of some fields of /proc/PID/smaps_rollup, in KiB, summed.
double RollupKib(pid_t pid, std::initializer_list<std::string_view> fields) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/smaps_rollup");
  double sum = 0;
  for (std::string line; std::getline(in, line);) {
    for (const std::string_view field : fields) {
      if (line.starts_with(field)) sum += std::strtod(line.c_str() + field.size(), nullptr);
    }
  }
  return sum;
}

void RunOnce(Case& c) {
  std::array<int, 2> out{};
  std::array<int, 2> in{};
  if (pipe2(out.data(), O_CLOEXEC) != 0 || pipe2(in.data(), O_CLOEXEC) != 0) {
    c.failure = "no pipe";
    return;
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  std::vector<char*> argv;
  for (std::string& word : c.command) argv.push_back(word.data());
  argv.push_back(nullptr);

  pid_t pid = 0;
  const auto begin = Clock::now();
  const int error = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(out[1]);
  close(in[0]);
  if (error == 0) {
    pollfd readable{out[0], POLLIN, 0};
    char byte = 0;
    const bool spoke = poll(&readable, 1, 10'000) == 1 && read(out[0], &byte, 1) == 1;
    const auto first = Clock::now();
    if (spoke) {
      // Whatever start-up leaves running in the background is part of neither figure.
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      c.first_io_ms.push_back(Milliseconds(first - begin).count());
      c.rss_kib.push_back(RollupKib(pid, {"Rss:"}));
      c.private_kib.push_back(RollupKib(pid, {"Private_Clean:", "Private_Dirty:"}));
    } else {
      c.failure = "no guest I/O within 10 s";
    }
    const auto kill_begin = Clock::now();
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    if (spoke) c.kill_ms.push_back(Milliseconds(Clock::now() - kill_begin).count());
  } else {
    c.failure = "cannot be started";
  }
  close(out[0]);
  close(in[1]);
}

// A ROM whose reset vector sends one byte to the serial port and halts.
std::string WriteRom() {
  std::string rom(65536, '\x90');
  // mov dx, 0x3f8; mov al, '!'; out dx, al; hlt; jmp to the hlt
  const std::string code = "\xba\xf8\x03\xb0!\xee\xf4\xeb\xfd";
  rom.replace(0, code.size(), code);
  rom.replace(0xfff0, 3, std::string("\xe9\x0d\x00", 3));  // jmp near to the start of the segment
  const std::string path = std::filesystem::temp_directory_path() / ("faultline-rom-" + std::to_string(getpid()));
  std::ofstream(path, std::ios::binary) << rom;
  return path;
}

bool OnPath(const std::string& program) {
  return std::system(("command -v " + program + " >/dev/null 2>&1").c_str()) == 0;  // NOLINT(concurrency-mt-unsafe)
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return n == 0 ? 0 : (values[(n - 1) / 2] + values[n / 2]) / 2;
}

int Main(int argc, char** argv) {
  CLI::App app{"exec to first guest I/O, and the memory of an idle VM"};
  unsigned rounds = 20;
  std::string json_path;
  std::string faultline;
  app.add_option("--rounds", rounds, "Runs of each case")->check(CLI::Range(1, 1000))->capture_default_str();
  app.add_option("--faultline", faultline, "The faultline program (default: ../bin/faultline beside this one)");
  app.add_option("--json", json_path, "Write the figures to this file");
  CLI11_PARSE(app, argc, argv);

  const auto here = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  if (faultline.empty()) faultline = here.parent_path() / "bin/faultline";
  const std::string bare = here / "bare_vmm";
  const std::string rom = WriteRom();

  std::vector<Case> cases;
  cases.push_back({.name = "bare C, no interrupt controller", .command = {bare, "none"}});
  cases.push_back({.name = "bare C, split irqchip", .command = {bare, "split"}});
  cases.push_back({.name = "bare C, irqchip and PIT (as kvmtool)", .command = {bare, "full"}});
  if (std::filesystem::exists(faultline)) {
    cases.push_back({.name = "faultline run",
                     .command = {faultline, "run", "--name", "bench-" + std::to_string(getpid()), "--memory", "128M",
                                 "--console", "stdio"}});
  }
  if (OnPath("qemu-system-x86_64")) {
    const auto qemu = [&rom](const std::string& machine) {
      return std::vector<std::string>{
          "qemu-system-x86_64", "-M",       machine, "-m",      "128M", "-bios", rom, "-nodefaults",
          "-no-user-config",    "-display", "none",  "-serial", "stdio"};
    };
    cases.push_back({.name = "QEMU microvm", .command = qemu("microvm,accel=kvm,isa-serial=on")});
    cases.push_back({.name = "QEMU microvm, no PIC, PIT, RTC",
                     .command = qemu("microvm,accel=kvm,isa-serial=on,pic=off,pit=off,rtc=off")});
  }

  for (unsigned round = 0; round < rounds; ++round) {
    for (Case& c : cases) {
      if (c.failure.empty()) RunOnce(c);
    }
  }
  std::filesystem::remove(rom);

  std::printf("128 MiB guests, medians of %u rounds\n\n  %-38s %14s %8s %8s %10s %10s %10s\n", rounds, "",
              "first I/O (ms)", "min", "max", "RSS (MiB)", "private", "kill (ms)");
  auto list = nlohmann::json::array();
  for (const Case& c : cases) {
    if (!c.failure.empty()) {
      std::printf("  %-38s %s\n", c.name.c_str(), c.failure.c_str());
      continue;
    }
    const auto [low, high] = std::minmax_element(c.first_io_ms.begin(), c.first_io_ms.end());
    std::printf("  %-38s %14.2f %8.2f %8.2f %10.1f %10.1f %10.2f\n", c.name.c_str(), Median(c.first_io_ms), *low, *high,
                Median(c.rss_kib) / 1024, Median(c.private_kib) / 1024, Median(c.kill_ms));
    list.push_back({{"name", c.name},
                    {"first_io_ms_median", Median(c.first_io_ms)},
                    {"first_io_ms", c.first_io_ms},
                    {"rss_kib_median", Median(c.rss_kib)},
                    {"private_kib_median", Median(c.private_kib)},
                    {"kill_ms_median", Median(c.kill_ms)}});
  }
  WriteFigures(json_path, list);
  return 0;
}

}  // namespace
}  // namespace faultline::bench

int main(int argc, char** argv) { return faultline::bench::RunProgram(faultline::bench::Main, argc, argv); }
