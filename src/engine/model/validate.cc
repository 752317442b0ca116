#include <signal.h>

#include <algorithm>
#include <array>
#include <bit>
#include <set>

#include "engine/model/snapshot.h"

namespace upkeep::engine {
namespace {

constexpr std::uint64_t kVsyscall = 0xffffffffff600000;   // above everything else
constexpr std::uint32_t kProtectionKeys = 16;             // of x86-64, pkeys(7)
constexpr std::int32_t kHighestDescriptor = 1 << 30;      // sysctl_nr_open_max of fs/file.c is below
constexpr std::int32_t kFirstId = 2, kIdLimit = 4 << 20;  // PID_MAX_LIMIT of linux/threads.h

bool is_id(std::int32_t number) { return number >= kFirstId && number < kIdLimit; }

// Of a page of a huge page pool; those of x86-64 are 2 MiB and 1 GiB.
bool is_huge_page(std::uint64_t size) {
  constexpr std::uint64_t kLargest = 1ULL << 30U;
  return size > kPage && size <= kLargest && std::has_single_bit(size);
}

Result<void> check_pages(const std::vector<PageRun>& pages, std::uint64_t limit) {
  std::uint64_t end = 0;
  for (const auto& run : pages) {
    if (run.address % kPage != 0 || run.position % kPage != 0)
      return Err("pages at {:#x} are not aligned", run.address);
    if (run.address < end || run.count == 0 || run.address > limit ||
        run.count > (limit - run.address) / kPage)
      return Err("pages at {:#x} are out of order or out of bounds", run.address);
    if (run.position > static_cast<std::uint64_t>(INT64_MAX) - run.count * kPage)
      return Err("pages at {:#x} lie nowhere", run.address);
    end = run.address + run.count * kPage;
  }
  return {};
}

Result<void> check_guards(const std::vector<GuardRegion>& guards) {
  std::uint64_t end = 0;
  for (const auto& guard : guards) {
    if (guard.start < end || guard.end <= guard.start || guard.end > kHighestAddress ||
        guard.start % kPage != 0 || guard.end % kPage != 0)
      return Err("the guard region at {:#x} is out of order or out of bounds", guard.start);
    end = guard.end;
  }
  return {};
}

// Execute-only memory has one that the kernel has taken for it.
Result<void> check_keys(const AddressSpace& memory) {
  if (memory.protection_keys >> kProtectionKeys != 0)
    return Err("there are no more than {} protection keys", kProtectionKeys);
  const auto execute_only = memory.execute_only_key();
  for (const auto& mapping : memory.mappings) {
    const auto key = mapping.protection_key;
    if (key != 0 && !memory.has_allocated(key) && !(mapping.execute_only() && key == execute_only))
      return Err("the mapping at {:#x} has protection key {}, which is not there", mapping.start, key);
  }
  return {};
}

Result<void> check_memory(const AddressSpace& memory) {
  std::uint64_t end = 0;
  for (const auto& mapping : memory.mappings) {
    if (mapping.kind == MappingKind::vsyscall && mapping.start == kVsyscall) continue;  // made by the kernel
    if (mapping.start % kPage != 0 || mapping.end % kPage != 0 || mapping.offset % kPage != 0)
      return Err("the mapping at {:#x} is not aligned", mapping.start);
    if (mapping.huge_page != 0 &&
        (!is_huge_page(mapping.huge_page) || mapping.start % mapping.huge_page != 0 ||
         mapping.end % mapping.huge_page != 0 || mapping.kind == MappingKind::vdso))
      return Err("the mapping at {:#x} does not consist of huge pages", mapping.start);
    if (mapping.start < end || mapping.end <= mapping.start || mapping.end > kHighestAddress)
      return Err("the mapping at {:#x} is out of order or out of bounds", mapping.start);
    end = mapping.end;
  }
  for (const auto& mapping : memory.mappings) {
    if (mapping.protection_key >= kProtectionKeys)
      return Err("the mapping at {:#x} has an impossible protection key", mapping.start);
  }
  TRY(check_keys(memory));
  TRY(check_guards(memory.guards));
  TRY(check_pages(memory.pages, kHighestAddress));
  auto mapping = memory.mappings.begin();
  for (const auto& run : memory.pages) {  // both are in order
    std::uint64_t at = run.address;
    while (at < run.address + run.count * kPage) {
      while (mapping != memory.mappings.end() && mapping->end <= at) ++mapping;
      if (mapping == memory.mappings.end() || mapping->start > at || mapping->shared)
        return Err("pages at {:#x} lie in no private mapping", at);
      at = mapping->end;
    }
  }
  return {};
}

Result<void> check_descriptors(const Process& process, std::size_t files) {
  std::int64_t last = -1;
  for (const auto& descriptor : process.descriptors) {
    if (descriptor.fd > kHighestDescriptor) return Err("descriptor {} is too high", descriptor.fd);
    if (descriptor.fd <= last) return Err("descriptor {} is out of order", descriptor.fd);
    if (descriptor.file >= files) return Err("descriptor {} leads to no file", descriptor.fd);
    last = descriptor.fd;
  }
  return {};
}

Result<void> check_identity(const Process& process, const Snapshot& snapshot) {
  if (process.namespaces && *process.namespaces >= snapshot.namespaces.size())
    return Err("its namespaces are not there");
  if (process.stopped && process.stopped->keyring && *process.stopped->keyring >= snapshot.keyrings.size())
    return Err("its keyring is not there");
  for (const auto& thread : process.threads) {
    for (const auto filter : thread.seccomp.filters) {
      if (filter >= snapshot.seccomp_filters.size())
        return Err("thread {}: a filter is not there", thread.tid);
    }
  }
  return {};
}

// Names that lead down only.
bool stays_below(std::string_view path) {
  return path.starts_with('/') && path.find("/../") == std::string_view::npos && !path.ends_with("/..");
}

Result<void> check_mounts(const std::vector<Mount>& mounts) {
  std::set<std::int32_t> ids;
  std::size_t roots = 0;
  for (const auto& mount : mounts) {
    if (mount.id < 1 || !ids.insert(mount.id).second)
      return Err("mount ID {} is used twice or none", mount.id);
    // Of a namespace's file the root is a name ("net:[4026531840]").
    const bool good = stays_below(mount.mount_point) &&
                      (stays_below(mount.root) || mount.root.find('/') == std::string::npos) &&
                      (mount.host_path.empty() || stays_below(mount.host_path));
    if (!good) return Err("the mount at '{}' leads out of its place", mount.mount_point);
    if (mount.parent == 0 && mount.mount_point == "/") ++roots;
    for (const auto& node : mount.contents) {
      if (!node.path.empty() && !stays_below(node.path))
        return Err("mount {}: a file outside of it", mount.mount_point);
    }
  }
  if (!mounts.empty() && roots != 1) return Err("its mounts have no root, or several");
  for (const auto& mount : mounts) {
    if (mount.parent != 0 && !ids.contains(mount.parent))
      return Err("mount {}: nothing is below it", mount.mount_point);
  }
  return {};
}

// What is told of each, by the first that has it or by all of them.
Result<void> check_namespaces(const std::vector<Namespaces>& all) {
  constexpr std::size_t kLargestNetwork = 4U << 20U, kMostHierarchies = 64;
  constexpr std::int64_t kFarthest = std::int64_t{1} << 62U;  // KTIME_MAX / 2: kernel/time/namespace.c
  std::set<std::uint64_t> mounts, networks, waited_for;
  for (const auto& one : all) {
    const auto& numbers = one.numbers;
    TRY(check_mounts(one.mounts));
    const bool told = (numbers.user != 0) == one.user.has_value() &&
                      (numbers.uts != 0) == one.uts.has_value() &&
                      (numbers.time != 0) == one.time.has_value() &&
                      (numbers.time_for_children != 0) == one.time_for_children.has_value() &&
                      (numbers.cgroup != 0) == !one.cgroup_roots.empty();
    const bool first_mounts = numbers.mnt != 0 && mounts.insert(numbers.mnt).second;
    const bool first_network = numbers.net != 0 && networks.insert(numbers.net).second;
    if (!told || first_mounts == one.mounts.empty() || first_network == one.network.empty())
      return Err("namespaces: what is in them is not told");
    if (one.network.size() > kLargestNetwork || one.cgroup_roots.size() > kMostHierarchies)
      return Err("namespaces: there is too much in them");
    if (numbers.time_for_children != 0 && !waited_for.insert(numbers.time_for_children).second)
      return Err("namespaces: several processes wait for one of time");
    for (const auto& ahead : {one.time, one.time_for_children}) {
      const auto possible = [](std::int64_t ns) { return ns >= -kFarthest && ns <= kFarthest; };
      if (ahead && (!possible(ahead->monotonic) || !possible(ahead->boottime)))
        return Err("namespaces: impossible clocks");
    }
    for (const auto& root : one.cgroup_roots) {
      if (!stays_below(root.path)) return Err("cgroup '{}' leads out of its place", root.path);
    }
  }
  return {};
}

Result<void> check_filters(const std::vector<SeccompFilter>& filters) {
  constexpr std::size_t kInstruction = 8, kMost = 4096;  // struct sock_filter, BPF_MAXINSNS
  for (const auto& filter : filters) {
    const auto size = filter.instructions.data.size();
    if (size == 0 || size % kInstruction != 0 || size / kInstruction > kMost)
      return Err("a seccomp filter of {} bytes", size);
  }
  return {};
}

Result<void> check_stop(const Process& process) {
  constexpr std::array kStops = {SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU};
  const auto signal = process.stopped->stop_signal;
  if (process.job_stopped ? std::ranges::find(kStops, signal) == kStops.end() : signal != 0)
    return Err("signal {} does not stop it", signal);
  return {};
}

// One for each PID namespace that it is in.
Result<void> check_inner_ids(const Process& process) {
  constexpr std::size_t kDeepestNamespace = 32;  // MAX_PID_NS_LEVEL of kernel/pid_namespace.c
  const auto depth = process.inner_pids.size();
  const bool same =
      process.inner_pgrps.size() == depth && process.inner_sessions.size() == depth &&
      std::ranges::all_of(process.threads, [&](const Thread& t) { return t.inner_tids.size() == depth; });
  if (!same || depth > kDeepestNamespace || (depth == 0) != (process.pid_namespace == 0))
    return Err("its PID namespaces contradict each other");
  const auto is_inner = [](std::int32_t id) { return id == 1 || is_id(id); };
  const auto possible = [&](std::int32_t id) { return id == 0 || is_inner(id); };
  bool good = std::ranges::all_of(process.inner_pids, is_inner) &&
              std::ranges::all_of(process.inner_pgrps, possible) &&
              std::ranges::all_of(process.inner_sessions, possible);
  for (const auto& thread : process.threads)
    good = good && std::ranges::all_of(thread.inner_tids, is_inner) &&
           (thread.tid != process.pid || thread.inner_tids == process.inner_pids);
  return good ? Result<void>() : Err("impossible IDs in its PID namespace");
}

Result<void> check_process(const Process& process, const Snapshot& snapshot, std::set<std::int32_t>& ids) {
  TRY(check_inner_ids(process));
  if (process.exit_status) {
    constexpr int kHighestSignal = 64, kHighestStatus = 0xffff;
    if (*process.exit_status < 0 || *process.exit_status > kHighestStatus ||
        (*process.exit_status & 0x7f) > kHighestSignal)
      return Err("no process ends with the status {}", *process.exit_status);
    if (!ids.insert(process.pid).second) return Err("its ID is used twice");
    return {};
  }
  if (process.threads.empty() || process.threads.front().tid != process.pid)
    return Err("its first thread is not its leader");
  for (const auto& thread : process.threads) {
    if (!is_id(thread.tid) || !ids.insert(thread.tid).second)
      return Err("thread ID {} is used twice or none", thread.tid);
  }
  if (process.stopped) {
    TRY(check_stop(process));
    for (const auto& timer : process.stopped->posix_timers) {
      if (timer.id < 0) return Err("no timer has the ID {}", timer.id);
    }
  }
  TRY(check_memory(process.memory));
  for (const auto& lock : process.locks) {
    if (lock.lock.start > INT64_MAX || lock.lock.length > INT64_MAX) return Err("a lock is out of bounds");
  }
  TRY(check_identity(process, snapshot));
  return check_descriptors(process, snapshot.files.size());
}

// They become lines of what journald is told.
Result<void> check_journal(const Socket& socket) {
  constexpr std::int32_t kHighestPriority = 999;  // facility and level, as journald takes them
  constexpr std::size_t kLongestLine = 254;
  const auto& journal = *socket.journal;
  for (const auto* line : {&journal.identifier, &journal.unit}) {
    if (line->size() > kLongestLine || line->find_first_of(std::string_view("\n\0", 2)) != std::string::npos)
      return Err("what journald knows of it is not a line");
  }
  if (journal.priority < 0 || journal.priority > kHighestPriority) return Err("its priority is impossible");
  if (!leads_to_journald(socket) || socket.listening) return Err("it is no stream to journald");
  return {};
}

Result<void> check_socket(const Socket& socket, std::size_t files) {
  constexpr std::size_t kLargestName = 128;  // struct sockaddr_storage
  if (socket.local.data.size() > kLargestName || socket.remote.data.size() > kLargestName)
    return Err("its name is longer than any");
  constexpr std::size_t kInstruction = 8, kMostInstructions = 4096;  // struct sock_filter, BPF_MAXINSNS
  const auto filter = socket.filter.data.size();
  if (filter % kInstruction != 0 || filter / kInstruction > kMostInstructions)
    return Err("a packet filter of {} bytes", filter);
  constexpr std::uint32_t kMostMemberships = 1U << 16U;
  for (const auto& membership : socket.packet_memberships) {
    if (membership.count > kMostMemberships) return Err("{} memberships of one kind", membership.count);
  }
  for (const auto& message : socket.unread) {
    for (const auto file : message.files) {
      if (file >= files) return Err("a file is on its way through it that is not there");
    }
  }
  if (socket.connecting && socket.remote.data.empty()) return Err("it is being connected to nobody");
  if (socket.shutdown > 3) return Err("it is shut down in no known direction");
  if (socket.journal) TRY(check_journal(socket));
  if (!socket.connection) return {};
  const auto& connection = *socket.connection;
  constexpr std::uint32_t kLargestScale = 14, kClosing = 11;
  constexpr std::size_t kLargestQueue = std::size_t{1} << 30U;
  if (socket.remote.data.empty() || connection.state == 0 || connection.state > kClosing)
    return Err("it is connected to nothing");
  if (socket.unread.size() > 1 || connection.unacknowledged.data.size() > kLargestQueue ||
      connection.unsent > connection.unacknowledged.data.size() + 1)
    return Err("its queues are impossible");
  if (connection.snd_wscale.has_value() != connection.rcv_wscale.has_value() ||
      connection.snd_wscale.value_or(0) > kLargestScale || connection.rcv_wscale.value_or(0) > kLargestScale)
    return Err("its windows are impossible");
  return {};
}

Result<void> check_terminal(const Terminal& terminal) {
  constexpr std::size_t kCharacters = 19, kLine = 65536;
  constexpr std::uint32_t kLargest = 65535;  // struct winsize
  if (terminal.device == 0 || !terminal.path.starts_with("/dev/")) return Err("it is no device");
  if (terminal.attributes.characters.data.size() != kCharacters || terminal.attributes.discipline > 255)
    return Err("its attributes are not those of a terminal");
  if (std::max({terminal.rows, terminal.columns, terminal.width, terminal.height}) > kLargest)
    return Err("its size is impossible");
  for (const auto id : {terminal.session, terminal.foreground}) {
    if (id != 0 && !is_id(id)) return Err("impossible IDs");
  }
  for (const auto& line : terminal.input) {
    if (line.data.data.size() > kLine) return Err("a line of {} bytes", line.data.data.size());
  }
  return {};
}

// Everybody who names a terminal names one that is there.
Result<void> check_terminals(const Snapshot& snapshot) {
  std::set<std::uint64_t> devices;
  for (const auto& terminal : snapshot.terminals) {
    if (!devices.insert(terminal.device).second) return Err("{} is there twice", terminal.path);
    TRY_IN(terminal.path, check_terminal(terminal));
  }
  std::set<std::uint64_t> masters;
  for (const auto& file : snapshot.files) {
    if (!file.terminal || file.terminal->device == 0) continue;
    const auto* terminal = snapshot.find_terminal(file.terminal->device);
    if (terminal == nullptr) return Err("{}: its terminal is not there", file.name);
    if (file.terminal->master && (!terminal->pseudo || !masters.insert(terminal->device).second))
      return Err("{} cannot have this master", terminal->path);
  }
  for (const auto& process : snapshot.processes) {
    if (process.terminal != 0 && !devices.contains(process.terminal))
      return Err("process {}: its terminal is not there", process.pid);
  }
  return {};
}

// Nothing that lies in its memory lies outside, and what was counted can be counted again.
Result<void> check_io_uring(const IoUring& ring) {
  constexpr std::uint32_t kMostEntries = 1U << 15U, kMostRequests = 1U << 26U;  // IORING_MAX_ENTRIES
  constexpr std::size_t kPlaces = 14, kArray = 6, kCompletions = 12;
  const auto good = [](std::uint32_t entries, std::uint32_t most) {
    return entries != 0 && entries <= most && std::has_single_bit(entries);
  };
  if (!good(ring.sq_entries, kMostEntries) || !good(ring.cq_entries, 2 * kMostEntries))
    return Err("a ring of {} and {} entries", ring.sq_entries, ring.cq_entries);
  if (ring.places.size() != kPlaces) return Err("a ring of an unknown form");
  const auto rings = ring.rings.data.size(), entries = ring.entries.data.size();
  constexpr std::uint64_t kMostOfBoth = 16ULL << 20U;
  if (rings % kPage != 0 || entries % kPage != 0 || rings > kMostOfBoth || entries > kMostOfBoth ||
      entries < std::size_t{ring.sq_entries} * 64)
    return Err("a ring in {} and {} bytes", rings, entries);
  for (std::size_t i = 0; i < kPlaces; ++i) {
    const std::size_t length = i == kArray ? 0 : i == kCompletions ? std::size_t{ring.cq_entries} * 16 : 4;
    if (ring.places[i] % 4 != 0 || ring.places[i] > rings || rings - ring.places[i] < length)
      return Err("a ring whose parts lie outside of it");
  }
  if (ring.sq_head > kMostRequests || ring.cq_tail > ring.sq_head)
    return Err("a ring of {} requests and {} completions", ring.sq_head, ring.cq_tail);
  return {};
}

Result<void> check_file(const OpenFile& file, std::size_t files) {
  const bool has_details =
      (file.kind != FileKind::path || file.path) && (file.kind != FileKind::pipe || file.pipe) &&
      (file.kind != FileKind::eventfd || file.eventfd) && (file.kind != FileKind::epoll || file.epoll) &&
      (file.kind != FileKind::timerfd || file.timerfd) &&
      (file.kind != FileKind::signalfd || file.signalfd) &&
      (file.kind != FileKind::inotify || file.inotify) && (file.kind != FileKind::pidfd || file.pidfd) &&
      ((file.kind != FileKind::kept && file.kind != FileKind::mqueue) || file.path) &&
      (file.kind != FileKind::io_uring || file.io_uring) &&
      (file.kind != FileKind::fifo || (file.path && file.pipe)) &&
      (file.kind != FileKind::socket || file.socket) && (file.kind != FileKind::terminal || file.terminal);
  if (!has_details) return Err("it says nothing about its {}", name_of(file.kind));
  if (file.position < 0) return Err("its position is negative");
  if (file.socket) TRY(check_socket(*file.socket, files));
  if (file.io_uring) TRY(check_io_uring(*file.io_uring));
  for (const auto& lock : file.locks) {
    if (lock.start > INT64_MAX || lock.length > INT64_MAX) return Err("a lock is out of bounds");
  }
  if (!file.epoll) return {};
  for (const auto& watch : file.epoll->watches) {
    if (watch.file >= files) return Err("it watches a file that is not there");
  }
  return {};
}

// Every use of a kept file leads to one.
Result<void> check_kept_files(const Snapshot& snapshot) {
  std::set<std::pair<std::uint64_t, std::uint64_t>> known;
  for (const auto& kept : snapshot.kept_files) {
    const auto name = fmt::format("kept file {}", kept.inode);
    if (!known.emplace(kept.device, kept.inode).second) return Err("{}: it is listed twice", name);
    if (kept.size > kHighestAddress) return Err("{}: it is too large", name);
    if (kept.kind == KeptKind::segment && (!kept.segment || !std::in_range<std::int32_t>(kept.inode)))
      return Err("{}: it says nothing about its segment", name);
    if (kept.huge_page != 0 && !is_huge_page(kept.huge_page))
      return Err("{}: no pages are of {} bytes", name, kept.huge_page);
    const auto page = std::max(kept.huge_page, kPage);
    TRY_IN(name, check_pages(kept.pages, (kept.size + page - 1) / page * page));
  }
  for (const auto& file : snapshot.files) {
    if (file.kind == FileKind::kept && !known.contains({file.path->device, file.path->inode}))
      return Err("{}: its contents are not part of the snapshot", file.name);
  }
  for (const auto& process : snapshot.processes) {
    const auto& memory = process.memory;
    if (memory.executable_inode != 0 && !known.contains({memory.executable_device, memory.executable_inode}))
      return Err("process {}: its program is not part of the snapshot", process.pid);
    for (const auto& mapping : memory.mappings) {
      if (mapping.of_kept_file() && !known.contains({mapping.device, mapping.inode}))
        return Err("process {}: what is mapped at {:#x} is not part of the snapshot", process.pid,
                   mapping.start);
    }
  }
  return {};
}

// What is mapped of a ring is there.
Result<void> check_mapped_rings(const Snapshot& snapshot) {
  std::set<std::uint64_t> rings;
  for (const auto& file : snapshot.files) {
    if (file.kind == FileKind::io_uring) rings.insert(file.io_uring->inode);
  }
  for (const auto& process : snapshot.processes) {
    for (const auto& mapping : process.memory.mappings) {
      if (mapping.kind == MappingKind::io_uring && (!mapping.shared || !rings.contains(mapping.inode)))
        return Err("process {}: the ring mapped at {:#x} is not part of the snapshot", process.pid,
                   mapping.start);
    }
  }
  return {};
}

// ipc_check_id() and SEMVMX of the kernel's.
Result<void> check_ipc_objects(const Snapshot& snapshot) {
  constexpr std::uint16_t kHighestValue = 32767;
  for (const auto& set : snapshot.semaphore_sets) {
    const auto& values = set.values;
    if (set.permissions.id < 0 || values.empty() || values.size() > kMostSemaphores ||
        std::ranges::any_of(values, [](auto value) { return value > kHighestValue; }))
      return Err("semaphore set {}: it is impossible", set.permissions.id);
  }
  for (const auto& queue : snapshot.message_queues) {
    if (queue.permissions.id < 0 ||
        std::ranges::any_of(queue.messages, [](const auto& m) { return m.type <= 0; }))
      return Err("message queue {}: it is impossible", queue.permissions.id);
  }
  return {};
}

// ipc/mqueue.c: the most that anybody may have.
Result<void> check_posix_queues(const Snapshot& snapshot) {
  constexpr std::int64_t kMostMessages = 65536, kLargestMessage = 16 << 20;
  constexpr std::size_t kLongestName = 255;
  std::set<std::pair<std::uint64_t, std::uint64_t>> known;
  for (const auto& queue : snapshot.posix_queues) {
    const auto& name = queue.name;
    if (name.size() < 2 || name.size() > kLongestName || name.rfind('/') != 0 || name == "/." ||
        name == "/.." || name.find('\0') != std::string::npos)
      return Err("'{}' is no name of a message queue", name);
    if (queue.most_messages < 1 || queue.most_messages > kMostMessages || queue.message_size < 1 ||
        queue.message_size > kLargestMessage || !known.emplace(queue.device, queue.inode).second)
      return Err("message queue {}: it is impossible", name);
  }
  for (const auto& file : snapshot.files) {
    if (file.kind == FileKind::mqueue && !known.contains({file.path->device, file.path->inode}))
      return Err("{}: its message queue is not part of the snapshot", file.name);
  }
  return {};
}

// A leader that has ended has left its ID to its session or process group. IDS: those of all tasks.
Result<void> check_leaders(const Snapshot& snapshot, const std::set<std::int32_t>& ids) {
  for (const auto& process : snapshot.processes) {
    for (const auto id : {process.session, process.pgrp}) {
      if (snapshot.find(id) == nullptr && ids.contains(id))
        return Err("process {}: a thread leads its session or process group", process.pid);
    }
  }
  for (const auto& terminal : snapshot.terminals) {
    if (snapshot.find(terminal.foreground) == nullptr && ids.contains(terminal.foreground))
      return Err("{}: a thread leads its foreground process group", terminal.path);
  }
  return {};
}

}  // namespace

Result<void> validate(const Snapshot& snapshot) {
  constexpr std::int64_t kLatest = std::int64_t{1} << 62U;
  for (const auto clock : {snapshot.clocks.monotonic, snapshot.clocks.boottime}) {
    if (clock < 0 || clock > kLatest) return Err("its clocks show an impossible time");
  }
  if (snapshot.processes.empty()) return Err("there is no process in it");
  TRY(check_filters(snapshot.seccomp_filters));
  TRY(check_namespaces(snapshot.namespaces));
  std::set<std::int32_t> ids, seen;
  for (const auto& process : snapshot.processes) {
    const auto name = fmt::format("process {}", process.pid);
    if (!is_id(process.pid) || !is_id(process.pgrp) || !is_id(process.session))
      return Err("{}: impossible IDs", name);
    TRY_IN(name, check_process(process, snapshot, ids));
    if (!seen.contains(process.ppid) && snapshot.find(process.ppid) != nullptr)
      return Err("{}: it is listed before its parent", name);
    seen.insert(process.pid);
  }
  TRY(check_leaders(snapshot, ids));
  for (std::size_t i = 0; i < snapshot.files.size(); ++i)
    TRY_IN(fmt::format("file {}", i), check_file(snapshot.files[i], snapshot.files.size()));
  TRY(check_terminals(snapshot));
  TRY(check_ipc_objects(snapshot));
  TRY(check_posix_queues(snapshot));
  TRY(check_mapped_rings(snapshot));
  return check_kept_files(snapshot);
}

}  // namespace upkeep::engine
