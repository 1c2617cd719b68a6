#include "vmm/kvm/system.h"

#include <fcntl.h>

#include <cerrno>
#include <string>
#include <utility>

#include "guestmem/error.h"

namespace faultline {
namespace {

constexpr char kDevice[] = "/dev/kvm";

std::string OpenFailure(int error) {
  switch (error) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
      return "/dev/kvm is not there: switch on virtualisation in the firmware and load a KVM module (modprobe "
             "kvm_intel or kvm_amd), or run `faultline storm --engine threads`, which needs no KVM";
    case EACCES:
    case EPERM:
      return "/dev/kvm is forbidden for this user: join the group that owns it (usermod -aG kvm USER, then log in "
             "again) or run as root";
    case EBUSY:
      return "/dev/kvm is busy: another hypervisor holds the processor's virtualisation; end it first";
    default:
      return "/dev/kvm cannot be opened (" + ErrnoText(error) + "): check that the KVM module is loaded and healthy";
  }
}

}  // namespace

KvmSystem::KvmSystem(Host& host) : host_(&host) {
  const int fd = host.Open(kDevice, O_RDWR | O_CLOEXEC, 0);
  if (fd < 0) throw Error(OpenFailure(-fd));
  fd_ = FileDescriptor(host, fd);

  const int version = host.Ioctl(fd, KVM_GET_API_VERSION, uintptr_t{0});
  if (version != KVM_API_VERSION) {
    throw Error("/dev/kvm speaks API version " + std::to_string(version) + " instead of " +
                std::to_string(KVM_API_VERSION) + ": run a Linux kernel of 2.6.22 or later");
  }
  const int run_size = host.Ioctl(fd, KVM_GET_VCPU_MMAP_SIZE, uintptr_t{0});
  if (run_size < static_cast<int>(sizeof(kvm_run))) {
    throw Error("/dev/kvm does not tell the size of a vCPU's shared page (" +
                (run_size < 0 ? ErrnoText(-run_size) : "too small") + "): the KVM module is not usable");
  }
  run_size_ = Bytes(run_size);
}

const kvm::CpuidList& KvmSystem::SupportedCpuid() const {
  MutexLock lock(mutex_);
  if (cpuid_) return *cpuid_;
  auto cpuid = std::make_unique<kvm::CpuidList>();
  cpuid->header.count = kvm::kMaxCpuidEntries;
  if (const int rc = host_->Ioctl(fd_.get(), kvm::kGetSupportedCpuid, cpuid.get()); rc < 0) {
    throw Error("/dev/kvm does not tell which CPU features it supports (" + ErrnoText(-rc) +
                "): the KVM module is not usable");
  }
  cpuid_ = std::move(cpuid);
  return *cpuid_;
}

std::vector<uint32_t> KvmSystem::MsrIndices() const {
  // Called with too little room, KVM says how much it takes.
  kvm::MsrListHeader header{0};
  int rc = host_->Ioctl(fd_.get(), kvm::kGetMsrIndexList, &header);
  std::vector<uint32_t> list(1 + size_t{header.count});
  if (rc == -E2BIG) {
    list[0] = header.count;
    rc = host_->Ioctl(fd_.get(), kvm::kGetMsrIndexList, list.data());
  }
  if (rc < 0) {
    throw Error("/dev/kvm does not tell which registers a saved vCPU has (" + ErrnoText(-rc) +
                "): the KVM module is not usable");
  }
  list.resize(1 + size_t{list[0]});
  list.erase(list.begin());
  return list;
}

int KvmSystem::CheckExtension(unsigned capability) const noexcept {
  const int rc = host_->Ioctl(fd_.get(), KVM_CHECK_EXTENSION, uintptr_t{capability});
  return rc < 0 ? 0 : rc;
}

bool KvmSystem::HasGibPages() const {
  const kvm::CpuidList& cpuid = SupportedCpuid();
  constexpr uint32_t kExtendedFeatures = 0x80000001;
  constexpr uint32_t kPdpe1Gb = 1U << 26;  // in EDX
  for (uint32_t i = 0; i < cpuid.header.count; ++i) {
    const kvm_cpuid_entry2& leaf = cpuid.entries[i];
    if (leaf.function == kExtendedFeatures) return (leaf.edx & kPdpe1Gb) != 0;
  }
  return false;
}

FileDescriptor KvmSystem::CreateVm() const {
  // EINTR: the kernel may be interrupted while it registers the VM's MMU notifier.
  constexpr int kTries = 8;
  int fd = -EINTR;
  for (int i = 0; i < kTries && fd == -EINTR; ++i) fd = host_->Ioctl(fd_.get(), KVM_CREATE_VM, uintptr_t{0});
  if (fd < 0) {
    throw Error("KVM made no VM (" + ErrnoText(-fd) +
                "): free memory, or end other VMs or the hypervisor that holds the processor");
  }
  return FileDescriptor(*host_, fd);
}

}  // namespace faultline
