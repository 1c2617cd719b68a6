// The peer: the userfault handler that everybody writes first. One thread, one message a read, one page a message.
//
// Serves one range of anonymous memory from construction to destruction. Uses the system directly.
#pragma once

#include <cstddef>
#include <cstdint>
#include <thread>

namespace faultline::bench {

class OnePageHandler {
 public:
  // Exits with 1 and a sentence when there is no userfaultfd. `cpu` pins the thread; -1 lets it float.
  OnePageHandler(std::byte* memory, uint64_t size, int cpu);
  ~OnePageHandler();
  OnePageHandler(const OnePageHandler&) = delete;
  OnePageHandler& operator=(const OnePageHandler&) = delete;

 private:
  void Serve();

  int uffd_ = -1;
  int stop_ = -1;
  int cpu_;
  std::thread thread_;
};

}  // namespace faultline::bench
