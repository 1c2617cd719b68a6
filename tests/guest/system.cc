#include "system.h"

extern "C" int system_call_int80(int number, long a, long b, long c, long d, long e, long f);
extern "C" int system_call_sysenter(int number, long a, long b, long c, long d, long e, long f);

extern "C" {

void* memcpy(void* to, const void* from, size_t size) {
  void* const result = to;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
  return result;
}

void* memset(void* to, int value, size_t size) {
  void* const result = to;
  asm volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(value) : "memory");
  return result;
}

int memcmp(const void* a, const void* b, size_t size) {
  const auto* left = static_cast<const uint8_t*>(a);
  const auto* right = static_cast<const uint8_t*>(b);
  for (; size != 0; --size, ++left, ++right) {
    if (*left != *right) return *left - *right;
  }
  return 0;
}

}  // extern "C"

namespace guest {
namespace {

SystemCallForm form_in_use = SystemCallForm::kInt80;

constexpr int kOutput = 1;
constexpr int kBadAddress = -14;  // EFAULT, for a transfer that moves nothing

}  // namespace

void UseSystemCalls(SystemCallForm form) { form_in_use = form; }

int SystemCall(int number, long a, long b, long c, long d, long e, long f) {
  return form_in_use == SystemCallForm::kSysenter ? system_call_sysenter(number, a, b, c, d, e, f)
                                                  : system_call_int80(number, a, b, c, d, e, f);
}

int Open(const char* path, int flags) { return SystemCall(nr::kOpen, Word(path), flags); }
int Read(int fd, void* out, size_t size) { return SystemCall(nr::kRead, fd, Word(out), static_cast<long>(size)); }
int Write(int fd, const void* data, size_t size) {
  return SystemCall(nr::kWrite, fd, Word(data), static_cast<long>(size));
}
void Close(int fd) { SystemCall(nr::kClose, fd); }

int ReadAt(int fd, void* out, size_t size, uint32_t offset) {
  auto* at = static_cast<uint8_t*>(out);
  while (size != 0) {
    const int got = SystemCall(nr::kPread64, fd, Word(at), static_cast<long>(size), static_cast<long>(offset));
    if (got <= 0) return got == 0 ? kBadAddress : got;
    at += got;
    offset += static_cast<uint32_t>(got);
    size -= static_cast<size_t>(got);
  }
  return 0;
}

int WriteAt(int fd, const void* data, size_t size, uint32_t offset) {
  const auto* at = static_cast<const uint8_t*>(data);
  while (size != 0) {
    const int put = SystemCall(nr::kPwrite64, fd, Word(at), static_cast<long>(size), static_cast<long>(offset));
    if (put <= 0) return put == 0 ? kBadAddress : put;
    at += put;
    offset += static_cast<uint32_t>(put);
    size -= static_cast<size_t>(put);
  }
  return 0;
}

uint8_t* Allocate(size_t size, bool populate) {
  constexpr long kReadAndWrite = 3;
  constexpr long kPrivateAnonymous = 0x22, kPopulate = 0x8000;
  const int at = SystemCall(nr::kMmap2, 0, static_cast<long>(size), kReadAndWrite,
                            kPrivateAnonymous | (populate ? kPopulate : 0), -1, 0);
  const auto address = static_cast<uint32_t>(at);
  return address > 0xfffff000 ? nullptr : reinterpret_cast<uint8_t*>(address);
}

bool WaitReadable(int fd, int milliseconds) {
  struct {
    int fd;
    int16_t events;
    int16_t seen;
  } one = {fd, 1, 0};
  return SystemCall(nr::kPoll, Word(&one), 1, milliseconds) == 1;
}

void Sleep(int milliseconds) {
  const int32_t time[2] = {milliseconds / 1000, milliseconds % 1000 * 1000000};
  SystemCall(nr::kNanosleep, Word(time));
}

bool ReadLine(int fd, char* line, size_t size) {
  size_t used = 0;
  while (used + 1 < size) {
    char c;
    if (Read(fd, &c, 1) != 1) return false;
    if (c == '\n' || c == '\r') break;
    line[used++] = c;
  }
  line[used] = '\0';
  return true;
}

void FindLine(const char* path, const char* key, char* line, size_t size) {
  line[0] = '\0';
  const int fd = Open(path, kReadOnly);
  if (fd < 0) return;
  static char text[4096];
  const int got = Read(fd, text, sizeof(text) - 1);
  Close(fd);
  if (got <= 0) return;
  text[got] = '\0';
  for (const char* at = text; *at != '\0';) {
    if (StartsWith(at, key)) {
      at += Length(key);
      while (*at == ' ') ++at;
      size_t used = 0;
      while (*at != '\n' && *at != '\0' && used + 1 < size) line[used++] = *at++;
      line[used] = '\0';
      return;
    }
    while (*at != '\n' && *at != '\0') ++at;
    if (*at == '\n') ++at;
  }
}

void Print(const char* text) {
  size_t size = Length(text);
  while (size != 0) {
    const int put = Write(kOutput, text, size);
    if (put <= 0) return;
    text += put;
    size -= static_cast<size_t>(put);
  }
}

void PrintNumber(unsigned long value) {
  char text[12];
  char* at = text + sizeof(text) - 1;
  *at = '\0';
  do {
    *--at = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value != 0);
  Print(at);
}

void PrintHex(const uint8_t* bytes, size_t size) {
  static const char kDigits[] = "0123456789abcdef";
  for (; size != 0; --size, ++bytes) {
    const char text[3] = {kDigits[*bytes >> 4], kDigits[*bytes & 15], '\0'};
    Print(text);
  }
}

void PrintAddress(uint32_t ip) {
  for (int i = 0; i < 4; ++i) {
    if (i != 0) Print(".");
    PrintNumber(ip >> (8 * i) & 255);
  }
}

size_t Length(const char* text) {
  size_t size = 0;
  while (text[size] != '\0') ++size;
  return size;
}

bool StartsWith(const char* text, const char* prefix) {
  for (; *prefix != '\0'; ++text, ++prefix) {
    if (*text != *prefix) return false;
  }
  return true;
}

bool Same(const char* a, const char* b) { return StartsWith(a, b) && Length(a) == Length(b); }

unsigned long ToNumber(const char* text) {
  unsigned long value = 0;
  for (; *text >= '0' && *text <= '9'; ++text) value = value * 10 + static_cast<unsigned long>(*text - '0');
  return value;
}

}  // namespace guest
