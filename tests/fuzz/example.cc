// Every field of the model filled in by what lists it, so that a new one takes part by itself; then put right
// where values have to fit together.

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <type_traits>

#include "common/fields.h"
#include "target.h"

namespace upkeep::fuzz {
namespace {

using namespace engine;

struct Filler {
  template <typename T>
  void operator()(const char*, T& value) {
    fill(value);
  }
  template <typename T>
  void fill(T& value) {
    if constexpr (std::same_as<T, bool>) {
      value = true;
    } else if constexpr (std::integral<T>) {
      value = 1;
    } else if constexpr (Named<T>) {
      value = static_cast<T>(1);
    } else if constexpr (std::same_as<T, std::string>) {
      value = "text";
    } else if constexpr (std::same_as<T, Bytes>) {
      value.data.assign(48, 0);
      value.data[0] = 10;
    } else if constexpr (is_optional<T>) {
      fill(value.emplace());
    } else if constexpr (is_vector<T>) {
      value.resize(2);
      for (auto& element : value) fill(element);
    } else if constexpr (is_array<T>) {
      for (auto& element : value) fill(element);
    } else {
      T::fields(value, *this);
    }
  }
};

void put_memory_right(AddressSpace& memory) {
  std::uint64_t at = 0x10000;
  const auto mapping = memory.mappings.front();
  memory.mappings.clear();
  for (const auto kind : {MappingKind::anonymous, MappingKind::file, MappingKind::shared_memory,
                          MappingKind::segment, MappingKind::vdso, MappingKind::io_uring}) {
    auto& one = memory.mappings.emplace_back(mapping);
    one.kind = kind;
    one.start = at, one.end = at + 4 * kPage, one.offset = 0;
    one.shared = one.of_kept_file() || one.kind == MappingKind::io_uring;
    one.inode = one.kind == MappingKind::segment ? 8 : one.kind == MappingKind::io_uring ? 9 : 7;
    one.flags = {"mw", "gd", "lo"};
    one.huge_page = 0, one.protection_key = 0;
    at += 16 * kPage;
  }
  memory.pages = {{0x10000, 2, 0}, {0x10000 + 16 * kPage, 1, 2 * kPage}};
  memory.guards = {{0x10000 + 2 * kPage, 0x10000 + 3 * kPage}};
  memory.executable_device = 1, memory.executable_inode = 7;
  memory.protection_keys = 0;
}

void put_socket_right(Socket& socket) {
  socket.unread.resize(1);
  socket.connection->unsent = 1;
  socket.journal.reset();
}

void put_ring_right(IoUring& ring) {
  ring = {.inode = 9, .flags = 0, .sq_entries = 4, .cq_entries = 8, .sq_head = 12, .cq_tail = 12};
  ring.places = {0, 4, 16, 24, 36, 32, 192, 8, 12, 20, 28, 44, 64, 40};
  ring.rings.data.resize(kPage);
  ring.entries.data.resize(kPage);
}

void put_identities_right(Snapshot& snapshot) {
  for (auto& filter : snapshot.seccomp_filters) filter.instructions.data.resize(8);
  std::uint64_t number = 0;
  for (auto& namespaces : snapshot.namespaces) {
    auto& numbers = namespaces.numbers;
    for (auto* one : {&numbers.user, &numbers.uts, &numbers.ipc, &numbers.mnt, &numbers.net, &numbers.cgroup,
                      &numbers.time, &numbers.time_for_children})
      *one = ++number;
    for (auto& root : namespaces.cgroup_roots) root.path = "/text";
    namespaces.mounts.resize(2);
    namespaces.mounts[0].id = 1, namespaces.mounts[0].parent = 0, namespaces.mounts[0].mount_point = "/";
    namespaces.mounts[1].id = 2, namespaces.mounts[1].parent = 1, namespaces.mounts[1].mount_point = "/text";
    for (auto& mount : namespaces.mounts) {
      mount.root = "/", mount.host_path = "/text";
      mount.contents.resize(1), mount.contents[0].path = "/text";
    }
  }
}

void put_terminals_right(Snapshot& snapshot) {
  snapshot.terminals.resize(1);
  snapshot.terminals[0].device = 1;
  snapshot.terminals[0].path = "/dev/pts/1";
  snapshot.terminals[0].session = 100;
  snapshot.terminals[0].foreground = 90;  // whose leader has ended
  snapshot.terminals[0].attributes.characters.data.resize(19);
}

void put_kept_files_right(Snapshot& snapshot) {
  snapshot.kept_files.resize(2);
  for (std::size_t i = 0; i < 2; ++i) {
    auto& kept = snapshot.kept_files[i];
    kept.device = 1, kept.inode = 7 + i;
    kept.kind = i == 0 ? KeptKind::shared_memory : KeptKind::segment;
    kept.size = 4 * kPage;
    kept.pages = {{0, 1, 3 * kPage}};
    kept.huge_page = 0;
  }
  snapshot.posix_queues = {{"/text", 1, 10, false, 0600, 0, 0, 10, 8192}};
}

void put_files_right(Snapshot& snapshot) {
  const auto filled = snapshot.files.front();
  snapshot.files.clear();
  // One of each kind, with that kind's details and no others.
  const std::map<std::string, std::set<std::string>> kinds = {
      {"path", {"path"}},        {"kept", {"path"}},       {"fifo", {"path", "pipe"}},
      {"pipe", {"pipe"}},        {"eventfd", {"eventfd"}}, {"epoll", {"epoll"}},
      {"timerfd", {"timerfd"}},  {"socket", {"socket"}},   {"signalfd", {"signalfd"}},
      {"inotify", {"inotify"}},  {"pidfd", {"pidfd"}},     {"terminal", {"terminal"}},
      {"io_uring", {"io_uring"}}};
  for (const auto& [kind, its] : kinds) {
    auto content = nlohmann::json::parse(encode(filled));
    for (auto member = content.begin(); member != content.end();) {
      const bool details = member->is_object() && !its.contains(member.key());
      member = details ? content.erase(member) : std::next(member);
    }
    content["kind"] = kind;
    if (auto file = decode<OpenFile>(content.dump())) snapshot.files.push_back(std::move(*file));
  }
  for (auto& file : snapshot.files) {
    if (file.path) file.path->inode = 7;
    if (file.socket) put_socket_right(*file.socket);
    if (file.io_uring) put_ring_right(*file.io_uring);
    if (!file.epoll) continue;
    file.epoll->watches = {{0, 1, 7, 1}, {5, 1, 8, 2}};
  }
}

void put_process_right(Process& process, std::int32_t pid, std::size_t files) {
  process.pid = pid;
  process.exit_status.reset();
  process.stopped->stop_signal = 19;
  process.threads.resize(2);
  process.threads[0].tid = pid;
  process.threads[1].tid = pid + 1;
  // One of them is the first of a PID namespace.
  const std::vector<std::int32_t> none, one = {1}, two = {2}, outside = {0};
  const bool init = pid == 120;
  process.inner_pids = process.threads[0].inner_tids = init ? one : none;
  process.threads[1].inner_tids = init ? two : none;
  process.inner_pgrps = process.inner_sessions = init ? outside : none;
  process.pid_namespace = init ? 1 : 0;
  process.pid_namespace_for_children = pid == 100 ? 1 : 0;
  process.descriptors.clear();
  for (std::uint32_t file = 0; file < files; ++file)
    process.descriptors.push_back({static_cast<std::int32_t>(2 * file), file % 2 == 0, file});
  put_memory_right(process.memory);
}

}  // namespace

Snapshot example() {
  Snapshot snapshot;
  Filler().fill(snapshot);
  snapshot.obstacles.clear();
  put_files_right(snapshot);
  put_kept_files_right(snapshot);
  put_identities_right(snapshot);
  put_terminals_right(snapshot);
  snapshot.processes.resize(3, snapshot.processes.front());
  std::int32_t pid = 100;
  for (auto& process : snapshot.processes) {
    put_process_right(process, pid, snapshot.files.size());
    process.ppid = pid == 100 ? 1 : 100;
    process.session = process.pgrp = 100;
    pid += 10;
  }
  Process zombie;
  zombie.pid = 130, zombie.ppid = 100, zombie.session = zombie.pgrp = 100;
  zombie.exit_status = 9;
  snapshot.processes.push_back(zombie);
  // Adopted from a session whose leader is there, and from one whose leader has ended.
  zombie.pid = 140, zombie.session = zombie.pgrp = 140;
  snapshot.processes.push_back(zombie);
  zombie.pid = 150;
  snapshot.processes.push_back(zombie);
  zombie.pid = 160, zombie.session = zombie.pgrp = 80;
  snapshot.processes.push_back(zombie);
  return snapshot;
}

}  // namespace upkeep::fuzz
