#include "vmm/cli/guest_script.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <filesystem>

#include "guestmem/error.h"

namespace faultline {
namespace {

namespace fs = std::filesystem;

// The nearest folder above the program that holds scripts/NAME; build/bin/faultline lies two below the source tree.
fs::path FindScript(const std::string& name) {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  for (fs::path folder = program.parent_path(); !error && folder.has_relative_path(); folder = folder.parent_path()) {
    for (const char* place : {"scripts", "share/faultline/scripts"}) {
      const fs::path script = folder / place / name;
      if (access(script.c_str(), X_OK) == 0) return script;
    }
  }
  throw Error("the script '" + name + "' is not beside this program: run it from its source tree, or give --kernel");
}

std::string ReadAll(int fd) {
  std::string text;
  char piece[PATH_MAX];
  while (true) {
    const ssize_t n = read(fd, piece, sizeof(piece));
    if (n > 0) text.append(piece, static_cast<size_t>(n));
    if (n == 0 || (n < 0 && errno != EINTR)) return text;
  }
}

}  // namespace

std::string RunGuestScript(const std::string& name) {
  const fs::path script = FindScript(name);
  int ends[2];
  if (pipe(ends) != 0) throw Error("the host gave no pipe (" + ErrnoText(errno) + "): raise `ulimit -n`");
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    execl(script.c_str(), script.c_str(), static_cast<char*>(nullptr));
    _exit(127);
  }
  close(ends[1]);
  const std::string output = child > 0 ? ReadAll(ends[0]) : "";
  close(ends[0]);
  if (child < 0) throw Error("the host gave no process (" + ErrnoText(errno) + "): raise `ulimit -u`");
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  const size_t end = output.find_last_not_of('\n');
  const size_t start = end == std::string::npos ? end : output.rfind('\n', end) + 1;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || end == std::string::npos) {
    throw Error("'" + script.string() + "' failed: run it by itself to see why");
  }
  return output.substr(start, end - start + 1);
}

}  // namespace faultline
