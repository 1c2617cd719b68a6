#include "vmm/kvm/kvm_doorbell_host.h"

#include <sys/eventfd.h>

#include "guestmem/error.h"

namespace faultline {
namespace {

class IoEventFd final : public Doorbell {
 public:
  IoEventFd(const KvmVm& vm, const kvm_ioeventfd& request) : vm_(&vm), request_(request) {
    const int fd = vm.host().EventFd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0) {
      throw Error("the host gave no eventfd for a device (" + ErrnoText(-fd) +
                  "): raise the limit on open files (ulimit -n)");
    }
    event_ = FileDescriptor(vm.host(), fd);
    request_.fd = fd;
    if (const int rc = vm.Ioctl(KVM_IOEVENTFD, &request_); rc < 0) {
      throw Error("KVM refused to watch a device's register (" + ErrnoText(-rc) + ")");
    }
  }
  ~IoEventFd() override {
    request_.flags |= KVM_IOEVENTFD_FLAG_DEASSIGN;
    vm_->Ioctl(KVM_IOEVENTFD, &request_);
  }
  IoEventFd(const IoEventFd&) = delete;
  IoEventFd& operator=(const IoEventFd&) = delete;

  int fd() const override { return event_.get(); }

 private:
  const KvmVm* vm_;
  kvm_ioeventfd request_;
  FileDescriptor event_;
};

}  // namespace

std::unique_ptr<Doorbell> KvmDoorbellHost::Add(AddressSpace space, uint64_t address, unsigned width,
                                               std::optional<uint32_t> match) {
  kvm_ioeventfd request{};
  request.addr = address;
  request.len = width;
  if (space == AddressSpace::kPort) request.flags |= KVM_IOEVENTFD_FLAG_PIO;
  if (match) {
    request.flags |= KVM_IOEVENTFD_FLAG_DATAMATCH;
    request.datamatch = *match;
  }
  return std::make_unique<IoEventFd>(*vm_, request);
}

}  // namespace faultline
