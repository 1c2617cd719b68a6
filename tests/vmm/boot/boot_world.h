// Guest memory without a guest, kernels of a few bytes, and a folder for files that are gone after the test.
#pragma once

#include <elf.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "guestmem/guest_memory.h"
#include "guestmem/listener.h"
#include "vmm/boot/boot.h"
#include "vmm/boot/linux_params.h"

namespace faultline {

using ByteVector = std::vector<std::byte>;

template <class T>
void Put(ByteVector& bytes, size_t at, const T& value) {
  if (bytes.size() < at + sizeof(value)) bytes.resize(at + sizeof(value));
  std::memcpy(bytes.data() + at, &value, sizeof(value));
}

// An ELF file with one segment, whose bytes count up; `memory_size` is twice that.
struct ElfMaker {
  uint64_t address = 0x1000000;
  uint64_t entry = 0x1000010;
  size_t payload = 0x2000;
  std::optional<uint32_t> pvh_entry = std::nullopt;
  size_t payload_offset = 0x1000;
  uint16_t machine = EM_X86_64;

  ByteVector Make() const {
    ByteVector file;
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_type = ET_EXEC;
    header.e_machine = machine;
    header.e_entry = entry;
    header.e_phoff = sizeof(header);
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = pvh_entry ? 2 : 1;
    Put(file, 0, header);
    Elf64_Phdr load{};
    load.p_type = PT_LOAD;
    load.p_offset = payload_offset;
    load.p_paddr = address;
    load.p_filesz = payload;
    load.p_memsz = payload * 2;
    Put(file, sizeof(header), load);
    if (pvh_entry) {
      Elf64_Phdr note{};
      note.p_type = PT_NOTE;
      note.p_offset = 0x800;
      note.p_filesz = 20;
      Put(file, sizeof(header) + sizeof(load), note);
      Put(file, note.p_offset, std::array<uint32_t, 3>{4, 4, 18});
      Put(file, note.p_offset + 12, std::array<char, 4>{'X', 'e', 'n', '\0'});
      Put(file, note.p_offset + 16, *pvh_entry);
    }
    for (size_t i = 0; i < payload; ++i) Put(file, payload_offset + i, static_cast<uint8_t>(i));
    return file;
  }
};

// A bzImage with one setup sector.
struct BzImageMaker {
  uint16_t version = 0x20f;
  uint16_t xload_flags = 1;
  uint32_t init_size = 0x8000;
  uint32_t command_line_max = 2047;
  size_t payload = 0x3000;

  ByteVector Make() const {
    ByteVector file(1024);
    Put(file, 0x1f1, uint8_t{1});
    Put(file, zero_page::kBootFlag, zero_page::kBootFlagValue);
    Put(file, 0x200, uint16_t{0x66eb});
    Put(file, zero_page::kHeaderMagic, zero_page::kMagic);
    Put(file, zero_page::kVersion, version);
    Put(file, zero_page::kLoadFlags, uint8_t{1});
    Put(file, zero_page::kInitrdMax, uint32_t{0x7fffffff});
    Put(file, zero_page::kXloadFlags, xload_flags);
    Put(file, zero_page::kCommandLineSize, command_line_max);
    Put(file, zero_page::kPreferredAddress, uint64_t{0x1000000});
    Put(file, zero_page::kInitSize, init_size);
    for (size_t i = 0; i < payload; ++i) Put(file, 1024 + i, static_cast<uint8_t>(i));
    return file;
  }
};

class BootWorld {
 public:
  explicit BootWorld(Bytes ram = 64_MiB) : folder_(MakeFolder()), memory_(Host::System(), listener_, PlainMemory()) {
    RegionSpec spec;
    spec.name = "ram";
    spec.gpa = {Gpa(0), ram};
    memory_.Plug(spec);
    request.ram = {spec.gpa};
  }
  ~BootWorld() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  BootWorld(const BootWorld&) = delete;
  BootWorld& operator=(const BootWorld&) = delete;

  const std::filesystem::path& folder() const { return folder_; }

  std::string File(const std::string& name, const ByteVector& bytes) {
    const auto path = folder_ / name;
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return path;
  }

  LoadedKernel Load() { return LoadKernel(Host::System(), memory_, request); }
  // The sentence that loading ends with; empty when it succeeds.
  std::string Complaint(Host& host = Host::System()) {
    try {
      LoadKernel(host, memory_, request);
      return "";
    } catch (const std::exception& error) {
      return error.what();
    }
  }

  template <class T>
  T At(uint64_t address) {
    T value{};
    if (memory_.Read(Gpa(address), std::as_writable_bytes(std::span(&value, 1))) != AccessResult::kOk) {
      throw std::runtime_error("no memory there");
    }
    return value;
  }
  std::string TextAt(uint64_t address) {
    std::string text;
    for (char c = At<char>(address); c != '\0'; c = At<char>(++address)) text += c;
    return text;
  }

  GuestMemory& memory() { return memory_; }

  BootRequest request;

 private:
  static std::filesystem::path MakeFolder() {
    std::string pattern = std::filesystem::temp_directory_path() / "boot_test.XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
    return pattern;
  }
  static GuestMemoryOptions PlainMemory() {
    GuestMemoryOptions options;
    options.userfault = false;
    return options;
  }

  const std::filesystem::path folder_;
  NullListener listener_;
  GuestMemory memory_;
};

}  // namespace faultline
