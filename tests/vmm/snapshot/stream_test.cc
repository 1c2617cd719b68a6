// The form of a saved VM: what is written comes back, and nothing else does.
#include "vmm/snapshot/stream.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "guestmem/error.h"
#include "tests/guestmem/failing_host.h"
#include "tests/vmm/snapshot/saved_file.h"

namespace faultline {
namespace {

using nlohmann::json;

std::vector<std::byte> Filled(size_t pages, uint8_t value) {
  return std::vector<std::byte>(pages * kPageSize.value, std::byte{value});
}

json SomeState() { return {{"cpus", 2}, {"registers", json::binary({1, 2, 3})}}; }

void WriteSome(SnapshotWriter& writer) {
  writer.WriteState(SomeState());
  writer.WritePages(Gpa(0x1000), Filled(1, 0xaa));
  writer.WritePages(Gpa(0x200000), Filled(2, 0xbb));
  writer.Finish();
}

void ReadAll(int fd) {
  SnapshotReader reader(Host::System(), fd, kNotCancelled);
  reader.ReadState();
  while (reader.NextPages()) continue;
}

std::string FailureOf(const std::vector<std::byte>& bytes) {
  const SavedFile file(bytes);
  try {
    ReadAll(file.Rewound());
    return {};
  } catch (const Error& e) {
    return e.what();
  }
}

std::vector<std::byte> SomeBytes() {
  const SavedFile file;
  SnapshotWriter writer(Host::System(), file.Rewound(), kNotCancelled);
  WriteSome(writer);
  return file.Bytes();
}

TEST(SnapshotStream, GivesBackWhatWasWritten) {
  const SavedFile file;
  SnapshotWriter writer(Host::System(), file.Rewound(), kNotCancelled);
  WriteSome(writer);
  EXPECT_EQ(writer.written().value, file.Bytes().size());

  SnapshotReader reader(Host::System(), file.Rewound(), kNotCancelled);
  EXPECT_EQ(reader.ReadState(), SomeState());
  const auto first = reader.NextPages();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->gpa, Gpa(0x1000));
  EXPECT_THAT(first->data, testing::ElementsAreArray(Filled(1, 0xaa)));
  const auto second = reader.NextPages();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->gpa, Gpa(0x200000));
  EXPECT_THAT(second->data, testing::ElementsAreArray(Filled(2, 0xbb)));
  EXPECT_FALSE(reader.NextPages());
}

TEST(SnapshotStream, EveryTruncationIsTold) {
  const std::vector<std::byte> whole = SomeBytes();
  // All of the small parts, and a few places within the pages.
  for (size_t size = 0; size < whole.size(); size += size < 300 || size + 100 > whole.size() ? 1 : 97) {
    const std::vector<std::byte> part(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_THAT(FailureOf(part), testing::HasSubstr("ends early")) << size << " of " << whole.size() << " bytes";
  }
}

TEST(SnapshotStream, EveryDamagedByteIsFound) {
  const std::vector<std::byte> whole = SomeBytes();
  ASSERT_EQ(FailureOf(whole), "");
  for (size_t at = 0; at < whole.size(); at += at < 300 || at + 100 > whole.size() ? 1 : 97) {
    for (const unsigned bit : {0U, 7U}) {
      std::vector<std::byte> damaged = whole;
      damaged[at] ^= std::byte{1} << bit;
      EXPECT_NE(FailureOf(damaged), "") << "bit " << bit << " of byte " << at;
    }
  }
}

TEST(SnapshotStream, AFileThatIsNoSavedVmIsNamedAsSuch) {
  EXPECT_THAT(FailureOf(Filled(1, 'x')), testing::HasSubstr("not a saved VM"));
}

TEST(SnapshotStream, AnotherVersionIsNamed) {
  std::vector<std::byte> bytes = SomeBytes();
  bytes[8] = std::byte{9};
  EXPECT_THAT(FailureOf(bytes), testing::HasSubstr("version 9"));
}

TEST(SnapshotStream, AStateThatNestsWithoutEndIsRefused) {
  json nested = 1;
  for (int i = 0; i < 100; ++i) nested = json::array({nested});
  const SavedFile file;
  SnapshotWriter writer(Host::System(), file.Rewound(), kNotCancelled);
  writer.WriteState({{"deep", nested}});
  writer.Finish();
  EXPECT_THAT(FailureOf(file.Bytes()), testing::HasSubstr("not CBOR"));
}

class SnapshotPipe : public testing::Test {
 protected:
  void SetUp() override {
    std::signal(SIGPIPE, SIG_IGN);
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    reading_ = FileDescriptor(Host::System(), ends[0]);
    writing_ = FileDescriptor(Host::System(), ends[1]);
  }

  FileDescriptor reading_;
  FileDescriptor writing_;
};

TEST_F(SnapshotPipe, CarriesASavedVm) {
  std::thread reader([this] { EXPECT_NO_THROW(ReadAll(reading_.get())); });
  SnapshotWriter writer(Host::System(), writing_.get(), kNotCancelled);
  WriteSome(writer);
  reader.join();
}

TEST_F(SnapshotPipe, AReceiverThatIsGoneIsTold) {
  reading_.Reset();
  try {
    SnapshotWriter writer(Host::System(), writing_.get(), kNotCancelled);
    ADD_FAILURE() << "wrote to nobody";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("is gone"));
  }
}

TEST_F(SnapshotPipe, AReceiverThatNeverReadsDoesNotOutliveACancellation) {
  std::atomic<bool> cancelled{false};
  std::thread canceller([&cancelled] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    cancelled = true;
  });
  EXPECT_THROW(
      {
        SnapshotWriter writer(Host::System(), writing_.get(), cancelled);
        writer.WriteState(SomeState());
        for (int i = 0; i < 1000; ++i) writer.WritePages(Gpa(0), Filled(16, 1));
      },
      Error);
  canceller.join();
}

TEST_F(SnapshotPipe, ASenderThatNeverWritesDoesNotOutliveACancellation) {
  const std::atomic<bool> cancelled{true};
  EXPECT_THROW(SnapshotReader(Host::System(), reading_.get(), cancelled), Error);
}

TEST(SnapshotStream, InterruptedCallsLoseNothingAndFailedOnesAreTold) {
  FailingHost host;
  const auto mine = CallsOfThisThread();
  const auto count = [&] {
    const SavedFile file;
    host.Count(mine);
    SnapshotWriter writer(host, file.Rewound(), kNotCancelled);
    WriteSome(writer);
    SnapshotReader reader(host, file.Rewound(), kNotCancelled);
    reader.ReadState();
    while (reader.NextPages()) continue;
    return host.seen();
  };
  const uint64_t calls = count();
  ASSERT_GT(calls, 10u);
  for (const int error : {EINTR, EIO, ENOSPC}) {
    for (uint64_t n = 1; n <= calls; ++n) {
      const SavedFile file;
      host.Arm(n, error, mine);
      try {
        SnapshotWriter writer(host, file.Rewound(), kNotCancelled);
        WriteSome(writer);
        SnapshotReader reader(host, file.Rewound(), kNotCancelled);
        EXPECT_EQ(reader.ReadState(), SomeState());
        size_t sections = 0;
        while (reader.NextPages()) ++sections;
        EXPECT_EQ(sections, 2u);
        EXPECT_EQ(error, EINTR) << "call " << n << " failed and nobody was told";
      } catch (const Error& e) {
        EXPECT_NE(error, EINTR) << e.what();
      }
    }
  }
}

}  // namespace
}  // namespace faultline
