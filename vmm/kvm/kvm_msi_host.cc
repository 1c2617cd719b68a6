#include "vmm/kvm/kvm_msi_host.h"

#include <sys/eventfd.h>

#include <string>

#include "guestmem/error.h"

namespace faultline {
namespace {

class IrqFdVector final : public MsiVector {
 public:
  IrqFdVector(const KvmVm& vm, IrqRoutes& routes) : vm_(&vm), routes_(&routes), gsi_(routes.Allocate()) {
    const int fd = vm.host().EventFd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0) {
      routes_->Free(gsi_);
      throw Error("the host gave no eventfd for an interrupt (" + ErrnoText(-fd) +
                  "): raise the limit on open files (ulimit -n)");
    }
    event_ = FileDescriptor(vm.host(), fd);
  }
  ~IrqFdVector() override {
    Connect(false);
    routes_->Free(gsi_);
  }
  IrqFdVector(const IrqFdVector&) = delete;
  IrqFdVector& operator=(const IrqFdVector&) = delete;

  void SetMessage(std::optional<MsiMessage> message) override {
    // Disconnected first, so that no trigger meets a GSI without a route, or with the old one.
    if (!message) Connect(false);
    int rc = routes_->Set(gsi_, message);
    if (rc >= 0 && message) rc = Connect(true);
    if (rc >= 0) return;
    Connect(false);
    throw Error("KVM refused to route an interrupt (" + ErrnoText(-rc) + "): give the VM fewer devices");
  }

  void Trigger() noexcept override {
    const uint64_t one = 1;
    // Nobody reads an eventfd that is not connected: it only counts.
    static_cast<void>(vm_->host().Write(event_.get(), &one, sizeof(one)));
  }

 private:
  int Connect(bool on) noexcept {
    if (on == connected_) return 0;
    if (on) {
      // What was triggered while masked stays unsent.
      uint64_t count = 0;
      static_cast<void>(vm_->host().Read(event_.get(), &count, sizeof(count)));
    }
    kvm_irqfd request{};
    request.fd = static_cast<uint32_t>(event_.get());
    request.gsi = gsi_;
    request.flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN;
    const int rc = vm_->Ioctl(KVM_IRQFD, &request);
    if (rc >= 0) connected_ = on;
    return rc;
  }

  const KvmVm* vm_;
  IrqRoutes* routes_;
  const uint32_t gsi_;
  FileDescriptor event_;
  bool connected_ = false;  // guarded as SetMessage is: by its caller
};

}  // namespace

std::unique_ptr<MsiVector> KvmMsiHost::NewVector() { return std::make_unique<IrqFdVector>(*vm_, *routes_); }

void KvmMsiHost::Send(const MsiMessage& message) noexcept {
  kvm_msi request{};
  request.address_lo = static_cast<uint32_t>(message.address);
  request.address_hi = static_cast<uint32_t>(message.address >> 32);
  request.data = message.data;
  // A refusal is what a guest gets for a message to no CPU.
  vm_->Ioctl(KVM_SIGNAL_MSI, &request);
}

}  // namespace faultline
