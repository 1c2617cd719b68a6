// A Multiboot kernel of a few instructions, as a file: enough to end a PC in a chosen way.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

namespace faultline {

class TinyKernel {
 public:
  // `code` runs in 32-bit protected mode, paging off, no IDT (Multiboot 0.6.96 §3.2).
  explicit TinyKernel(std::vector<uint8_t> code) {
    constexpr uint32_t kAddress = 0x100000;
    constexpr uint32_t kElfHeader = 52;
    constexpr uint32_t kProgramHeader = 32;
    constexpr uint32_t kCodeOffset = kElfHeader + kProgramHeader + 12;
    constexpr uint32_t kMagic = 0x1badb002;
    std::vector<uint8_t> file = {0x7f, 'E', 'L', 'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    const auto put = [&file](uint64_t value, unsigned width) {
      for (unsigned i = 0; i < width; ++i) file.push_back(static_cast<uint8_t>(value >> (8 * i)));
    };
    put(2, 2);  // an executable
    put(3, 2);  // for the 386
    put(1, 4);
    put(kAddress + kCodeOffset, 4);
    put(kElfHeader, 4);
    put(0, 4);
    put(0, 4);
    put(kElfHeader, 2);
    put(kProgramHeader, 2);
    put(1, 2);
    put(0, 6);
    const auto size = static_cast<uint32_t>(kCodeOffset + code.size());
    put(1, 4);  // to be loaded, from the file's start
    put(0, 4);
    put(kAddress, 4);
    put(kAddress, 4);
    put(size, 4);
    put(size, 4);
    put(7, 4);
    put(0x1000, 4);
    put(kMagic, 4);
    put(0, 4);
    put(0 - uint64_t{kMagic}, 4);  // makes their sum 0
    file.insert(file.end(), code.begin(), code.end());

    char name[] = "/tmp/faultline-kernel-XXXXXX";
    const int fd = mkstemp(name);
    EXPECT_GE(fd, 0);
    close(fd);
    path_ = name;
    std::ofstream(path_, std::ios::binary)
        .write(reinterpret_cast<const char*>(file.data()), static_cast<std::streamsize>(file.size()));
  }
  ~TinyKernel() { unlink(path_.c_str()); }
  TinyKernel(const TinyKernel&) = delete;
  TinyKernel& operator=(const TinyKernel&) = delete;

  const std::string& path() const { return path_; }

  // mov dx, port; mov al, value; out dx, al; then for ever: jmp.
  static std::vector<uint8_t> WritePort(uint16_t port, uint8_t value) {
    return {0x66, 0xba, static_cast<uint8_t>(port), static_cast<uint8_t>(port >> 8), 0xb0, value, 0xee, 0xeb, 0xfe};
  }

 private:
  std::string path_;
};

}  // namespace faultline
