#include "vmm/cli/top_screen.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "vmm/cli/output.h"
#include "vmm/cli/quantity.h"

namespace faultline {
namespace {

// Beside the cells: two blanks, the name, two brackets and the sizes.
constexpr size_t kMapName = 12;
constexpr size_t kBesideMap = kMapName + 28;
constexpr size_t kFewestCells = 8;
constexpr size_t kMostCells = 512;

bool BeginsCharacter(char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; }

// At most `columns` characters of it; control characters hidden.
std::string Fit(std::string_view text, size_t columns) {
  std::string line;
  size_t used = 0;
  for (const char c : text) {
    if (BeginsCharacter(c) && used++ == columns) break;
    line += static_cast<unsigned char>(c) < ' ' || c == 127 ? ' ' : c;
  }
  return line;
}

void AppendLines(std::string_view text, std::vector<std::string>* lines) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    lines->emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

std::string Rate(double a_second) {
  return a_second < 10 ? std::to_string(a_second).substr(0, 3) : std::to_string(std::llround(a_second));
}

std::string Time(std::chrono::nanoseconds time) { return time.count() == 0 ? "-" : ReadableDuration(time); }

std::string_view Cell(Bytes plugged, Bytes present) {
  constexpr std::array<std::string_view, 8> kBars{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  if (plugged == Bytes(0)) return " ";
  if (present == Bytes(0)) return "·";
  return kBars[std::min<size_t>((present.value * kBars.size() - 1) / plugged.value, kBars.size() - 1)];
}

std::string DrawMap(const VmSample::Map& map) {
  std::string line = "  " + Fit(map.id, kMapName - 1);
  line.resize(std::max(line.size(), kMapName + 1), ' ');
  line += '[';
  Bytes plugged;
  Bytes present;
  for (size_t i = 0; i < map.plugged.size() && i < map.present.size(); ++i) {
    line += Cell(map.plugged[i], map.present[i]);
    plugged += map.plugged[i];
    present += map.present[i];
  }
  return line + "] " + ReadableSize(present) + " of " + ReadableSize(plugged);
}

std::vector<std::string> Row(const VmSample& vm) {
  if (!vm.answered) return {vm.name, vm.status};
  return {vm.name,
          vm.status,
          std::to_string(vm.cpus),
          ReadableSize(vm.plugged),
          ReadableSize(vm.present),
          ReadableSize(vm.charged),
          vm.rates ? Rate(vm.rates->faults) : "-",
          vm.rates ? Rate(vm.rates->pages) : "-",
          Time(vm.p50),
          Time(vm.p99)};
}

}  // namespace

size_t MapCells(ScreenSize size) {
  return std::clamp(size.columns > kBesideMap ? size.columns - kBesideMap : 0, kFewestCells, kMostCells);
}

std::vector<std::string> DrawTop(const std::vector<VmSample>& vms, ScreenSize size) {
  std::vector<std::string> lines;
  if (vms.empty()) {
    lines.emplace_back("No VM is running; `faultline run` starts one.");
  } else {
    std::vector<std::vector<std::string>> rows{
        {"NAME", "STATUS", "CPUS", "PLUGGED", "IN USE", "CHARGED", "FAULTS/s", "PAGES/s", "P50", "P99"}};
    for (const VmSample& vm : vms) rows.push_back(Row(vm));
    AppendLines(Table(rows), &lines);
  }
  for (const VmSample& vm : vms) {
    if (vm.maps.empty()) continue;
    lines.emplace_back();
    lines.push_back(vm.name);
    for (const VmSample::Map& map : vm.maps) lines.push_back(DrawMap(map));
  }
  if (lines.size() > size.rows) lines.resize(size.rows);
  for (std::string& line : lines) line = Fit(line, size.columns);
  return lines;
}

}  // namespace faultline
