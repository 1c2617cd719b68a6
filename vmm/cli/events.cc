// `faultline events`
#include <array>
#include <ctime>
#include <nlohmann/json.hpp>

#include "guestmem/hex.h"
#include "vmm/cli/output.h"
#include "vmm/cli/quantity.h"
#include "vmm/cli/subcommand.h"
#include "vmm/cli/vm_connection.h"

namespace faultline {
namespace {

using nlohmann::json;

// "09:31:07.123456", local time.
std::string Clock(const json& timestamp) {
  const auto seconds = timestamp.at("seconds").get<time_t>();
  tm local{};
  localtime_r(&seconds, &local);
  std::array<char, 32> text;
  const size_t n = std::strftime(text.data(), text.size(), "%H:%M:%S", &local);
  std::snprintf(text.data() + n, text.size() - n, ".%06u", timestamp.at("microseconds").get<unsigned>());
  return text.data();
}

bool IsAddress(const std::string& key) { return key == "addr" || key == "gpa" || key == "rip"; }

// A word stays as it is, a sentence keeps its quotes.
std::string ValueText(const std::string& key, const json& value) {
  if (value.is_number_unsigned() && IsAddress(key)) return Hex(value.get<uint64_t>());
  if (value.is_string() && value.get_ref<const std::string&>().find(' ') == std::string::npos) return value;
  return ToText(value);
}

// "key=value" for each member, nested ones with a dotted key.
void Append(std::string& line, const std::string& prefix, const json& data) {
  for (const auto& [key, value] : data.items()) {
    if (value.is_object()) {
      Append(line, prefix + key + ".", value);
      continue;
    }
    if (value.is_string() && value.get_ref<const std::string&>().empty()) continue;
    line += "  " + prefix + key + "=";
    line += ValueText(key, value);
  }
}

class Events final : public Subcommand {
 public:
  void Describe(OptionList& options) override {
    options.Required("VM", &vm_, "Name of a running VM (see `faultline list`)");
    options.Flag("--json", &json_, "One JSON object on each line, as QMP sends them");
    options.Footer(
        "Follows until the VM ends or Ctrl-C.\n\n"
        "Examples:\n  faultline events vm1\n"
        "  faultline events vm1 --json | jq 'select(.event == \"X_FAULTLINE_UNPLUGGED_ACCESS\")'");
  }

  int Run() override {
    const auto client = ConnectToVm(vm_);
    bool ended = false;
    try {
      for (;;) {
        const auto event = client->NextEvent(QmpClient::Clock::now() + std::chrono::hours(1));
        if (!event) continue;
        Show(*event);
        ended = event->at("event").get_ref<const std::string&>() == "X_FAULTLINE_EXITED";
      }
    } catch (const VmGone&) {
      if (ended) return 0;
      throw Error("VM '" + vm_ +
                  "' closed the connection: it was ended by force, or these events were read too slowly");
    }
  }

 private:
  void Show(const json& event) const {
    if (json_) {
      Print(ToText(event) + "\n");
      return;
    }
    std::string line = Clock(event.at("timestamp")) + "  " + event.at("event").get<std::string>();
    if (const auto data = event.find("data"); data != event.end()) Append(line, "", *data);
    Print(line + "\n");
  }

  std::string vm_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Subcommand> MakeEvents() { return std::make_unique<Events>(); }

}  // namespace faultline
