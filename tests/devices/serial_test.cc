#include "devices/serial.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <string_view>
#include <thread>

#include "tests/devices/register_access.h"

namespace faultline {
namespace {

enum : uint64_t { kData, kIer, kIir, kLcr, kMcr, kLsr, kMsr, kScratch };
constexpr uint64_t kFcr = kIir;

class RecordedLine final : public IrqLine {
 public:
  void SetLevel(bool asserted) noexcept override {
    level = asserted;
    ++changes;
  }
  bool level = false;
  int changes = 0;
};

class SerialTest : public testing::Test {
 protected:
  uint64_t Get(uint64_t index) { return ReadRegister(serial_, index, 1); }
  void Set(uint64_t index, uint64_t value) { WriteRegister(serial_, index, 1, value); }
  size_t Type(std::string_view text) { return serial_.QueueInput(std::as_bytes(std::span(text))); }
  std::string Receive() {
    std::string text;
    while ((Get(kLsr) & 0x01) != 0) text.push_back(static_cast<char>(Get(kData)));
    return text;
  }

  std::string output_;
  RecordedLine line_;
  Serial serial_{[this](std::span<const std::byte> bytes) {
                   for (const std::byte b : bytes) output_.push_back(static_cast<char>(b));
                 },
                 &line_};
};

TEST_F(SerialTest, WhatTheGuestSendsReachesTheHost) {
  for (const char c : std::string_view("hello")) Set(kData, static_cast<uint8_t>(c));
  EXPECT_EQ(output_, "hello");
  EXPECT_EQ(Get(kLsr) & 0x60, 0x60U) << "the transmitter is always empty";
}

TEST_F(SerialTest, WhatTheHostQueuesReachesTheGuestInOrder) {
  EXPECT_EQ(Type("line\n"), 5U);
  EXPECT_EQ(Receive(), "line\n");
  EXPECT_EQ(Get(kLsr) & 0x01, 0U);
}

TEST_F(SerialTest, InputLongerThanTheFifoWaitsForRoomAndLosesNothing) {
  Set(kFcr, 0x01);
  std::string text;
  for (int i = 0; i < 1000; ++i) text.push_back(static_cast<char>('a' + i % 26));
  EXPECT_EQ(Type(text), text.size());
  EXPECT_EQ(Receive(), text);
}

TEST_F(SerialTest, InputBeyondTheQueueIsHandedBackToTheCaller) {
  const std::string full(Serial::kMaxQueuedInput, 'x');
  EXPECT_EQ(Type(full), full.size());
  EXPECT_EQ(serial_.InputSpace(), 1U) << "one byte has moved on into the receive buffer";
  EXPECT_EQ(Type("yz"), 1U);
  EXPECT_EQ(Type("z"), 0U);
  EXPECT_EQ(Receive(), full + "y");
  EXPECT_EQ(serial_.InputSpace(), Serial::kMaxQueuedInput);
}

TEST_F(SerialTest, ReadingAnEmptyReceiverGivesZero) { EXPECT_EQ(Get(kData), 0U); }

TEST_F(SerialTest, TheDivisorLatchHidesDataAndInterruptEnable) {
  Set(kIer, 0x05);
  Set(kLcr, 0x83);
  Set(kData, 0x34);
  Set(kIer, 0x12);
  EXPECT_EQ(output_, "") << "a divisor byte is not sent";
  EXPECT_EQ(Get(kData), 0x34U);
  EXPECT_EQ(Get(kIer), 0x12U);
  Set(kLcr, 0x03);
  EXPECT_EQ(Get(kIer), 0x05U);
  EXPECT_EQ(Get(kLcr), 0x03U);
}

TEST_F(SerialTest, ReservedInterruptEnableAndModemControlBitsReadZero) {
  Set(kIer, 0xff);
  EXPECT_EQ(Get(kIer), 0x0fU);
  Set(kMcr, 0xff);
  EXPECT_EQ(Get(kMcr), 0x1fU);
}

TEST_F(SerialTest, TheScratchRegisterKeepsWhatIsWritten) {
  Set(kScratch, 0xa7);
  EXPECT_EQ(Get(kScratch), 0xa7U);
}

TEST_F(SerialTest, TheFifosShowInTheInterruptIdentification) {
  EXPECT_EQ(Get(kIir), 0x01U);
  Set(kFcr, 0x01);
  EXPECT_EQ(Get(kIir), 0xc1U) << "a 16550A, and nothing pending";
  Set(kFcr, 0x00);
  EXPECT_EQ(Get(kIir), 0x01U);
}

TEST_F(SerialTest, ReceivedDataInterruptsFromTheTriggerLevelOn) {
  Set(kFcr, 0x81);  // trigger at 8
  Set(kIer, 0x01);
  Type("1234567");
  EXPECT_EQ(Get(kIir) & 0x0f, 0x0cU) << "below the level: character time-out";
  Type("8");
  EXPECT_EQ(Get(kIir) & 0x0f, 0x04U);
  EXPECT_TRUE(line_.level);
  Receive();
  EXPECT_EQ(Get(kIir) & 0x0f, 0x01U);
  EXPECT_FALSE(line_.level);
}

TEST_F(SerialTest, WithoutFifosOneByteInterrupts) {
  Set(kIer, 0x01);
  Type("a");
  EXPECT_EQ(Get(kIir), 0x04U);
  Get(kData);
  EXPECT_EQ(Get(kIir), 0x01U);
}

TEST_F(SerialTest, AnEmptyTransmitterInterruptsOnceForEachByteAndOnceWhenEnabled) {
  Set(kIer, 0x02);
  EXPECT_TRUE(line_.level);
  EXPECT_EQ(Get(kIir) & 0x0f, 0x02U);
  EXPECT_EQ(Get(kIir) & 0x0f, 0x01U) << "reading it acknowledged it";
  EXPECT_FALSE(line_.level);
  Set(kData, 'x');
  EXPECT_EQ(Get(kIir) & 0x0f, 0x02U);
}

TEST_F(SerialTest, DisabledSourcesDoNotInterrupt) {
  Type("a");
  Set(kData, 'x');
  EXPECT_EQ(Get(kIir), 0x01U);
  EXPECT_EQ(line_.changes, 0);
}

TEST_F(SerialTest, ReceivedDataOutranksAnEmptyTransmitter) {
  Set(kIer, 0x03);
  Type("a");
  EXPECT_EQ(Get(kIir), 0x04U);
  Get(kData);
  EXPECT_EQ(Get(kIir), 0x02U);
}

TEST_F(SerialTest, LoopbackReturnsWhatIsSentAndShowsNothingOutside) {
  Set(kMcr, 0x10);
  Set(kData, 'q');
  EXPECT_EQ(output_, "");
  EXPECT_EQ(Get(kLsr) & 0x01, 0x01U);
  EXPECT_EQ(Get(kData), static_cast<uint64_t>('q'));
}

TEST_F(SerialTest, LoopbackTurnsModemControlIntoModemStatus) {
  EXPECT_EQ(Get(kMsr) & 0xf0, 0xb0U) << "a terminal is attached";
  Set(kMcr, 0x10);
  Get(kMsr);
  struct {
    uint8_t control, status;
  } const kPairs[] = {{0x01, 0x20}, {0x02, 0x10}, {0x04, 0x40}, {0x08, 0x80}};
  for (const auto& [control, status] : kPairs) {
    Set(kMcr, 0x10 | control);
    EXPECT_EQ(Get(kMsr) & 0xf0, status) << int{control};
  }
}

TEST_F(SerialTest, ChangedModemLinesAreReportedOnceAndInterrupt) {
  Set(kMcr, 0x10);
  Get(kMsr);
  Set(kIer, 0x08);
  Set(kMcr, 0x11);
  EXPECT_EQ(Get(kIir) & 0x0f, 0x00U);
  EXPECT_EQ(Get(kMsr) & 0x0f, 0x02U) << "DSR changed";
  EXPECT_EQ(Get(kMsr) & 0x0f, 0x00U);
  EXPECT_EQ(Get(kIir) & 0x0f, 0x01U);
}

TEST_F(SerialTest, TheRingLineReportsItsTrailingEdgeOnly) {
  Set(kMcr, 0x10);
  Get(kMsr);
  Set(kMcr, 0x14);
  EXPECT_EQ(Get(kMsr) & 0x0f, 0x00U);
  Set(kMcr, 0x10);
  EXPECT_EQ(Get(kMsr) & 0x0f, 0x04U);
}

TEST_F(SerialTest, InputThatArrivesDuringLoopbackIsKept) {
  Set(kMcr, 0x10);
  Type("later");
  EXPECT_EQ(Get(kLsr) & 0x01, 0U);
  Set(kMcr, 0x00);
  EXPECT_EQ(Receive(), "later");
}

TEST_F(SerialTest, OverrunInLoopbackIsReportedOnceAndInterruptsFirst) {
  Set(kFcr, 0x01);
  Set(kIer, 0x05);
  Set(kMcr, 0x10);
  for (const char c : std::string_view("abcdefghijklmnopq")) Set(kData, static_cast<uint8_t>(c));
  EXPECT_EQ(Get(kIir) & 0x0f, 0x06U);
  EXPECT_EQ(Get(kLsr) & 0x02, 0x02U);
  EXPECT_EQ(Get(kLsr) & 0x02, 0x00U);
  EXPECT_EQ(Receive(), "abcdefghijklmnop") << "the FIFO keeps the older bytes";
}

TEST_F(SerialTest, WithoutFifosAnOverrunKeepsTheNewerByte) {
  Set(kMcr, 0x10);
  Set(kData, 'a');
  Set(kData, 'b');
  EXPECT_EQ(Get(kLsr) & 0x02, 0x02U);
  EXPECT_EQ(Get(kData), static_cast<uint64_t>('b'));
}

TEST_F(SerialTest, ClearingTheReceiveFifoDropsItsBytesOnly) {
  Set(kFcr, 0x01);
  Type("0123456789abcdefREST");
  Set(kFcr, 0x03);
  EXPECT_EQ(Receive(), "REST");
}

TEST_F(SerialTest, StatusRegistersIgnoreWrites) {
  const uint64_t lsr = Get(kLsr);
  const uint64_t msr = Get(kMsr);
  Set(kLsr, 0xff);
  Set(kMsr, 0xff);
  EXPECT_EQ(Get(kLsr), lsr);
  EXPECT_EQ(Get(kMsr), msr);
}

TEST_F(SerialTest, AWideAccessTouchesConsecutiveRegisters) {
  WriteRegister(serial_, kLcr, 2, 0x0b03);
  EXPECT_EQ(Get(kLcr), 0x03U);
  EXPECT_EQ(Get(kMcr), 0x0bU);
  EXPECT_EQ(ReadRegister(serial_, kLcr, 2), 0x0b03U);
  WriteRegister(serial_, kScratch, 4, 0x11223344);
  EXPECT_EQ(ReadRegister(serial_, kScratch, 2), 0xff44U) << "past the last register there is nothing";
}

TEST(Serial, APortWithoutAHostSideDropsOutput) {
  Serial serial(nullptr);
  WriteRegister(serial, kData, 1, 'x');
  EXPECT_EQ(ReadRegister(serial, kLsr, 1) & 0x60, 0x60U);
}

TEST(Serial, InputAndOutputFromSeveralThreadsLoseNothing) {
  std::atomic<size_t> sent{0};
  Serial serial([&](std::span<const std::byte> bytes) { sent += bytes.size(); });
  WriteRegister(serial, kFcr, 1, 0x01);
  constexpr size_t kBytes = 20000;
  std::thread typist([&] {
    const std::byte byte{'i'};
    for (size_t i = 0; i < kBytes;) i += serial.QueueInput({&byte, 1});
  });
  std::thread sender([&] {
    for (size_t i = 0; i < kBytes; ++i) WriteRegister(serial, kData, 1, 'o');
  });
  size_t received = 0;
  while (received < kBytes) {
    if ((ReadRegister(serial, kLsr, 1) & 0x01) == 0) {
      std::this_thread::yield();
      continue;
    }
    EXPECT_EQ(ReadRegister(serial, kData, 1), static_cast<uint64_t>('i'));
    ++received;
  }
  typist.join();
  sender.join();
  EXPECT_EQ(sent, kBytes);
}

}  // namespace
}  // namespace faultline
