// A bare KVM guest whose vCPUs do nothing but touch pages in an order the host gives: the yardstick under every
// way of backing its window.
//
// Owned by one thread, which calls everything; Touch runs the vCPUs on threads of their own and waits for them.
// Uses KVM directly, without any of the project's wrappers: what is compared must not be part of the ruler.
// The guest code runs at CPL 3 in 64-bit mode (natively even where KVM interprets kernel-mode code) and exits through
// one `out`. There is no interrupt controller.
#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <span>
#include <vector>

namespace faultline::bench {

class TouchingGuest {
 public:
  static constexpr uint64_t kWindow = 1ULL << 30;  // guest-physical and guest-virtual
  static constexpr uint64_t kMaxWindow = 1ULL << 30;
  static constexpr uint64_t kBeside = 8ULL << 30;                       // guest-physical only
  static constexpr uint64_t kMaxPages = 512 * 1024 / sizeof(uint32_t);  // of all vCPUs together, in one Touch

  // Prints why and exits with 1 when KVM cannot be had: a benchmark has nothing better to do.
  explicit TouchingGuest(unsigned vcpus);
  ~TouchingGuest();
  TouchingGuest(const TouchingGuest&) = delete;
  TouchingGuest& operator=(const TouchingGuest&) = delete;

  // Maps host memory at kWindow, in its own memslot; Unmap deletes the slot.
  void Map(void* memory, uint64_t size);
  void Unmap();
  // Maps host memory at kBeside, which no vCPU touches, in another memslot.
  void MapBeside(void* memory, uint64_t size);
  void UnmapBeside();

  // Pins vCPU threads to this host CPU; -1 lets them float.
  void SetCpu(int cpu) { cpu_ = cpu; }

  // Each vCPU writes one word into each page of its share of `order` (page numbers in the window), the shares being
  // consecutive pieces. Returns wall time in ns, from the first vCPU's entry to the last one's exit.
  uint64_t Touch(std::span<const uint32_t> order);
  // How long each touch of the last Touch took as the guest saw it, in ns.
  std::vector<uint64_t> LastLatencies() const;

 private:
  void SetSlot(uint32_t slot, uint64_t gpa, void* memory, uint64_t size);

  struct Cpu {
    int fd = -1;
    kvm_run* run = nullptr;
  };

  int vm_ = -1;
  uint64_t run_size_ = 0;
  std::byte* boot_ = nullptr;
  std::vector<Cpu> cpus_;
  int cpu_ = -1;
  uint64_t tsc_khz_ = 1;
  size_t touched_ = 0;
};

}  // namespace faultline::bench
