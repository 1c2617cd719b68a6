// The guest's init sees the kernel through these: 32-bit system calls without a C library.
//
// Every call returns a value >= 0 or -errno. Where the kernel wants a structure, its 32-bit layout is meant.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace guest {

enum class SystemCallForm : uint8_t {
  kInt80,     // every processor
  kSysenter,  // software KVM, where int $0x80 is an invalid instruction (start.S)
};
void UseSystemCalls(SystemCallForm form);

int SystemCall(int number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0);

inline long Word(const void* p) { return reinterpret_cast<long>(p); }

// Numbers of arch/x86/entry/syscalls/syscall_32.tbl.
namespace nr {
inline constexpr int kExit = 1, kRead = 3, kWrite = 4, kOpen = 5, kClose = 6, kMount = 21, kSync = 36, kMkdir = 39,
                     kPipe = 42, kIoctl = 54, kDup2 = 63, kReboot = 88, kMunmap = 91, kFsync = 118, kUname = 122,
                     kPoll = 168, kNanosleep = 162, kPread64 = 180, kPwrite64 = 181, kPause = 29, kMmap2 = 192,
                     kSetMempolicy = 276, kSocket = 359, kBind = 361, kConnect = 362, kListen = 363, kAccept4 = 364,
                     kSetsockopt = 366, kSendto = 369, kRecvfrom = 371;
}  // namespace nr

inline constexpr int kReadOnly = 0, kReadWrite = 2, kDirect = 040000;

int Open(const char* path, int flags);
int Read(int fd, void* out, size_t size);
int Write(int fd, const void* data, size_t size);
void Close(int fd);
// All of it, at an offset, or an error.
int ReadAt(int fd, void* out, size_t size, uint32_t offset);
int WriteAt(int fd, const void* data, size_t size, uint32_t offset);
// Anonymous memory; null when there is none. `populate`: all of it is there at once, which costs a fault less a page.
uint8_t* Allocate(size_t size, bool populate = false);
// True when there is something to read within `milliseconds`.
bool WaitReadable(int fd, int milliseconds);
void Sleep(int milliseconds);
// Reads up to the end of a line, which is dropped; false at the end of the input.
bool ReadLine(int fd, char* line, size_t size);
// The first line that starts with `key` in a file of /proc, without the key; empty when there is none.
void FindLine(const char* path, const char* key, char* line, size_t size);

// Text goes to standard output, which is the kernel's console.
void Print(const char* text);
void PrintNumber(unsigned long value);
void PrintHex(const uint8_t* bytes, size_t size);
void PrintAddress(uint32_t ip_in_network_order);

size_t Length(const char* text);
bool Same(const char* a, const char* b);
bool StartsWith(const char* text, const char* prefix);
unsigned long ToNumber(const char* text);

}  // namespace guest

// Loops in 64-bit code (start.S), for they are long: `run_native(native_..., base, count, multiplier, addend)` gives
// how many bytes or words were right. Byte i is i * multiplier + i / 256 + addend, word i is i * multiplier + addend;
// filling words wants to find zeroes, and turning them changes word i to i * -multiplier + ~addend.
extern "C" {
void native_fill_bytes();
void native_check_bytes();
void native_fill_words();
void native_check_words();
void native_turn_words();
uint32_t run_native(void (*function)(), const void* base, uint32_t count, uint32_t multiplier, uint32_t addend);
}

// The compiler calls these by name.
extern "C" {
void* memcpy(void* to, const void* from, size_t size);
void* memset(void* to, int value, size_t size);
int memcmp(const void* a, const void* b, size_t size);
}
