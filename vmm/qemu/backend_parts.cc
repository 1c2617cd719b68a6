#include "vmm/qemu/backend_parts.h"

#include <utility>

#include "guestmem/error.h"

namespace faultline {
namespace {

template <typename T>
T TakeFrom(std::map<std::string, T>* map, const std::string& who, const std::string& what, const std::string& id) {
  auto node = map->extract(id);
  if (node.empty())
    throw UsageError(who + ": there is no " + what + " '" + id.substr(0, 60) + "', or it is used twice");
  return std::move(node.mapped());
}

template <typename T>
void AddTo(std::map<std::string, T>* map, const OptionValues& values, const std::string& id, T value) {
  if (!map->emplace(id, std::move(value)).second) {
    throw UsageError(values.option() + ": the id '" + id.substr(0, 60) + "' is taken");
  }
}

// The descriptor that "/dev/fdset/N" stands for, or -1.
int DescriptorOf(const std::string& path, const std::map<uint64_t, int>& sets) {
  constexpr std::string_view kPrefix = "/dev/fdset/";
  if (!path.starts_with(kPrefix)) return -1;
  for (const auto& [set, fd] : sets) {
    if (path.substr(kPrefix.size()) == std::to_string(set)) return fd;
  }
  throw UsageError("'" + path.substr(0, 40) + "' names descriptors that were not passed: add -add-fd");
}

template <typename T>
void RefuseLeft(const std::map<std::string, T>& map, const std::string& what) {
  if (!map.empty()) throw UsageError(what + " '" + map.begin()->first.substr(0, 60) + "' is used by nothing");
}

}  // namespace

CharacterPlan SocketPlan(OptionValues* values, std::string id) {
  CharacterPlan plan;
  plan.id = std::move(id);
  plan.kind = CharacterPlan::Kind::kSocket;
  if (const auto fd = values->TakeNumber("fd")) {
    if (*fd > 1 << 20) throw UsageError(values->option() + ": " + std::to_string(*fd) + " is no file descriptor");
    plan.fd = static_cast<int>(*fd);
  } else {
    plan.path = values->Take("path").value_or("");
    if (plan.path.empty()) {
      throw UsageError(values->option() + ": only Unix sockets are supported; write <source mode='bind' path='…'/>");
    }
  }
  if (!values->TakeBool("server").value_or(false)) {
    throw UsageError(values->option() + ": a socket is listened on here, not connected to; write mode='bind'");
  }
  if (values->TakeBool("wait").value_or(true)) throw UsageError(values->option() + ": add wait=off");
  values->Finish();
  return plan;
}

BackendParts::BackendParts(QemuCommandLine* line) : fd_sets_(line->fd_sets) {
  for (OptionValues& values : line->objects) AddObject(&values);
  for (OptionValues& values : line->chardevs) AddChardev(&values);
}

void BackendParts::AddObject(OptionValues* values) {
  const std::string type = values->Need("qom-type");
  const std::string id = values->Need("id");
  // Nothing here is encrypted, so nothing asks for the secret that libvirt gives every VM.
  if (type == "secret") return;
  if (type == "rng-random") {
    const std::string file = values->Take("filename").value_or("/dev/urandom");
    if (file != "/dev/urandom" && file != "/dev/random") {
      throw UsageError(values->option() + ": entropy comes from the host's getrandom, not from '" + file.substr(0, 60) +
                       "'; write /dev/urandom in <rng>");
    }
    AddTo(&rngs_, *values, id, type);
  } else if (type == "rng-builtin") {
    AddTo(&rngs_, *values, id, type);
  } else if (type.starts_with("memory-backend-")) {
    BackendPlan plan;
    plan.id = id;
    if (type == "memory-backend-memfd") {
      plan.backing.kind = values->TakeBool("hugetlb").value_or(false) ? BackingKind::kHugetlb : BackingKind::kMemfd;
      values->Ignore("hugetlbsize");
    } else if (type == "memory-backend-file") {
      plan.backing.kind = BackingKind::kFile;
      plan.backing.path = values->Need("mem-path");
      values->Accept("discard-data", "off");
    } else if (type != "memory-backend-ram") {
      throw UsageError(values->option() + ": there is no '" + type.substr(0, 60) + "'");
    }
    plan.size = values->TakeSize("size", Bytes(1)).value_or(Bytes(0));
    if (values->TakeBool("prealloc").value_or(false)) {
      throw UsageError(values->option() +
                       ": memory is filled in as the guest touches it; remove <allocation "
                       "mode='immediate'/> from <memoryBacking>");
    }
    for (const char* key : {"share", "reserve", "dump", "merge", "x-use-canonical-path-for-ramblock-id"}) {
      values->Ignore(key);
    }
    AddTo(&memory_, *values, id, std::move(plan));
  } else {
    throw UsageError(values->option() + ": there is no object '" + type.substr(0, 60) + "'");
  }
  values->Finish();
}

void BackendParts::AddChardev(OptionValues* values) {
  const std::string kind = values->Need("backend");
  CharacterPlan plan;
  plan.id = values->Need("id");
  if (kind == "socket") {
    plan = SocketPlan(values, plan.id);
  } else if (kind == "pty") {
    plan.kind = CharacterPlan::Kind::kPty;
  } else if (kind == "file") {
    plan.kind = CharacterPlan::Kind::kFile;
    plan.path = values->Need("path");
    plan.fd = DescriptorOf(plan.path, fd_sets_);
    plan.append = values->TakeBool("append").value_or(false);
  } else if (kind != "null") {
    throw UsageError(values->option() + ": a console of type '" + kind.substr(0, 40) +
                     "' is not supported; write <serial type='pty'>, 'file', 'unix' or 'null'");
  }
  values->Finish();
  const std::string id = plan.id;
  AddTo(&chardevs_, *values, id, std::move(plan));
}

void BackendParts::UseForBoot(const std::string& id) {
  if (boot_backend_ && *boot_backend_ != id) {
    throw UsageError("boot memory is '" + *boot_backend_ + "' and '" + id.substr(0, 60) + "': name one backend");
  }
  boot_backend_ = id;
}

void BackendParts::TakeBootMemory(MemoryConfig* memory) {
  if (!boot_backend_) return;
  const BackendPlan backend = TakeMemory("boot memory", *boot_backend_);
  if (backend.size != memory->boot) {
    throw UsageError("boot memory is " + std::to_string(memory->boot.value) + " bytes in -m and " +
                     std::to_string(backend.size.value) + " in its backend: give both the same size");
  }
  memory->backing = backend.backing;
}

CharacterPlan BackendParts::TakeChardev(const std::string& who, const std::string& id) {
  return TakeFrom(&chardevs_, who, "chardev", id);
}

BackendPlan BackendParts::TakeMemory(const std::string& who, const std::string& id) {
  return TakeFrom(&memory_, who, "memory backend", id);
}

void BackendParts::TakeRng(const std::string& who, const std::string& id) {
  TakeFrom(&rngs_, who, "source of entropy", id);
}

void BackendParts::Finish() const {
  RefuseLeft(chardevs_, "-chardev");
  RefuseLeft(memory_, "-object");
  RefuseLeft(rngs_, "-object");
}

}  // namespace faultline
