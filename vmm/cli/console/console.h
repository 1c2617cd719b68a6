// The host's end of the guest's serial console.
//
// Owned by the program beside its EventLoop. Write is for any thread and never blocks for long (QueuedWriter
// says how long); the rest belongs to the loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "guestmem/host.h"
#include "vmm/control/event_loop.h"

namespace faultline {

class Console {
 public:
  struct Guest {
    // What the user typed; returns how many bytes of it were taken.
    std::function<size_t(std::span<const std::byte>)> input;
    // The user asked to end the VM.
    std::function<void()> quit;
  };

  // `spec` is "stdio", "pty", "socket:PATH" or "none". UsageError for anything else, Error when the host
  // refuses.
  static std::unique_ptr<Console> Create(EventLoop& loop, std::string_view spec, std::string vm_name);
  // Throws as Create does, with nothing tried.
  static void CheckSpec(std::string_view spec);

  virtual ~Console() = default;

  // For `info`: "stdio", "pty:/dev/pts/3", "socket:/run/x".
  virtual std::string description() const = 0;
  virtual void Write(std::span<const std::byte> data) = 0;
  // Input flows from now on.
  virtual void Start(Guest guest) = 0;
  // Everything printed is out, within reason, and the terminal is as it was.
  virtual void Finish() = 0;
};

std::unique_ptr<Console> MakeStdioConsole(EventLoop& loop, std::string vm_name);
std::unique_ptr<Console> MakePtyConsole(EventLoop& loop);
std::unique_ptr<Console> MakeSocketConsole(EventLoop& loop, std::string path);
// On a socket that listens already; `path` is what it is called, and stays when the console goes.
std::unique_ptr<Console> MakeSocketConsole(EventLoop& loop, FileDescriptor listener, std::string path);
std::unique_ptr<Console> MakeFileConsole(const std::string& path, bool append);
std::unique_ptr<Console> MakeFileConsole(FileDescriptor file, std::string path);

}  // namespace faultline
