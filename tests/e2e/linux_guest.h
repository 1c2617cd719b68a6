// What the tests with a Linux guest share.
#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "tests/e2e/program.h"

namespace faultline::e2e {

// Interpreted, a guest may be silent for minutes: touching 64 MiB takes two.
inline constexpr std::chrono::minutes kSilence{10};
inline constexpr std::string_view kInitRuns = "faultline init: running on Linux";

// What a script of the project prints last: a path.
inline std::string PathFrom(const std::string& script) {
  const std::string command = std::string(FAULTLINE_SOURCE_DIR) + "/scripts/" + script;
  FILE* output = popen(command.c_str(), "r");
  EXPECT_NE(output, nullptr) << command;
  char line[4096] = "";
  while (output != nullptr && fgets(line, sizeof(line), output) != nullptr) {
  }
  EXPECT_EQ(pclose(output), 0) << command;
  std::string path = line;
  while (!path.empty() && path.back() == '\n') path.pop_back();
  return path;
}

}  // namespace faultline::e2e
