#include "vmm/boot/elf.h"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "guestmem/error.h"

namespace faultline {
namespace {

constexpr uint32_t kPvhNoteType = 18;  // XEN_ELFNOTE_PHYS32_ENTRY (Xen public/elfnote.h)
constexpr unsigned kMaxProgramHeaders = 128;
constexpr Bytes kMaxNotes = 64_KiB;

// A program header, whichever class it came in.
struct ProgramHeader {
  uint32_t type = 0;
  uint64_t offset = 0;
  uint64_t physical = 0;
  uint64_t file_size = 0;
  uint64_t memory_size = 0;
};

struct Header {
  bool is_64bit = false;
  uint16_t type = 0;
  uint16_t machine = 0;
  uint64_t entry = 0;
  uint64_t table_offset = 0;
  uint16_t entry_size = 0;
  uint16_t entries = 0;
};

template <class Ehdr>
Header ReadHeaderAs(const ImageSource& source) {
  const auto raw = source.ReadValue<Ehdr>(Bytes(0));
  Header header;
  header.type = raw.e_type;
  header.machine = raw.e_machine;
  header.entry = raw.e_entry;
  header.table_offset = raw.e_phoff;
  header.entry_size = raw.e_phentsize;
  header.entries = raw.e_phnum;
  return header;
}

Header ReadHeader(const ImageSource& source) {
  const auto ident = source.ReadValue<std::array<unsigned char, EI_NIDENT>>(Bytes(0));
  if (ident[EI_DATA] != ELFDATA2LSB || (ident[EI_CLASS] != ELFCLASS64 && ident[EI_CLASS] != ELFCLASS32)) {
    throw Error(source.name() + " is an ELF file for another kind of machine; give an x86 kernel");
  }
  const bool is_64bit = ident[EI_CLASS] == ELFCLASS64;
  Header header = is_64bit ? ReadHeaderAs<Elf64_Ehdr>(source) : ReadHeaderAs<Elf32_Ehdr>(source);
  header.is_64bit = is_64bit;
  if (header.machine != EM_X86_64 && header.machine != EM_386) {
    throw Error(source.name() + " is an ELF file for another processor; give an x86 kernel");
  }
  if (header.type != ET_EXEC && header.type != ET_DYN) {
    throw Error(source.name() + " is an ELF file but no executable; give a kernel");
  }
  const size_t expected = is_64bit ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
  if (header.entries == 0 || header.entries > kMaxProgramHeaders || header.entry_size != expected) {
    throw Error(source.name() + " is an ELF file without usable program headers; give a kernel");
  }
  return header;
}

template <class Phdr>
ProgramHeader ReadProgramHeaderAs(const ImageSource& source, Bytes at) {
  const auto raw = source.ReadValue<Phdr>(at);
  return {raw.p_type, raw.p_offset, raw.p_paddr, raw.p_filesz, raw.p_memsz};
}

ProgramHeader ReadProgramHeader(const ImageSource& source, const Header& header, unsigned index) {
  if (header.table_offset > source.size().value) {
    throw Error(source.name() + " is truncated: it ends before its program headers; copy it again");
  }
  const Bytes at(header.table_offset + uint64_t{index} * header.entry_size);
  return header.is_64bit ? ReadProgramHeaderAs<Elf64_Phdr>(source, at) : ReadProgramHeaderAs<Elf32_Phdr>(source, at);
}

ElfSegment ToSegment(const ImageSource& source, const ProgramHeader& header) {
  if (header.offset > source.size().value || header.file_size > source.size().value - header.offset) {
    throw Error(source.name() + " is truncated: it ends before its last segment; copy it again");
  }
  const auto memory = GpaRange::Make(Gpa(header.physical), Bytes(header.memory_size));
  if (header.file_size > header.memory_size || !memory) {
    throw Error(source.name() + " is a damaged ELF file: one of its segments contradicts itself; copy it again");
  }
  return {Bytes(header.offset), Bytes(header.file_size), *memory};
}

uint32_t WordAt(std::span<const std::byte> bytes, size_t at) {
  uint32_t word = 0;
  std::memcpy(&word, bytes.data() + at, sizeof(word));
  return word;
}

// The entry of a PVH note among the notes of one segment.
std::optional<Gpa> FindPvhNote(const ImageSource& source, const ProgramHeader& header) {
  if (header.offset > source.size().value) return std::nullopt;
  const Bytes size = std::min({Bytes(header.file_size), kMaxNotes, source.size() - Bytes(header.offset)});
  std::vector<std::byte> notes(size.value);
  source.Read(Bytes(header.offset), notes);
  constexpr size_t kNoteHeader = 12;
  constexpr std::string_view kXen{"Xen\0", 4};
  std::span<const std::byte> rest = notes;
  while (rest.size() >= kNoteHeader) {
    const uint64_t name_size = WordAt(rest, 0);
    const uint64_t value_size = WordAt(rest, 4);
    const uint32_t type = WordAt(rest, 8);
    const uint64_t value_at = kNoteHeader + AlignUp(Bytes(name_size), Bytes(4)).value;
    const uint64_t next = value_at + AlignUp(Bytes(value_size), Bytes(4)).value;
    if (next > rest.size()) break;
    const bool is_xen = name_size == kXen.size() && std::memcmp(rest.data() + kNoteHeader, kXen.data(), 4) == 0;
    if (is_xen && type == kPvhNoteType && (value_size == 4 || value_size == 8)) {
      uint64_t entry = 0;
      std::memcpy(&entry, rest.data() + value_at, value_size);
      return Gpa(entry);
    }
    rest = rest.subspan(next);
  }
  return std::nullopt;
}

}  // namespace

GpaRange ElfImage::extent() const {
  Gpa start = segments.front().memory.start;
  Gpa end = segments.front().memory.end();
  for (const ElfSegment& segment : segments) {
    start = std::min(start, segment.memory.start);
    end = std::max(end, segment.memory.end());
  }
  return {start, end - start};
}

bool LooksLikeElf(const ImageSource& source) {
  if (source.size() < Bytes(EI_NIDENT)) return false;
  const auto magic = source.ReadValue<std::array<char, SELFMAG>>(Bytes(0));
  return std::memcmp(magic.data(), ELFMAG, SELFMAG) == 0;
}

ElfImage ParseElf(const ImageSource& source) {
  const Header header = ReadHeader(source);
  ElfImage elf;
  elf.is_64bit = header.is_64bit;
  elf.entry = Gpa(header.entry);
  for (unsigned i = 0; i < header.entries; ++i) {
    const ProgramHeader program = ReadProgramHeader(source, header, i);
    if (program.type == PT_LOAD && program.memory_size != 0) elf.segments.push_back(ToSegment(source, program));
    if (program.type == PT_NOTE && !elf.pvh_entry) elf.pvh_entry = FindPvhNote(source, program);
  }
  if (elf.segments.empty()) throw Error(source.name() + " is an ELF file with nothing to load; give a kernel");
  return elf;
}

void LoadElf(const ImageSource& source, const ElfImage& elf, BootMemory& memory) {
  memory.Claim(elf.extent(), source.name());
  for (const ElfSegment& segment : elf.segments) {
    memory.Copy(source, segment.offset, segment.file_size, segment.memory.start);
    memory.Zero({segment.memory.start + segment.file_size, segment.memory.size - segment.file_size});
  }
}

}  // namespace faultline
