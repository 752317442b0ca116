// What stands in the way that only the whole tree shows: objects shared with tasks that stay behind, sessions
// led from outside.

#include "engine/native/inspect/tree_obstacles.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>

#include "os/file.h"
#include "os/procfs.h"

namespace upkeep::native {
namespace {

constexpr int kKcmpMemory = 1, kKcmpFiles = 2, kKcmpFolders = 3, kKcmpActions = 4;  // linux/kcmp.h

std::set<std::string> shared_names(const Snapshot& snapshot) {
  std::set<std::string> names;
  for (const auto& file : snapshot.files) {
    if (file.kind == "pipe") names.insert(file.name);
  }
  return names;
}

void find_outside_holders(Snapshot& snapshot) {
  const auto wanted = shared_names(snapshot);
  auto pids = os::list_processes();
  if (wanted.empty() || !pids) return;
  std::map<std::string, pid_t> holders;
  for (pid_t pid : *pids) {
    if (snapshot.find(pid) != nullptr || pid == ::getpid()) continue;
    const auto folder = fmt::format("/proc/{}/fd", pid);
    auto numbers = os::list_directory(folder);
    if (!numbers) continue;
    for (const auto& number : *numbers) {
      auto link = os::read_link(folder + "/" + number);
      if (link && wanted.contains(*link)) holders.emplace(*link, pid);
    }
  }
  for (const auto& process : snapshot.processes) {
    for (const auto& descriptor : process.descriptors) {
      const auto& name = snapshot.files[descriptor.file].name;
      auto holder = holders.find(name);
      if (holder == holders.end()) continue;
      snapshot.obstacles.push_back(
          {process.pid, fmt::format("descriptor {} ({})", descriptor.fd, name),
           fmt::format("process {} ({}), which is not part of the tree, holds it too", holder->second,
                       os::command_line(holder->second)),
           "carry that process too, or redirect to a file"});
      holders.erase(holder);  // said once
    }
  }
}

void look_at_ids(const Process& process, Snapshot& snapshot) {
  auto refuse = [&](std::string what, std::string why) {
    snapshot.obstacles.push_back({process.pid, std::move(what), std::move(why), "start it with setsid"});
  };
  const auto* session = snapshot.find(process.session);
  if (session == nullptr)
    refuse(fmt::format("session {}", process.session), "its leader is not part of the tree");
  const auto* group = snapshot.find(process.pgrp);
  if (group == nullptr)
    refuse(fmt::format("process group {}", process.pgrp), "its leader is not part of the tree");
}

// fork(2) gives every process its own of these; clone(2) with CLONE_VM and so on, or vfork(2), does not.
void look_at_sharing(const Process& process, Snapshot& snapshot) {
  const auto* parent = snapshot.find(process.ppid);
  if (parent == nullptr || process.exit_status || parent->exit_status) return;
  const std::pair<int, const char*> kinds[] = {{kKcmpMemory, "address space"},
                                               {kKcmpFiles, "table of descriptors"},
                                               {kKcmpFolders, "working directory (CLONE_FS)"},
                                               {kKcmpActions, "table of signal actions"}};
  for (const auto& [kind, name] : kinds) {
    if (::syscall(SYS_kcmp, process.pid, parent->pid, kind, 0, 0) == 0)
      snapshot.obstacles.push_back(
          {process.pid, name, fmt::format("shared with process {}", parent->pid), ""});
  }
}

void look_at_threads(const Process& process, Snapshot& snapshot) {
  for (const auto& thread : process.threads) {
    for (const auto& [kind, name] :
         {std::pair{kKcmpFiles, "table of descriptors"}, {kKcmpFolders, "working directory"}}) {
      if (thread.tid != process.pid && ::syscall(SYS_kcmp, process.pid, thread.tid, kind, 0, 0) != 0)
        snapshot.obstacles.push_back({process.pid, fmt::format("thread {}", thread.tid),
                                      fmt::format("it has a {} of its own", name), ""});
    }
  }
}

}  // namespace

void look_at_whole_tree(Snapshot& snapshot) {
  for (const auto& process : snapshot.processes) {
    look_at_ids(process, snapshot);
    look_at_sharing(process, snapshot);
    look_at_threads(process, snapshot);
  }
  find_outside_holders(snapshot);
}

}  // namespace upkeep::native
