#include "engine/native/inspect/inspect.h"

#include <sys/syscall.h>
#include <time.h>

#include <algorithm>
#include <cstring>

#include "engine/native/inspect/job_stops.h"
#include "engine/native/inspect/outside.h"
#include "engine/native/inspect/readers.h"
#include "engine/native/inspect/terminal.h"
#include "engine/native/inspect/tree_obstacles.h"
#include "os/file.h"
#include "os/namespace.h"
#include "os/procfs.h"
#include "os/time_namespace.h"
#include "os/vdso.h"

namespace upkeep::native {
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

// What is kept once for all processes that have it.
struct Readers {
  explicit Readers(Snapshot& snapshot) : descriptors(snapshot), namespaces(snapshot) {}
  DescriptorReader descriptors;
  NamespaceReader namespaces;
};

Result<std::string> read_status(pid_t pid, pid_t tid) {
  return os::read_file(fmt::format("/proc/{}/task/{}/status", pid, tid));
}

Result<void> read_one(const HeldProcess& held, Snapshot& snapshot, Readers& readers,
                      const InspectRequest& request, std::vector<std::string>& statuses) {
  auto& process = snapshot.processes.emplace_back();
  if (held.zombie) return read_zombie(held.pid, process);
  TRY(read_process(held.pid, process, snapshot.obstacles));
  TRY(readers.namespaces.read(process));
  for (const auto& thread : held.threads) {
    const pid_t tid = thread.tracee.tid();
    TRY_ASSIGN(auto status, read_status(held.pid, tid));
    TRY_ASSIGN(auto read, read_thread(held.pid, tid, status, snapshot.obstacles));
    process.threads.push_back(std::move(read));
    statuses.push_back(std::move(status));
  }
  TRY_ASSIGN(process.memory, read_address_space(held.pid, true, snapshot.obstacles));
  if (process.memory.vdso_checksum != 0 && process.memory.vdso_checksum != checksum(snapshot.vdso))
    snapshot.obstacles.push_back(
        {held.pid, "mapping [vdso]", "its code is not the kernel's: it was altered", ""});
  TRY_ASSIGN(const auto memory, os::TaskMemory::open(held.pid));
  TRY(read_stopped(held, statuses, process, snapshot.obstacles));
  TRY(read_seccomp(held, process, snapshot));
  TRY(read_pages(held.pid, process.memory, memory, request));
  TRY_ASSIGN(const auto mounts, mounts_of(process, snapshot));
  return os::in_namespace(mounts, "mnt", [&] { return readers.descriptors.read(process, true); });
}

Result<void> glance_at(pid_t pid, Snapshot& snapshot, Readers& readers) {
  Process process;
  TRY_ASSIGN(const auto stat, os::read_stat(pid));
  if (stat.state == 'Z') {
    TRY(read_zombie(pid, process));
    snapshot.processes.push_back(std::move(process));
    return {};
  }
  TRY(read_process(pid, process, snapshot.obstacles));
  TRY(readers.namespaces.read(process));
  process.job_stopped = stat.state == 'T';
  TRY_ASSIGN(auto tids, os::list_threads(pid));
  std::stable_partition(tids.begin(), tids.end(), [pid](pid_t tid) { return tid == pid; });
  for (pid_t tid : tids) {
    const auto status = read_status(pid, tid);
    if (!status) continue;
    if (auto thread = read_thread(pid, tid, *status, snapshot.obstacles))
      process.threads.push_back(std::move(*thread));
  }
  TRY_ASSIGN(process.memory, read_address_space(pid, false, snapshot.obstacles));
  TRY_ASSIGN(const auto mounts, mounts_of(process, snapshot));
  TRY(os::in_namespace(mounts, "mnt", [&] { return readers.descriptors.read(process, false); }));
  snapshot.processes.push_back(std::move(process));
  return {};
}

}  // namespace

Result<Snapshot> inspect(const StoppedTree& tree, const InspectRequest& request) {
  TRY_ASSIGN(auto snapshot, begin_snapshot());
  Readers readers(snapshot);
  std::vector<pid_t> pids;
  for (const auto& held : tree.processes()) pids.push_back(held.pid);
  TRY(readers.namespaces.choose_clocks(pids));
  std::vector<std::vector<std::string>> statuses;  // of the threads of each process
  for (const auto& held : tree.processes()) {
    auto read = read_one(held, snapshot, readers, request, statuses.emplace_back());
    if (!read) return tl::unexpected(std::move(read).error().in(fmt::format("process {}", held.pid)));
  }
  TRY(read_by_calls(tree, statuses, snapshot));
  TRY(read_untold_stops(tree, snapshot));
  readers.descriptors.finish(true);
  look_at_foreign_files(snapshot);
  TRY(read_terminals(snapshot));
  TRY(read_clocks(snapshot, readers.namespaces.clocks()));
  TRY(read_kept_files(snapshot, request, true));
  if (request.surroundings) {
    TRY(read_ipc_objects(snapshot));
    look_at_whole_tree(snapshot);
    look_outside(snapshot, true);
  }
  TRY(read_terminal_queues(snapshot));
  return snapshot;
}

Result<Snapshot> glance(const std::vector<pid_t>& roots) {
  TRY_ASSIGN(auto snapshot, begin_snapshot());
  Readers readers(snapshot);
  std::vector<pid_t> pids;
  for (pid_t root : roots) {
    TRY_ASSIGN(const auto tree, os::process_tree(root));
    pids.insert(pids.end(), tree.begin(), tree.end());
  }
  TRY(readers.namespaces.choose_clocks(pids));
  for (pid_t pid : pids) {
    if (snapshot.find(pid) != nullptr) continue;
    auto read = glance_at(pid, snapshot, readers);
    // One that has ended meanwhile is a zombie, or nothing any more.
    if (const auto now = os::read_stat(pid); !read && now && now->state == 'Z')
      read = glance_at(pid, snapshot, readers);
    if (!read && os::read_stat(pid))
      return tl::unexpected(std::move(read).error().in(fmt::format("process {}", pid)));
  }
  readers.descriptors.finish(false);
  look_at_foreign_files(snapshot);
  TRY(read_terminals(snapshot));
  TRY(read_clocks(snapshot, readers.namespaces.clocks()));
  TRY(read_kept_files(snapshot, {}, false));
  TRY(read_ipc_objects(snapshot));
  look_at_whole_tree(snapshot);
  look_outside(snapshot, false);
  return snapshot;
}

}  // namespace upkeep::native
