#include "vmm/cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>

#include "guestmem/error.h"
#include "vmm/cli/output.h"
#include "vmm/cli/subcommand.h"
#include "vmm/control/version.h"

namespace faultline {
namespace {

constexpr const char* kProgramFooter =
    "Examples:\n"
    "  faultline run --name demo --memory 256M,max=4G,slots=16\n"
    "  faultline memory plug demo 128M        in another terminal\n"
    "  faultline memory unplug demo dimm0\n"
    "  faultline storm --duration 10s\n"
    "\n"
    "Sizes are whole numbers with K, M, G or T (powers of 1024), durations with us, ms, s, m or h.\n"
    "Exit status: 0 done, 1 it failed, 2 the request was wrong and nothing was tried.\n"
    "`faultline COMMAND --help` tells more about each command.";

// OptionList over CLI11, which stays inside this file: it is large.
class CliOptions final : public OptionList {
 public:
  explicit CliOptions(CLI::App& app) : app_(app) {}

  void Option(const std::string& name, const std::string& value_name, std::optional<std::string>* value,
              const std::string& help) override {
    app_.add_option_function<std::string>(
            name, [value](const std::string& text) { *value = text; }, help)
        ->type_name(value_name)
        ->multi_option_policy(CLI::MultiOptionPolicy::Throw);
  }
  void Repeated(const std::string& name, const std::string& value_name, std::vector<std::string>* values,
                const std::string& help) override {
    app_.add_option(name, *values, help)
        ->type_name(value_name)
        ->type_size(1)
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }
  void Flag(const std::string& name, bool* value, const std::string& help) override {
    app_.add_flag_function(
            name, [value](int64_t count) { *value = count > 0; }, help)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  }
  void Required(const std::string& name, std::string* value, const std::string& help) override {
    app_.add_option(name, *value, help)->required()->type_name("");
  }
  void Footer(const std::string& text) override { app_.footer(text); }

 private:
  CLI::App& app_;
};

std::string FullName(const CLI::App* app) {
  std::string name = app->get_name();
  while ((app = app->get_parent()) != nullptr) name = app->get_name() + " " + name;
  return name;
}

// `text` with a newline for the blank before each word that would pass `width` columns.
std::string Wrapped(std::string text, size_t width) {
  size_t line = 0;
  for (size_t blank = text.find(' '); blank != std::string::npos; blank = text.find(' ', blank + 1)) {
    const size_t word_end = std::min(text.find(' ', blank + 1), text.size());
    if (word_end - line <= width) continue;
    text[blank] = '\n';
    line = blank + 1;
  }
  return text;
}

// Help in the shape of other tools' help: no clutter of types, the usage as one would type it.
class HelpText final : public CLI::Formatter {
 public:
  HelpText() { column_width(kNameColumns); }

  std::string make_option_opts(const CLI::Option* option) const override {
    return option->get_type_name().empty() ? "" : " " + option->get_type_name();
  }
  std::string make_option_desc(const CLI::Option* option) const override {
    return Wrapped(option->get_description(), kTextColumns);
  }
  std::string make_usage(const CLI::App* app, std::string /*name*/) const override {
    std::string usage = "\nUsage: " + FullName(app);
    for (const CLI::Option* option : app->get_options()) {
      if (option->get_positional()) usage += " " + option->get_name();
    }
    if (!app->get_subcommands([](const CLI::App*) { return true; }).empty()) usage += " COMMAND";
    return usage + " [OPTIONS]\n";
  }
  std::string make_positionals(const CLI::App* app) const override {
    const auto arguments = app->get_options([](const CLI::Option* o) { return o->get_positional(); });
    return arguments.empty() ? "" : make_group("Arguments", true, arguments);
  }
  std::string make_subcommands(const CLI::App* app, CLI::AppFormatMode mode) const override {
    std::string text = CLI::Formatter::make_subcommands(app, mode);
    constexpr std::string_view kTheirs = "Subcommands:";
    if (const auto at = text.find(kTheirs); at != std::string::npos) text.replace(at, kTheirs.size(), "Commands:");
    return text;
  }

 private:
  static constexpr size_t kNameColumns = 30;
  static constexpr size_t kTextColumns = 84;
};

struct Chosen {
  const SubcommandEntry* entry;
  CLI::App* app;
  std::unique_ptr<Subcommand> subcommand;
};

// Which entries an argument list can mean: building the options of all would cost every start-up.
bool MayMean(const SubcommandEntry& entry, std::span<const std::string> words) {
  if (entry.group.empty()) return !words.empty() && words[0] == entry.name;
  return words.size() > 1 && words[0] == entry.group && words[1] == entry.name;
}

bool IsCommand(std::string_view word) {
  return std::ranges::any_of(Subcommands(),
                             [&](const auto& e) { return word == (e.group.empty() ? e.name : e.group); });
}

// One line of bearable length, whatever the library and the user put in.
std::string OneSentence(std::string text) {
  constexpr size_t kLongest = 160;
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "…";
  std::ranges::replace(text, '\n', ' ');
  while (!text.empty() && (text.back() == ' ' || text.back() == '.')) text.pop_back();
  return text;
}

int Fail(int status, const std::string& sentence) {
  PrintError(sentence);
  return status;
}

int ParseAndRun(std::span<const std::string> arguments) {
  CLI::App app("A KVM virtual machine monitor whose guest memory comes and goes while it runs.", "faultline");
  app.formatter(std::make_shared<HelpText>());
  app.set_help_flag("-h,--help", "Show this help");
  app.footer(kProgramFooter);
  app.require_subcommand(0, 1);
  app.option_defaults()->always_capture_default(false);
  bool version = false;
  app.add_flag("--version", version, "Show the version");

  if (!arguments.empty() && !arguments[0].starts_with('-') && !IsCommand(arguments[0])) {
    return Fail(kExitUsage, "There is no command " + OneSentence("'" + arguments[0]) + "'; see `faultline --help`");
  }
  std::map<std::string_view, CLI::App*> groups;
  std::vector<Chosen> chosen;
  for (const SubcommandEntry& entry : Subcommands()) {
    CLI::App* parent = &app;
    if (!entry.group.empty()) {
      CLI::App*& group = groups[entry.group];
      if (group == nullptr) {
        group = app.add_subcommand(std::string(entry.group), "Plug, unplug and list the memory of a running VM");
        group->require_subcommand(0, 1);
        group->footer("`faultline " + std::string(entry.group) + " COMMAND --help` tells more about each.");
      }
      parent = group;
    }
    CLI::App* sub = parent->add_subcommand(std::string(entry.name), std::string(entry.summary));
    if (!MayMean(entry, arguments)) continue;
    chosen.push_back({&entry, sub, entry.make()});
    CliOptions options(*sub);
    chosen.back().subcommand->Describe(options);
  }

  CLI::App* said = &app;  // the deepest subcommand named, for the hint
  try {
    // CLI11 takes arguments from the back.
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::CallForHelp&) {
    while (!said->get_subcommands().empty()) said = said->get_subcommands().front();
    Print(said->help());
    return kExitOk;
  } catch (const CLI::ParseError& e) {
    while (!said->get_subcommands().empty()) said = said->get_subcommands().front();
    return Fail(kExitUsage, OneSentence(e.what()) + "; see `" + FullName(said) + " --help`");
  }
  if (version) {
    Print(std::string("faultline ") + kVersion + "\n");
    return kExitOk;
  }
  for (Chosen& c : chosen) {
    if (c.app->parsed()) return c.subcommand->Run();
  }
  const auto named = app.get_subcommands();
  if (named.empty()) return Fail(kExitUsage, "No command given; see `faultline --help`");
  return Fail(kExitUsage, "`faultline " + named.front()->get_name() + "` needs to know what to do; see `faultline " +
                              named.front()->get_name() + " --help`");
}

}  // namespace

int RunCommandLine(std::span<const std::string> arguments) {
  try {
    return ParseAndRun(arguments);
  } catch (const UsageError& e) {
    return Fail(kExitUsage, e.what());
  } catch (const std::bad_alloc&) {
    return Fail(kExitFailure, "The host is out of memory");
  } catch (const std::exception& e) {
    return Fail(kExitFailure, e.what());
  }
}

}  // namespace faultline
