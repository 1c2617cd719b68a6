// A VM leaves through a descriptor or comes in through one: QEMU's migration, of which this program knows the kind
// that stops the guest first. Done on a thread of its own and told of in MIGRATION events.
//
// Owned by the control side; all members but Query are for the control thread, and only End blocks. One at a time.
// While one is under way the machine must not be changed: `active` says so.
// Source: QEMU's qapi/migration.json.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <thread>

#include "guestmem/host.h"
#include "guestmem/mutex.h"
#include "guestmem/types.h"
#include "vmm/snapshot/save.h"

namespace faultline {

class Machine;

enum class MigrationStatus : uint8_t { kNone, kSetup, kActive, kCompleted, kFailed, kCancelled };
std::string_view ToString(MigrationStatus status);  // QEMU's words: "setup", "active", …

struct MigrationInfo {
  MigrationStatus status = MigrationStatus::kNone;
  bool restoring = false;   // in, not out
  bool saved_last = false;  // the VM was saved and has not run since
  std::string error;        // kFailed: the sentence
  std::chrono::milliseconds setup_time{0};
  std::chrono::milliseconds total_time{0};
  Bytes total;        // of memory that is to be saved
  Bytes done;         // of `total`
  Bytes transferred;  // through the descriptor

  bool active() const { return status == MigrationStatus::kSetup || status == MigrationStatus::kActive; }
  bool restored() const { return restoring && status == MigrationStatus::kCompleted; }
};

class Migration {
 public:
  // `emit` sends a QMP event; called from any thread, with no lock held, and must not block.
  using Emit = std::function<void(std::string_view name, const nlohmann::json& data)>;
  explicit Migration(Emit emit) : emit_(std::move(emit)) {}
  ~Migration() { End(); }
  Migration(const Migration&) = delete;
  Migration& operator=(const Migration&) = delete;

  // Pauses the machine and writes it to `out`, at most `rate` a second, and closes that. The machine then stays paused;
  // one that could not be saved goes on if it ran. `machine` stays until this has ended. UsageError when the machine
  // cannot be saved or something is under way; it runs on as it did.
  void Save(Machine& machine, FileDescriptor out, Bytes rate);
  // Brings `machine`, made for it, to the state that `in` holds. Likewise.
  void Restore(Machine& machine, FileDescriptor in);
  // Asks what is under way to end; nothing otherwise.
  void Cancel() { cancel_.store(true, std::memory_order_relaxed); }
  // Cancels what is under way and waits for its end. Before what `emit` needs goes away.
  void End();

  // Somebody asked for a pause meanwhile: whatever comes of the save, the machine does not go on by itself.
  void KeepPaused() { resume_.store(false, std::memory_order_relaxed); }
  // The machine runs again after it was saved.
  void Resumed() EXCLUDES(mutex_);

  bool active() const { return Query().active(); }
  // Any thread.
  MigrationInfo Query() const EXCLUDES(mutex_);

 private:
  using Clock = std::chrono::steady_clock;

  void Begin(bool restoring);
  void SetStatus(MigrationStatus status, const std::string& error = {}) EXCLUDES(mutex_);
  // Runs `work` to its end, and when that is not the one it should come to, `undo`, before it is told.
  template <class Work, class Undo>
  void Run(Work&& work, Undo&& undo) noexcept;

  const Emit emit_;
  std::atomic<bool> cancel_{false};
  std::atomic<bool> resume_{false};
  SaveProgress progress_;
  std::thread thread_;

  mutable Mutex mutex_;
  MigrationInfo info_ GUARDED_BY(mutex_);  // but for times and what progress_ counts
  Clock::time_point began_ GUARDED_BY(mutex_);
  Clock::time_point set_up_ GUARDED_BY(mutex_);
  Clock::time_point ended_ GUARDED_BY(mutex_);
};

}  // namespace faultline
