// The man page and the shell completion say what --help says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "tests/e2e/program.h"

namespace faultline::e2e {
namespace {

using Options = std::set<std::string>;

const std::vector<Words>& Commands() {
  static const std::vector<Words> kCommands{{"run"},
                                            {"list"},
                                            {"info"},
                                            {"top"},
                                            {"memory", "plug"},
                                            {"memory", "unplug"},
                                            {"memory", "list"},
                                            {"memory", "operations"},
                                            {"memory", "cancel"},
                                            {"pause"},
                                            {"resume"},
                                            {"shutdown"},
                                            {"kill"},
                                            {"save"},
                                            {"restore"},
                                            {"xml"},
                                            {"events"},
                                            {"storm"},
                                            {"version"},
                                            {"memory", "resize"},
                                            {"memory", "balloon"},
                                            {"memory", "trim"},
                                            {"memory", "auto"}};
  return kCommands;
}

std::string Join(const Words& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

std::string ReadFile(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(std::string(FAULTLINE_SOURCE_DIR) + "/" + path).rdbuf();
  return text.str();
}

Options Matches(const std::string& text, const std::string& pattern) {
  Options options;
  const std::regex regex(pattern);
  for (std::sregex_iterator it(text.begin(), text.end(), regex), end; it != end; ++it) options.insert((*it)[1]);
  return options;
}

// What `faultline COMMAND --help` lists; --help itself left out.
Options FromHelp(const Words& command) {
  const Workplace place;
  Words words = command;
  words.emplace_back("--help");
  const Answer answer = place.Run(words);
  EXPECT_EQ(answer.status, 0) << answer.err;
  Options options = Matches(answer.out, "\n  (--[a-z-]+)");
  return options;
}

TEST(Help, ListsEveryCommand) {
  const Workplace place;
  const std::string program = place.Run({"--help"}).out;
  const std::string memory = place.Run({"memory", "--help"}).out;
  for (const Words& command : Commands()) {
    const std::string& text = command.size() == 1 ? program : memory;
    EXPECT_THAT(text, testing::HasSubstr("\n  " + command.back() + " ")) << Join(command);
  }
  // And no command that these tests do not know.
  EXPECT_EQ(Matches(program, "\n  ([a-z]+)  ").size(), 15U);
  EXPECT_EQ(Matches(memory, "\n  ([a-z]+)  ").size(), 9U);
}

TEST(Help, TeachesByExampleAndFitsATerminal) {
  const Workplace place;
  for (const Words& command : Commands()) {
    Words words = command;
    words.emplace_back("--help");
    const std::string text = place.Run(words).out;
    if (command.front() != "version") {
      EXPECT_THAT(text, testing::HasSubstr("Examples:\n")) << Join(command);
    }
    EXPECT_THAT(text, testing::HasSubstr("Usage: faultline " + Join(command))) << Join(command);
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 120U) << Join(command) << ": " << line;
  }
}

TEST(ManPage, ListsTheOptionsOfEveryCommandAndNoOthers) {
  const std::string page = ReadFile("docs/faultline.1");
  ASSERT_FALSE(page.empty());
  for (const Words& command : Commands()) {
    const size_t start = page.find(".SS faultline " + Join(command));
    ASSERT_NE(start, std::string::npos) << Join(command);
    const size_t end = std::min(page.find("\n.SS ", start), page.find("\n.SH ", start));
    const Options raw = Matches(page.substr(start, end - start), "\n\\.BI? (\\\\-\\\\-[a-z\\\\-]+)");
    Options options;
    for (const std::string& option : raw) options.insert(std::regex_replace(option, std::regex("\\\\"), ""));
    EXPECT_EQ(options, FromHelp(command)) << Join(command);
  }
}

TEST(Completion, OffersTheOptionsOfEveryCommandAndNoOthers) {
  for (const Words& command : Commands()) {
    std::string script = "source '" + std::string(FAULTLINE_SOURCE_DIR) + "/vmm/cli/completions/faultline.bash'; ";
    script +=
        "COMP_WORDS=(faultline " + Join(command) + " --); COMP_CWORD=" + std::to_string(command.size() + 1) + "; ";
    script += "_faultline; printf '\\n  %s' \"${COMPREPLY[@]}\"";
    FILE* shell = popen(("bash -c '" + std::regex_replace(script, std::regex("'"), "'\\''") + "'").c_str(), "re");
    ASSERT_NE(shell, nullptr);
    std::string words;
    char piece[512];
    while (const size_t n = fread(piece, 1, sizeof piece, shell)) words.append(piece, n);
    ASSERT_EQ(pclose(shell), 0);
    Options options = Matches(words, "\n  (--[a-z-]+)");
    EXPECT_EQ(options.erase("--help"), 1U) << Join(command);
    EXPECT_EQ(options, FromHelp(command)) << Join(command);
  }
}

TEST(Completion, OffersEveryCommand) {
  const std::string script = ReadFile("vmm/cli/completions/faultline.bash");
  for (const Words& command : Commands()) EXPECT_THAT(script, testing::ContainsRegex("words=.*" + command.front()));
  EXPECT_THAT(script, testing::HasSubstr("plug unplug resize balloon trim auto list operations cancel"));
}

}  // namespace
}  // namespace faultline::e2e
