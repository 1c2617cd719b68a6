#include "vmm/control/vm_lease.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "guestmem/error.h"
#include "tests/vmm/control/temp_dir.h"
#include "vmm/control/runtime_dir.h"

namespace faultline {
namespace {

namespace fs = std::filesystem;

// A process that holds `name` until it is killed.
class OtherVm {
 public:
  OtherVm(const std::string& directory, const std::string& name) {
    int ready[2];
    EXPECT_EQ(pipe(ready), 0);
    pid_ = fork();
    if (pid_ == 0) {
      const VmLease lease(directory, name);
      const FileDescriptor listener = lease.Listen();
      [[maybe_unused]] const auto n = write(ready[1], "x", 1);
      for (;;) pause();
    }
    char byte;
    EXPECT_EQ(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
  }
  ~OtherVm() { Kill(); }
  void Kill() {
    if (pid_ == 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
};

TEST(VmLease, TwoVmsOfOneNameAreRefusedWithThePidOfTheFirst) {
  TempDir dir;
  const OtherVm other(dir.path(), "a");
  try {
    const VmLease lease(dir.path(), "a");
    FAIL();
  } catch (const UsageError& e) {
    EXPECT_NE(std::string(e.what()).find("pid " + std::to_string(other.pid())), std::string::npos) << e.what();
  }
  EXPECT_NO_THROW(VmLease(dir.path(), "b"));
  EXPECT_TRUE(fs::exists(dir / "a.sock")) << "the refused one must not take the first one's socket away";
}

TEST(VmLease, WhatAKilledVmLeftIsRecognisedAndClearedByTheNextOfItsName) {
  TempDir dir;
  OtherVm other(dir.path(), "a");
  other.Kill();
  ASSERT_TRUE(fs::exists(dir / "a.sock"));
  const VmLease lease(dir.path(), "a");
  EXPECT_FALSE(fs::exists(dir / "a.sock"));
  EXPECT_NO_THROW(lease.Listen());
}

TEST(VmLease, ListingShowsTheLivingAndClearsTheDead) {
  TempDir dir;
  const OtherVm living(dir.path(), "living");
  OtherVm dead(dir.path(), "dead");
  dead.Kill();
  const auto running = RunningVms(dir.path());
  ASSERT_EQ(running.size(), 1U);
  EXPECT_EQ(running[0].name, "living");
  EXPECT_EQ(running[0].pid, living.pid());
  EXPECT_FALSE(fs::exists(dir / "dead.sock"));
  EXPECT_FALSE(fs::exists(dir / "dead.lock"));
}

TEST(VmLease, LeavesNothingBehind) {
  TempDir dir;
  {
    const VmLease lease(dir.path(), "a");
    const FileDescriptor listener = lease.Listen();
    EXPECT_TRUE(fs::exists(lease.socket_path()));
  }
  EXPECT_TRUE(fs::is_empty(dir.path()));
}

TEST(VmLease, NamesItselfWhenNobodyDoes) {
  TempDir dir;
  const VmLease one = VmLease::OfAnyName(dir.path());
  const VmLease two = VmLease::OfAnyName(dir.path());
  EXPECT_EQ(one.name(), "vm1");
  EXPECT_EQ(two.name(), "vm2");
}

TEST(VmLease, ALockFileThatIsNotOursToOpenIsAnError) {
  TempDir dir;
  fs::create_symlink("/etc/passwd", dir / "a.lock");
  EXPECT_THROW(VmLease(dir.path(), "a"), Error);
  EXPECT_THROW(VmLease(dir / "missing", "a"), Error);
}

TEST(VmLease, ASocketPathTooLongIsRefusedWithTheWayOut) {
  TempDir dir;
  const std::string deep = dir / std::string(100, 'd');
  fs::create_directory(deep);
  try {
    const VmLease lease(deep, "a");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("shorter"), std::string::npos);
  }
}

TEST(VmLease, AnUnknownNameIsAnsweredWithTheKnownOnes) {
  TempDir dir;
  const OtherVm other(dir.path(), "known");
  EXPECT_EQ(FindVm(dir.path(), "known").pid, other.pid());
  try {
    FindVm(dir.path(), "unknown");
    FAIL();
  } catch (const UsageError& e) {
    EXPECT_NE(std::string(e.what()).find("there is known"), std::string::npos);
  }
}

TEST(VmName, IsAPlainWord) {
  for (const char* good : {"a", "vm1", "A-b_c.d", "0"}) EXPECT_NO_THROW(CheckVmName(good)) << good;
  EXPECT_NO_THROW(CheckVmName(std::string(64, 'a')));
  for (const char* bad : {"", ".", "-a", "a b", "a/b", "../x", "ä", "a\n"}) {
    EXPECT_THROW(CheckVmName(bad), UsageError) << bad;
  }
  EXPECT_THROW(CheckVmName(std::string(65, 'a')), UsageError);
}

TEST(RuntimeDirectory, IsMadeForItsOwnerAlone) {
  TempDir dir;
  PrepareRuntimeDirectory(dir / "run");
  struct stat info {};
  ASSERT_EQ(stat((dir / "run").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0700U);
  EXPECT_NO_THROW(PrepareRuntimeDirectory(dir / "run")) << "and may be there already";
}

TEST(RuntimeDirectory, IsNotUsedWhenOthersCanReachIt) {
  TempDir dir;
  fs::create_directory(dir / "open");
  ASSERT_EQ(chmod((dir / "open").c_str(), 0755), 0);
  EXPECT_THROW(PrepareRuntimeDirectory(dir / "open"), Error);
  fs::create_directory(dir / "real");
  ASSERT_EQ(chmod((dir / "real").c_str(), 0700), 0);
  fs::create_directory_symlink(dir / "real", dir / "link");
  EXPECT_THROW(PrepareRuntimeDirectory(dir / "link"), Error);
  std::ofstream(dir / "file") << "x";
  EXPECT_THROW(PrepareRuntimeDirectory(dir / "file"), Error);
  EXPECT_THROW(PrepareRuntimeDirectory(dir / "no/such"), Error);
}

TEST(RuntimeDirectory, BelongsToItsUser) {
  TempDir dir;
  fs::create_directory(dir / "theirs");
  ASSERT_EQ(chmod((dir / "theirs").c_str(), 0700), 0);
  if (chown((dir / "theirs").c_str(), 12345, 12345) != 0) GTEST_SKIP() << "only root can give a directory away";
  EXPECT_THROW(PrepareRuntimeDirectory(dir / "theirs"), Error);
}

TEST(RuntimeDirectory, FollowsTheEnvironmentWhenItIsAbsolute) {
  TempDir dir;
  setenv("XDG_RUNTIME_DIR", dir.path().c_str(), 1);
  EXPECT_EQ(RuntimeDirectory(), dir / "faultline");
  unsetenv("XDG_RUNTIME_DIR");
}

}  // namespace
}  // namespace faultline
