#include "engine/inspect/inspect.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <time.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <unordered_set>
#include <utility>

#include "engine/inspect/calls/look.h"
#include "engine/inspect/files/descriptors.h"
#include "engine/inspect/files/io_uring.h"
#include "engine/inspect/files/ipc_objects.h"
#include "engine/inspect/files/kept_files.h"
#include "engine/inspect/files/kernel_files.h"
#include "engine/inspect/files/posix_queues.h"
#include "engine/inspect/files/terminal.h"
#include "engine/inspect/from_proc.h"
#include "engine/inspect/memory/huge_pages.h"
#include "engine/inspect/memory/pages.h"
#include "engine/inspect/namespaces/namespaces.h"
#include "engine/inspect/sockets/outside_peers.h"
#include "engine/inspect/sockets/socket_reading.h"
#include "engine/inspect/task/job_stops.h"
#include "engine/inspect/task/landlock_domains.h"
#include "engine/inspect/task/own_state_calls.h"
#include "engine/inspect/task/own_state_registers.h"
#include "engine/inspect/task/seccomp.h"
#include "engine/inspect/tree_obstacles.h"
#include "os/file.h"
#include "os/kernel_memory.h"
#include "os/namespace.h"
#include "os/procfs.h"
#include "os/survivor.h"
#include "os/time_namespace.h"
#include "os/vdso.h"

namespace upkeep::engine {
namespace {

std::int64_t now(clockid_t clock) {
  timespec time = {};
  ::clock_gettime(clock, &time);
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

Result<Snapshot> begin_snapshot() {
  Snapshot snapshot;
  snapshot.kernel = os::kernel_release();
  snapshot.boot = os::boot_id();
  TRY_ASSIGN(const auto vdso, os::own_vdso());
  if (!vdso) return snapshot;
  const auto image = vdso->image();
  snapshot.vdso.data.resize(image.size());
  std::memcpy(snapshot.vdso.data.data(), image.data(), image.size());
  return snapshot;
}

// Clocks as the tasks see them, which is in a time namespace with these OFFSETS.
Result<void> read_clocks(Snapshot& snapshot, const os::ClockOffsets& offsets) {
  TRY_ASSIGN(const auto own, os::own_clock_offsets(0));
  snapshot.clocks = {now(CLOCK_REALTIME), now(CLOCK_MONOTONIC) - own.monotonic + offsets.monotonic,
                     now(CLOCK_BOOTTIME) - own.boottime + offsets.boottime};
  return {};
}

// Where names of its files are looked up as the process does; no descriptor where we do the same.
Result<os::UniqueFd> mounts_of(const Process& process, const Snapshot& snapshot) {
  if (!process.namespaces || snapshot.namespaces[*process.namespaces].numbers.mnt == 0) return os::UniqueFd();
  return os::open_namespace(process.pid, "mnt");
}

// Names are looked up as PROCESS does, but those of /proc, which we need as we know it: in a copy of its
// mount namespace where its own /proc shows another PID namespace.
template <typename Use>
Result<void> look_as(const Process& process, const Snapshot& snapshot, const Use& look) {
  TRY_ASSIGN(const auto mounts, mounts_of(process, snapshot));
  if (!shows_other_processes(process, snapshot)) return os::in_namespace(mounts, "mnt", look);
  const os::UniqueFd proc(::open_tree(AT_FDCWD, "/proc", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  if (!proc.valid()) return ErrnoErr("open_tree /proc");
  return os::in_namespace(mounts, "mnt", [&]() -> Result<void> {
    if (::unshare(CLONE_NEWNS) < 0) return ErrnoErr("unshare");
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0) return ErrnoErr("making / private");
    if (::move_mount(proc.get(), "", AT_FDCWD, "/proc", MOVE_MOUNT_F_EMPTY_PATH) < 0 && errno != ENOENT)
      return ErrnoErr("our own /proc in its mount namespace");
    return look();
  });
}

// What is kept once for all processes that have it.
struct Readers {
  explicit Readers(Snapshot& snapshot, os::Survivor* survivor = nullptr)
      : descriptors(snapshot, survivor), namespaces(snapshot) {}
  DescriptorReader descriptors;
  NamespaceReader namespaces;
};

Result<void> read_descriptors(FromProc& from, Process& process, Snapshot& snapshot, Readers& readers,
                              Look tasks) {
  return look_as(process, snapshot, [&]() -> Result<void> {
    if (!from.descriptors) {
      TRY_ASSIGN(from.descriptors, read_descriptor_facts(process.pid, tasks));
    }
    return readers.descriptors.read(process, std::move(*from.descriptors), tasks);
  });
}

Result<void> read_one(const HeldProcess& held, FromProc& from, Snapshot& snapshot, Readers& readers,
                      const InspectRequest& request) {
  TRY(from.outcome);
  auto& process = snapshot.processes.emplace_back(std::move(from.process));
  std::move(from.obstacles.begin(), from.obstacles.end(), std::back_inserter(snapshot.obstacles));
  if (held.zombie) {
    readers.namespaces.read_pid_namespaces(process);
    return {};
  }
  TRY(readers.namespaces.read(process));
  if (process.memory.vdso_checksum != 0 && process.memory.vdso_checksum != checksum(snapshot.vdso))
    snapshot.obstacles.push_back(
        {held.pid, "mapping [vdso]", "its code is not the kernel's: it was altered", ""});
  TRY(read_stopped(held, from.statuses, process, snapshot.obstacles));
  TRY(read_seccomp(held, process, snapshot));
  TRY(read_pages(held.pid, process.memory, request.pages));
  return read_descriptors(from, process, snapshot, readers, request.tasks);
}

// The processes of all trees, each once.
Result<std::vector<pid_t>> list_processes(const std::vector<pid_t>& roots) {
  std::vector<pid_t> all;
  std::unordered_set<pid_t> known;
  for (const pid_t root : roots) {
    TRY_ASSIGN(const auto pids, os::process_tree(root));
    for (const pid_t pid : pids) {
      if (known.insert(pid).second) all.push_back(pid);
    }
  }
  return all;
}

Result<void> glance_at(FromProc& from, Snapshot& snapshot, Readers& readers) {
  TRY(from.outcome);
  auto process = std::move(from.process);
  if (!process.exit_status) {
    TRY(readers.namespaces.read(process));
    TRY(read_descriptors(from, process, snapshot, readers, Look::glance));
    // One that is about to end has left its namespaces: what was read of them is not true.
    TRY(os::namespace_id(process.pid, "mnt"));
  } else {
    readers.namespaces.read_pid_namespaces(process);
    TRY(os::read_stat(process.pid));  // nobody has asked for its end meanwhile
  }
  std::move(from.obstacles.begin(), from.obstacles.end(), std::back_inserter(snapshot.obstacles));
  snapshot.processes.push_back(std::move(process));
  return {};
}

}  // namespace

Result<Snapshot> inspect(const StoppedTree& tree, const InspectRequest& request) {
  TRY_ASSIGN(auto snapshot, begin_snapshot());
  const os::KernelMemory::Use use;
  const bool just_made = request.tasks == Look::just_made;
  std::optional<LandlockDomains> landlock;  // of tasks just made: what we have
  if (!just_made) landlock.emplace();
  os::Survivor survivor(::gettid());
  Readers readers(snapshot, just_made ? nullptr : &survivor);  // tasks just made end with us
  std::vector<pid_t> pids;
  for (const auto& held : tree.processes()) pids.push_back(held.pid);
  TRY(readers.namespaces.choose_clocks(pids));
  snapshot.processes.reserve(pids.size());
  std::vector<std::vector<std::string>> statuses;  // of the threads of each process
  auto take = [&](std::size_t i, FromProc& from) -> Result<void> {
    const auto& held = tree.processes()[i];
    TRY_IN(fmt::format("process {}", held.pid), read_one(held, from, snapshot, readers, request));
    statuses.push_back(std::move(from.statuses));
    return {};
  };
  TRY(read_from_proc(tree.processes(), request.tasks, take));
  survivor.let_go();
  TRY(read_by_calls(tree, statuses, request.many_threads, request.answers, snapshot));
  TRY(read_untold_stops(tree, snapshot));
  readers.descriptors.finish(request.tasks);
  if (just_made)  // so are its connections
    std::erase_if(snapshot.obstacles, [](const auto& o) { return o.why == kLeftInRepairMode; });
  look_at_mapped_rings(snapshot);
  look_at_foreign_files(snapshot);
  TRY(read_terminals(snapshot));
  TRY(read_clocks(snapshot, readers.namespaces.clocks()));
  TRY(read_kept_files(snapshot, request.pages, request.tasks));
  if (request.scope == Scope::with_outside) {
    TRY(look_at_huge_pages(snapshot));
    TRY(read_ipc_objects(snapshot));
    TRY(read_posix_queues(snapshot));
    look_at_whole_tree(snapshot);
    look_outside(snapshot, request.tasks);
  }
  if (landlock) landlock->finish(snapshot);
  TRY(read_terminal_queues(snapshot));
  return snapshot;
}

Result<Snapshot> glance(const std::vector<pid_t>& roots) {
  TRY_ASSIGN(auto snapshot, begin_snapshot());
  const os::KernelMemory::Use use;
  LandlockDomains landlock;
  Readers readers(snapshot);
  TRY_ASSIGN(const auto pids, list_processes(roots));
  TRY(readers.namespaces.choose_clocks(pids));
  auto take = [&](std::size_t i, FromProc& from) -> Result<void> {
    const pid_t pid = pids[i];
    auto read = glance_at(from, snapshot, readers);
    // One that has ended meanwhile is a zombie, or nothing any more; or it is about to be.
    constexpr int kMostTries = 20;
    constexpr timespec kPause = {0, 1'000'000};
    for (int tries = 0; !read && os::read_stat(pid) && tries < kMostTries; ++tries) {
      if (tries > 0) ::nanosleep(&kPause, nullptr);
      auto anew = glance_at_proc(pid);
      read = glance_at(anew, snapshot, readers);
    }
    if (!read && os::read_stat(pid)) TRY_IN(fmt::format("process {}", pid), std::move(read));
    return {};
  };
  TRY(glance_at_proc(pids, take));
  readers.descriptors.finish(Look::glance);
  look_at_mapped_rings(snapshot);
  look_at_foreign_files(snapshot);
  TRY(read_terminals(snapshot));
  TRY(read_clocks(snapshot, readers.namespaces.clocks()));
  TRY(read_kept_files(snapshot, {}, Look::glance));
  TRY(read_ipc_objects(snapshot));
  TRY(read_posix_queues(snapshot));
  look_at_whole_tree(snapshot);
  look_outside(snapshot, Look::glance);
  landlock.finish(snapshot);
  return snapshot;
}

}  // namespace upkeep::engine
