#include "guestmem/backing.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>

#include "guestmem/error.h"

namespace faultline {
namespace {

// munmap frees page tables under a lock that faults elsewhere may wait for: in steps.
constexpr Bytes kUnmapStep = 256_MiB;
constexpr int kProtection = PROT_READ | PROT_WRITE;
// How often a call that can only fail for a passing reason is made.
constexpr unsigned kAttempts = 8;

bool Passing(int result) { return result == -EINTR || result == -EAGAIN; }

// A mapped range that unmaps itself. Move-only.
class Mapping {
 public:
  Mapping(Host& host, HvaRange range) : host_(&host), range_(range) {}
  Mapping(Mapping&& other) noexcept : host_(other.host_), range_(other.range_) { other.range_.size = Bytes(0); }
  Mapping& operator=(Mapping&&) = delete;
  ~Mapping() {
    for (Bytes at; at < range_.size; at += kUnmapStep) {
      const HvaRange step{range_.start + at, std::min(kUnmapStep, range_.size - at)};
      for (unsigned attempt = 0; attempt < kAttempts && host_->Munmap(step) < 0; ++attempt) {
      }
    }
  }
  HvaRange range() const { return range_; }
  // Drops what lies outside `part`.
  void Trim(HvaRange part) {
    Mapping head(*host_, {range_.start, part.start - range_.start});
    Mapping tail(*host_, {part.end(), range_.end() - part.end()});
    range_ = part;
  }

 private:
  Host* host_;
  HvaRange range_;
};

Mapping MapOrThrow(Host& host, const char* what, Bytes size, int flags, int fd) {
  // Aligned by over-reserving, so that leaf tables match the host's page tables.
  const Bytes reserve = size + kLeafSpan;
  const int64_t hole = host.Mmap(0, reserve, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, Bytes(0));
  if (hole < 0) {
    throw Error(std::string("cannot reserve address space for ") + what + ": " + ErrnoText(static_cast<int>(-hole)));
  }
  Mapping mapping(host, {Hva(static_cast<uint64_t>(hole)), reserve});
  mapping.Trim({Hva(AlignUp(Bytes(static_cast<uint64_t>(hole)), kLeafSpan).value), size});
  const int64_t mapped =
      host.Mmap(mapping.range().start.value, size, kProtection, flags | MAP_FIXED | MAP_NORESERVE, fd, Bytes(0));
  if (mapped < 0) throw Error(std::string("cannot map ") + what + ": " + ErrnoText(static_cast<int>(-mapped)));
  return mapping;
}

class MappedBacking : public Backing {
 public:
  MappedBacking(Host& host, Mapping mapping, Bytes granule, bool userfault_capable)
      : Backing(mapping.range(), granule, userfault_capable), host_(host), mapping_(std::move(mapping)) {}

 protected:
  Host& host_;
  Mapping mapping_;
};

class AnonymousBacking final : public MappedBacking {
 public:
  using MappedBacking::MappedBacking;
  bool accepts_huge_pages() const override { return true; }
  int Discard(HvaRange part) noexcept override {
    int result = 0;
    for (unsigned attempt = 0; attempt < kAttempts; ++attempt) {
      result = host_.Madvise(part, MADV_DONTNEED);
      if (result >= 0) return 0;
    }
    return result;
  }
};

// memfd, huge pages and files: shared mappings of a file, from which holes are punched.
class SharedBacking final : public MappedBacking {
 public:
  SharedBacking(Host& host, FileDescriptor fd, Mapping mapping, Bytes granule, bool userfault_capable)
      : MappedBacking(host, std::move(mapping), granule, userfault_capable), fd_(std::move(fd)) {}
  int Discard(HvaRange part) noexcept override {
    int result = 0;
    for (unsigned attempt = 0; attempt < kAttempts; ++attempt) {
      if (userfault_capable_) {
        result = host_.Fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, part.start - range_.start,
                                 part.size);
      } else {
        // A user's file keeps its content: only this process lets go of it.
        result = host_.Madvise(part, MADV_DONTNEED);
      }
      if (result >= 0) return 0;
    }
    return result;
  }

 private:
  FileDescriptor fd_;
};

void GrowOrThrow(Host& host, int fd, Bytes size, const std::string& what) {
  int result = host.Ftruncate(fd, size);
  while (Passing(result)) result = host.Ftruncate(fd, size);
  if (result < 0) throw Error("cannot size " + what + ": " + ErrnoText(-result));
}

std::unique_ptr<Backing> CreateAnonymous(Host& host, Bytes size) {
  Mapping mapping = MapOrThrow(host, "anonymous memory", size, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  // userfaults come page by page; a huge page would be filled behind the books' back.
  host.Madvise(mapping.range(), MADV_NOHUGEPAGE);
  return std::make_unique<AnonymousBacking>(host, std::move(mapping), kPageSize, true);
}

std::unique_ptr<Backing> CreateMemfd(Host& host, Bytes size, bool huge) {
  const char* what = huge ? "huge pages" : "a memfd";
  if (huge && !IsAligned(size, kLeafSpan)) {
    throw UsageError("memory on huge pages must be a multiple of 2 MiB: round the size up");
  }
  const int fd = host.MemfdCreate("guest-memory", MFD_CLOEXEC | (huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0U));
  if (fd < 0) throw Error(std::string("cannot create ") + what + ": " + ErrnoText(-fd));
  FileDescriptor owned(host, fd);
  GrowOrThrow(host, fd, size, what);
  if (huge) {
    // Without a reservation a fault would find out too late that the pool is empty.
    const int64_t range = host.Mmap(0, size, kProtection, MAP_SHARED, fd, Bytes(0));
    if (range < 0) {
      throw Error("the host has too few free 2 MiB huge pages for " + std::to_string(size.value >> 20) +
                  " MiB: raise the sysctl vm.nr_hugepages or use another backing");
    }
    Mapping mapping(host, {Hva(static_cast<uint64_t>(range)), size});
    return std::make_unique<SharedBacking>(host, std::move(owned), std::move(mapping), kLeafSpan, true);
  }
  return std::make_unique<SharedBacking>(host, std::move(owned), MapOrThrow(host, what, size, MAP_SHARED, fd),
                                         kPageSize, true);
}

std::unique_ptr<Backing> CreateFile(Host& host, const std::string& path, Bytes size) {
  const std::string what = "backing file '" + path + "'";
  const int fd = host.Open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) throw Error("cannot open " + what + ": " + ErrnoText(-fd) + "; name a file that can be written");
  FileDescriptor owned(host, fd);
  struct stat info {};
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    throw Error(what + " is not a regular file: name one, or a path where one can be created");
  }
  if (static_cast<uint64_t>(info.st_size) < size.value) GrowOrThrow(host, fd, size, what);
  struct statfs fs {};
  const bool in_memory = fstatfs(fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
  return std::make_unique<SharedBacking>(host, std::move(owned), MapOrThrow(host, what.c_str(), size, MAP_SHARED, fd),
                                         kPageSize, in_memory);
}

}  // namespace

BackingSpec ParseBackingSpec(std::string_view text) {
  if (text == "anonymous") return {BackingKind::kAnonymous, {}};
  if (text == "memfd") return {BackingKind::kMemfd, {}};
  if (text == "hugetlb") return {BackingKind::kHugetlb, {}};
  if (text.starts_with("file:") && text.size() > 5) return {BackingKind::kFile, std::string(text.substr(5))};
  throw UsageError("memory backing '" + std::string(text) + "' is unknown: use anonymous, memfd, hugetlb or file:PATH");
}

std::string ToString(const BackingSpec& spec) {
  switch (spec.kind) {
    case BackingKind::kAnonymous:
      return "anonymous";
    case BackingKind::kMemfd:
      return "memfd";
    case BackingKind::kHugetlb:
      return "hugetlb";
    case BackingKind::kFile:
      return "file:" + spec.path;
  }
  return "unknown";
}

std::unique_ptr<Backing> Backing::Create(Host& host, const BackingSpec& spec, Bytes size) {
  switch (spec.kind) {
    case BackingKind::kAnonymous:
      return CreateAnonymous(host, size);
    case BackingKind::kMemfd:
      return CreateMemfd(host, size, /*huge=*/false);
    case BackingKind::kHugetlb:
      return CreateMemfd(host, size, /*huge=*/true);
    case BackingKind::kFile:
      return CreateFile(host, spec.path, size);
  }
  throw UsageError("unknown memory backing");
}

}  // namespace faultline
