#include "vmm/control/migration.h"

#include <exception>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "guestmem/error.h"
#include "vmm/machine/machine.h"
#include "vmm/snapshot/stream.h"

namespace faultline {

using nlohmann::json;

namespace {

// A machine that has ended meanwhile does not go on, and need not.
void GoOn(Machine& machine) noexcept {
  try {
    machine.Resume();
  } catch (const Error&) {
  }
}

}  // namespace

std::string_view ToString(MigrationStatus status) {
  switch (status) {
    case MigrationStatus::kNone:
      return "none";
    case MigrationStatus::kSetup:
      return "setup";
    case MigrationStatus::kActive:
      return "active";
    case MigrationStatus::kCompleted:
      return "completed";
    case MigrationStatus::kFailed:
      return "failed";
    case MigrationStatus::kCancelled:
      return "cancelled";
  }
  return "none";
}

void Migration::SetStatus(MigrationStatus status, const std::string& error) {
  {
    MutexLock lock(mutex_);
    info_.status = status;
    info_.error = error;
    info_.saved_last = status == MigrationStatus::kCompleted && !info_.restoring;
    const auto now = Clock::now();
    if (status == MigrationStatus::kActive) set_up_ = now;
    ended_ = now;
  }
  emit_("MIGRATION", {{"status", ToString(status)}});
}

void Migration::Begin(bool restoring) {
  if (active()) throw UsageError("the VM is being saved or restored already: wait for that, or cancel it");
  if (thread_.joinable()) thread_.join();
  cancel_.store(false, std::memory_order_relaxed);
  resume_.store(false, std::memory_order_relaxed);
  progress_.Clear();
  MutexLock lock(mutex_);
  info_ = {};
  info_.restoring = restoring;
  began_ = set_up_ = ended_ = Clock::now();
}

void Migration::End() {
  Cancel();
  if (thread_.joinable()) thread_.join();
}

template <class Work, class Undo>
void Migration::Run(Work&& work, Undo&& undo) noexcept {
  try {
    SetStatus(MigrationStatus::kActive);
    work();
    SetStatus(MigrationStatus::kCompleted);
  } catch (const std::exception& e) {
    undo();
    const bool cancelled = cancel_.load(std::memory_order_relaxed);
    SetStatus(cancelled ? MigrationStatus::kCancelled : MigrationStatus::kFailed, e.what());
  }
}

void Migration::Save(Machine& machine, FileDescriptor out, Bytes rate) {
  Begin(/*restoring=*/false);
  const bool ran = machine.Status().state == RunState::kRunning;
  machine.Pause();
  try {
    // What cannot be saved is refused to whoever asked.
    static_cast<void>(machine.SaveState());
    resume_.store(ran, std::memory_order_relaxed);
    SetStatus(MigrationStatus::kSetup);
    thread_ = std::thread([this, &machine, rate, file = std::move(out)]() mutable {
      Run(
          [&] {
            SnapshotWriter writer(Host::System(), file.get(), cancel_);
            writer.LimitTo(rate);
            SaveMachine(machine, writer, progress_);
            // Whoever reads the other end finds it complete when the event comes.
            file.Reset();
          },
          [&] {
            if (resume_.load(std::memory_order_relaxed)) GoOn(machine);
          });
    });
  } catch (...) {
    if (active()) SetStatus(MigrationStatus::kFailed, "the host has no thread for it");
    if (ran) machine.Resume();
    throw;
  }
}

void Migration::Restore(Machine& machine, FileDescriptor in) {
  Begin(/*restoring=*/true);
  SetStatus(MigrationStatus::kSetup);
  try {
    thread_ = std::thread([this, &machine, file = std::move(in)] {
      Run(
          [&] {
            SnapshotReader reader(Host::System(), file.get(), cancel_);
            const json state = reader.ReadState();
            RestoreMachine(machine, state, reader, progress_);
          },
          [] {});
    });
  } catch (const std::system_error& e) {
    SetStatus(MigrationStatus::kFailed, "the host has no thread for it");
    throw Error(std::string("the host has no thread to restore the VM on (") + e.what() + "): free some and try again");
  }
}

void Migration::Resumed() {
  MutexLock lock(mutex_);
  info_.saved_last = false;
}

MigrationInfo Migration::Query() const {
  MutexLock lock(mutex_);
  MigrationInfo info = info_;
  const auto ms = [](Clock::duration time) { return std::chrono::duration_cast<std::chrono::milliseconds>(time); };
  info.setup_time = ms(set_up_ - began_);
  info.total_time = ms((info.active() ? Clock::now() : ended_) - began_);
  info.total = Bytes(progress_.total.load(std::memory_order_relaxed));
  info.done = Bytes(progress_.done.load(std::memory_order_relaxed));
  info.transferred = Bytes(progress_.transferred.load(std::memory_order_relaxed));
  return info;
}

}  // namespace faultline
