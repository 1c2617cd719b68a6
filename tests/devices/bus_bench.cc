// What finding the device costs, with few and with many devices on the bus.
#include <benchmark/benchmark.h>

#include <array>

#include "devices/bus.h"

namespace faultline {
namespace {

class Silent final : public BusDevice {
 public:
  void Read(Bytes /*offset*/, std::span<std::byte> out) override { StoreLittleEndian(0, out); }
  void Write(Bytes /*offset*/, std::span<const std::byte> /*data*/) override {}
};

void BusRead(benchmark::State& state) {
  Bus bus;
  Silent device;
  const auto devices = static_cast<uint64_t>(state.range(0));
  for (uint64_t i = 0; i < devices; ++i) bus.Attach(i * 0x100, Bytes(8), device);
  std::array<std::byte, 4> out;
  uint64_t at = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(bus.Read(at * 0x100, out));
    at = (at + 7) % devices;
  }
}
BENCHMARK(BusRead)->Arg(4)->Arg(64)->Arg(1024);

}  // namespace
}  // namespace faultline

BENCHMARK_MAIN();
