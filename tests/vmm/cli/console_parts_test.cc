#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "vmm/cli/console/escape_filter.h"
#include "vmm/cli/console/input_feed.h"
#include "vmm/cli/console/queued_writer.h"

namespace faultline {
namespace {

using std::chrono::milliseconds;

EscapeFilter::Result Type(EscapeFilter& filter, std::string_view keys) { return filter.Feed(keys); }
std::span<const std::byte> Raw(std::string_view text) { return std::as_bytes(std::span(text)); }

TEST(EscapeFilter, LetsEverythingThroughButItsSequences) {
  EscapeFilter filter;
  EXPECT_EQ(Type(filter, "mem\r\x03\x1a\x04").to_guest, "mem\r\x03\x1a\x04");
  EXPECT_EQ(Type(filter, "a\x01\x01z").to_guest, "a\x01z");
  EXPECT_EQ(Type(filter, "\x01y").to_guest, "");
}

TEST(EscapeFilter, FindsASequenceTypedInTwoReads) {
  EscapeFilter filter;
  EXPECT_FALSE(Type(filter, "ab\x01").quit);
  const auto result = Type(filter, "xcd");
  EXPECT_TRUE(result.quit);
  EXPECT_EQ(result.to_guest, "");
  EXPECT_TRUE(Type(filter, "\x01h").help);
  EXPECT_EQ(Type(filter, "x").to_guest, "x") << "a plain x is the guest's";
}

TEST(InputFeed, OffersWhatTheGuestDidNotTakeAgainInOrder) {
  EventLoop loop;
  std::string got;
  std::vector<bool> reading;
  size_t room = 3;
  InputFeed feed(
      loop,
      [&](std::span<const std::byte> data) {
        const size_t n = std::min(room, data.size());
        got.append(reinterpret_cast<const char*>(data.data()), n);
        room = 2;
        if (got.size() == 10) loop.Quit();
        return n;
      },
      [&](bool on) { reading.push_back(on); });
  feed.Feed(std::string_view("0123456789"));
  EXPECT_EQ(got, "012");
  EXPECT_TRUE(feed.waiting());
  loop.Run();
  EXPECT_EQ(got, "0123456789");
  EXPECT_EQ(reading, (std::vector<bool>{false, true}));
}

class Writer : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(pipe2(pipe_, O_CLOEXEC | O_NONBLOCK), 0); }
  void TearDown() override {
    close(pipe_[0]);
    close(pipe_[1]);
  }
  std::string ReadAll() const {
    std::string all;
    char piece[4096];
    for (ssize_t n; (n = read(pipe_[0], piece, sizeof piece)) > 0;) all.append(piece, static_cast<size_t>(n));
    return all;
  }
  int pipe_[2]{};
  EventLoop loop_;
};

TEST_F(Writer, BytesArriveInOrderThroughASlowReader) {
  QueuedWriter writer(loop_, QueuedWriter::WhenFull::kWait);
  writer.Attach(pipe_[1], false);
  std::string sent;
  std::string received;
  std::thread loop([&] { loop_.Run(); });
  std::thread reader([&] {
    while (received.size() < 400000) {
      received += ReadAll();
      std::this_thread::sleep_for(milliseconds(1));
    }
  });
  for (int i = 0; sent.size() < 400000; ++i) {
    const std::string line = "line " + std::to_string(i) + "\r\n";
    writer.Write(Raw(line));
    sent += line;
  }
  // Were a byte lost, the reader would wait for ever; the test's own limit would tell.
  reader.join();
  loop_.Quit();
  loop.join();
  EXPECT_EQ(received, sent.substr(0, received.size()));
}

TEST_F(Writer, AReaderThatStoppedCostsTheGuestOneWaitAndIsToldWhatItMissed) {
  QueuedWriter writer(loop_, QueuedWriter::WhenFull::kWait);
  writer.Attach(pipe_[1], false);
  const std::string block(QueuedWriter::kCapacity / 2, 'x');
  // A wait of 100 ms for each would exceed the time any test has.
  constexpr size_t kBlocks = 20000;
  for (size_t i = 0; i < kBlocks; ++i) writer.Write(Raw(block));
  std::string received;
  std::thread reader([&] {
    while (received.find("were lost") == std::string::npos) {
      received += ReadAll();
      std::this_thread::sleep_for(milliseconds(1));
    }
  });
  writer.Finish(std::chrono::steady_clock::now() + std::chrono::seconds(20));
  reader.join();
  const size_t notice = received.find("\r\n[faultline: ");
  ASSERT_NE(notice, std::string::npos);
  const size_t lost = std::stoul(received.substr(notice + 14));
  EXPECT_EQ(notice + lost, kBlocks * block.size()) << "what is not there is accounted for";
}

TEST_F(Writer, WithNobodyThereTheLatestOutputIsKept) {
  QueuedWriter writer(loop_, QueuedWriter::WhenFull::kForgetOldest);
  writer.Write(Raw(std::string(QueuedWriter::kCapacity, 'a')));
  writer.Write(Raw("the end"));
  writer.Attach(pipe_[1], false);
  std::string received;
  std::thread reader([&] {
    while (!received.ends_with("the end")) {
      received += ReadAll();
      std::this_thread::sleep_for(milliseconds(1));
    }
  });
  writer.Finish(std::chrono::steady_clock::now() + std::chrono::seconds(20));
  reader.join();
  EXPECT_EQ(received.size(), QueuedWriter::kCapacity);
}

TEST_F(Writer, ABlockingDescriptorIsNeverFilledToItsBrim) {
  ASSERT_EQ(fcntl(pipe_[1], F_SETFL, 0), 0);
  QueuedWriter writer(loop_, QueuedWriter::WhenFull::kForgetOldest);
  writer.Attach(pipe_[1], true);
  for (int i = 0; i < 4; ++i) {
    writer.Write(Raw(std::string(QueuedWriter::kCapacity, 'x')));
    // With no reader, a blocking write would hang here.
    writer.Finish(std::chrono::steady_clock::now());
  }
  EXPECT_GT(ReadAll().size(), 0U);
}

TEST_F(Writer, AReaderThatIsGoneDoesNotMatter) {
  std::signal(SIGPIPE, SIG_IGN);
  QueuedWriter writer(loop_, QueuedWriter::WhenFull::kWait);
  writer.Attach(pipe_[1], false);
  close(pipe_[0]);
  for (int i = 0; i < 10; ++i) {
    writer.Write(Raw(std::string(QueuedWriter::kCapacity / 2, 'x')));
    writer.Finish(std::chrono::steady_clock::now());
  }
  pipe_[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

}  // namespace
}  // namespace faultline
