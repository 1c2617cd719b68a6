// What every comparison program ends with: its figures in a file, and its failure in a sentence.
#pragma once

#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "guestmem/error.h"

namespace faultline::bench {

// Writes nothing when `path` is empty. Throws Error.
inline void WriteFigures(const std::string& path, const nlohmann::json& figures) {
  if (path.empty()) return;
  std::ofstream out(path);
  out << figures.dump(2) << '\n';
  if (!out.flush()) throw Error(path + " could not be written: give a file in a folder you may write to");
}

// `program` takes main's arguments and returns the exit code.
template <typename Program>
int RunProgram(Program program, int argc, char** argv) {
  try {
    return program(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}

}  // namespace faultline::bench
