// A libvirtd of the test's own, with its own configuration and directories, in a mount namespace of this process; and
// virsh to speak to it. Needs root; no systemd, no other libvirtd is touched.
//
// For one thread; one at a time in a process, since the namespace is the process's.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/vmm/control/temp_dir.h"

namespace faultline::e2e {

// Why none can be had here, or nothing.
std::optional<std::string> WhyNoLibvirt();

// How long anything may take on a loaded machine before it counts as hung.
inline constexpr std::chrono::seconds kVirshPatience{120};

// A program on a pseudo-terminal: `virsh console`.
class Dialogue {
 public:
  explicit Dialogue(const std::vector<std::string>& words);
  ~Dialogue();
  Dialogue(const Dialogue&) = delete;
  Dialogue& operator=(const Dialogue&) = delete;

  // How long ReadUntil waits; two minutes unless set.
  void SetPatience(std::chrono::seconds patience) { patience_ = patience; }
  void Type(std::string_view text) const;
  // What came since the last call up to and including `end`; a test failure, and what there is, when it does not come.
  std::string ReadUntil(std::string_view end);
  // Takes in what comes within a second; whether `text` is there.
  bool Shows(std::string_view text);

 private:
  bool ReadSome();

  pid_t pid_ = -1;
  int fd_ = -1;
  bool ended_ = false;  // the program has
  std::string buffer_;
  std::chrono::seconds patience_ = kVirshPatience;
};

class LibvirtHost {
 public:
  struct Answer {
    int status = -1;
    std::string text;  // standard output and error
  };

  // Starts libvirtd and waits until it answers.
  LibvirtHost();
  // Ends every VM, and libvirtd.
  ~LibvirtHost();
  LibvirtHost(const LibvirtHost&) = delete;
  LibvirtHost& operator=(const LibvirtHost&) = delete;

  std::string operator/(const std::string& name) const { return dir_ / name; }

  Answer Virsh(const std::vector<std::string>& words) const;
  // The output of a command that has to succeed.
  std::string Ask(const std::vector<std::string>& words) const;
  // Until `virsh WORDS` prints `text`; a test failure when it does not come.
  void WaitFor(const std::vector<std::string>& words, const std::string& text,
               std::chrono::seconds patience = kVirshPatience) const;
  // Writes `text` into a file and returns its path.
  std::string File(const std::string& name, const std::string& text) const;

  // Like a crash of the daemon; its VMs live on.
  void KillDaemon();
  void StartDaemon();

  // Of the VM's process, from its pid file.
  pid_t EmulatorPid(const std::string& domain) const;
  // What libvirtd and the VM's process logged.
  std::string Log(const std::string& domain) const;

 private:
  void MakeNamespace();
  // Bind-mounts `with` over `what`, for as long as this lives.
  void Cover(const std::string& what, const std::string& with);

  TempDir dir_;
  std::vector<std::string> covered_;
  pid_t daemon_ = -1;
};

}  // namespace faultline::e2e
