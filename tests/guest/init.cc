// The init of a test guest: says that it runs, does what its arguments name in their order, and ends the machine.
//
// On the kernel's command line: words behind "--" are the commands; `syscalls=sysenter` in front of it is for software
// KVM. Without a command that ends the guest, it is powered off after the last.
#include "commands.h"
#include "system.h"

namespace guest {
namespace {

enum class End : uint32_t { kRestart = 0x01234567, kPowerOff = 0x4321fedc };

[[noreturn]] void EndMachine(End how) {
  constexpr long kMagic1 = static_cast<long>(0xfee1dead);
  constexpr long kMagic2 = 672274793;
  SystemCall(nr::kSync);
  SystemCall(nr::kReboot, kMagic1, kMagic2, static_cast<long>(how));
  for (;;) SystemCall(nr::kPause);
}

void Mount(const char* type, const char* at) {
  SystemCall(nr::kMkdir, Word(at), 0755);
  SystemCall(nr::kMount, Word(type), Word(at), Word(type), 0, 0);
}

void SayHello() {
  // struct new_utsname: six fields of 65 bytes.
  static char names[6][65];
  SystemCall(nr::kUname, Word(names));
  static char line[64];
  Print("faultline init: running on ");
  Print(names[0]);
  Print(" ");
  Print(names[2]);
  FindLine("/sys/devices/system/cpu/online", "", line, sizeof(line));
  Print(", CPUs ");
  Print(line);
  FindLine("/proc/meminfo", "MemTotal:", line, sizeof(line));
  Print(", memory ");
  Print(line);
  Print("\n");
}

bool RunCommand(const char* word);

bool Shell() {
  static char line[128];
  for (;;) {
    Print("shell: ready\n");
    if (!ReadLine(0, line, sizeof(line))) return false;
    if (Same(line, "exit")) return true;
    Print(RunCommand(line) ? "shell: done\n" : "shell: FAILED\n");
  }
}

// The value of a command "NAME=VALUE", or null when `word` is another command.
const char* ValueOf(const char* word, const char* name) {
  if (!StartsWith(word, name) || word[Length(name)] != '=') return nullptr;
  return word + Length(name) + 1;
}

bool RunCommand(const char* word) {
  if (const char* path = ValueOf(word, "disk")) return TestDisk(path);
  if (Same(word, "net")) return TestNetwork();
  if (const char* port = ValueOf(word, "tcp")) return TestTcp(static_cast<uint16_t>(ToNumber(port)));
  if (const char* port = ValueOf(word, "udp")) return TestUdp(static_cast<uint16_t>(ToNumber(port)));
  if (const char* port = ValueOf(word, "listen")) return TestListen(static_cast<uint16_t>(ToNumber(port)));
  if (Same(word, "rng")) return TestEntropy();
  if (Same(word, "console")) return TestConsole();
  if (Same(word, "hvc")) return TestVirtioConsole();
  if (const char* size = ValueOf(word, "touch")) return TestMemory(ToNumber(size));
  if (Same(word, "memory")) return ShowMemory();
  if (const char* size = ValueOf(word, "keep")) return KeepMemory(ToNumber(size));
  if (Same(word, "check")) return CheckKeptMemory();
  if (const char* size = ValueOf(word, "storm")) return StormMemory(ToNumber(size));
  if (const char* node = ValueOf(word, "pin")) return PinMemory(ToNumber(node));
  if (Same(word, "unpin")) return UnpinMemory();
  if (const char* way = ValueOf(word, "online")) return SetOnlining(way);
  if (Same(word, "shell")) return Shell();
  if (const char* time = ValueOf(word, "sleep")) return Sleep(static_cast<int>(ToNumber(time))), true;
  if (Same(word, "stay")) {
    Print("stay: until the power button is pressed\n");
    if (WaitForPowerButton()) EndMachine(End::kPowerOff);
    for (;;) SystemCall(nr::kPause);
  }
  if (Same(word, "poweroff")) EndMachine(End::kPowerOff);
  if (Same(word, "reboot")) EndMachine(End::kRestart);
  // The end of init is the kernel's panic.
  if (Same(word, "panic")) SystemCall(nr::kExit, 1);
  Print("faultline init: unknown command ");
  Print(word);
  Print("\n");
  return false;
}

int Run(int argc, char** argv) {
  char** environment = argv + argc + 1;
  for (char** word = environment; *word != nullptr; ++word) {
    if (Same(*word, "syscalls=sysenter")) UseSystemCalls(SystemCallForm::kSysenter);
  }
  Mount("proc", "/proc");
  Mount("sysfs", "/sys");
  Mount("devtmpfs", "/dev");
  SayHello();
  bool all_worked = true;
  for (int i = 1; i < argc; ++i) all_worked = RunCommand(argv[i]) && all_worked;
  Print(all_worked ? "faultline init: done\n" : "faultline init: done, with failures\n");
  EndMachine(End::kPowerOff);
}

}  // namespace
}  // namespace guest

// `stack` as the kernel leaves it: argc, the arguments, null, the environment, null.
extern "C" [[noreturn]] void init_main(long* stack) {
  guest::Run(static_cast<int>(stack[0]), reinterpret_cast<char**>(stack + 1));
  for (;;) guest::SystemCall(guest::nr::kPause);
}
