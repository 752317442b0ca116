#include "engine/inspect/tree_obstacles.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "engine/inspect/calls/outside_processes.h"
#include "engine/inspect/files/description_order.h"
#include "engine/inspect/files/terminal_users.h"
#include "engine/inspect/namespaces/pid_namespaces.h"
#include "engine/inspect/task/leaders.h"
#include "engine/inspect/task/sharing.h"
#include "engine/tree/births.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

constexpr int kKcmpFiles = 2, kKcmpFolders = 3;  // linux/kcmp.h

std::set<std::string> shared_names(const Snapshot& snapshot) {
  std::set<std::string> names;
  for (const auto& file : snapshot.files) {
    if (file.kind == FileKind::pipe || file.kind == FileKind::fifo || file.kind == FileKind::socket)
      names.insert(file.name);
  }
  return names;
}

// Calls USE with each descriptor of each of them.
template <typename Use>
void for_each_outside_descriptor(const OutsideProcesses& outside, const Use& use) {
  for (const pid_t pid : outside) {
    for (const auto& descriptor : os::list_descriptors(pid)) use(pid, descriptor);
  }
}

void find_outside_holders(const OutsideProcesses& outside, Snapshot& snapshot) {
  const auto wanted = shared_names(snapshot);
  if (wanted.empty()) return;
  std::map<std::string, pid_t> holders;
  for_each_outside_descriptor(outside, [&](pid_t pid, const os::LinkedDescriptor& theirs) {
    if (wanted.contains(theirs.link)) holders.emplace(theirs.link, pid);
  });
  for (const auto& process : snapshot.processes) {
    for (const auto& descriptor : process.descriptors) {
      const auto& name = snapshot.files[descriptor.file].name;
      auto holder = holders.find(name);
      if (holder == holders.end()) continue;
      snapshot.obstacles.push_back(
          {process.pid, descriptor_title(descriptor.fd, name),
           fmt::format("process {} ({}), which is not part of the tree, holds it too", holder->second,
                       os::command_line(holder->second)),
           "carry that process too, or redirect to a file"});
      holders.erase(holder);  // said once
    }
  }
}

// A pidfd has no state that two holders could see.
bool shared_by_copy(const OpenFile& file) {
  return file.name.starts_with("anon_inode:") && file.kind != FileKind::pidfd;
}

// Descriptors in the order of kcmp(2), so that one is found among many.
struct Ours {
  pid_t pid;
  int fd;
};
class SortedDescriptors {
 public:
  const Ours* find(pid_t pid, int fd) const {
    const auto place = place_of(pid, fd);
    return place.same ? &descriptors_[place.at] : nullptr;
  }
  void add(const Ours& one) {
    const auto place = place_of(one.pid, one.fd);
    if (!place.same) descriptors_.insert(descriptors_.begin() + static_cast<std::ptrdiff_t>(place.at), one);
  }

 private:
  DescriptionPlace place_of(pid_t pid, int fd) const {
    return find_description(pid, fd, descriptors_.size(),
                            [&](std::size_t i) -> const Ours& { return descriptors_[i]; });
  }
  std::vector<Ours> descriptors_;
};

// Objects without a name of their own (eventfd and the like) are told apart by kcmp(2).
void find_outside_holders_of_unnamed(const OutsideProcesses& outside, Snapshot& snapshot) {
  std::map<std::string, SortedDescriptors> ours;
  std::set<std::uint32_t> seen;
  for (const auto& process : snapshot.processes) {
    for (const auto& descriptor : process.descriptors) {
      const auto& file = snapshot.files[descriptor.file];
      if (shared_by_copy(file) && seen.insert(descriptor.file).second)
        ours[file.name].add({process.pid, descriptor.fd});
    }
  }
  if (ours.empty()) return;
  for_each_outside_descriptor(outside, [&](pid_t pid, const os::LinkedDescriptor& theirs) {
    const auto same_kind = ours.find(theirs.link);
    if (same_kind == ours.end()) return;
    if (const auto* one = same_kind->second.find(pid, theirs.number))
      snapshot.obstacles.push_back(
          {one->pid, descriptor_title(one->fd, theirs.link),
           fmt::format("process {} ({}), which is not part of the tree, holds it too", pid,
                       os::command_line(pid)),
           "carry that process too"});
  });
}

// Of a tree that runs: whether it was about to end, which has no table and no directory any more.
bool has_ended(pid_t tid) {
  const auto stat = os::read_stat(tid);
  return !stat || stat->exiting();
}

void look_at_threads(const Process& process, Snapshot& snapshot) {
  for (const auto& thread : process.threads) {
    for (const auto& [kind, name] :
         {std::pair{kKcmpFiles, "table of descriptors"}, {kKcmpFolders, "working directory"}}) {
      const bool shared =
          thread.tid == process.pid || ::syscall(SYS_kcmp, process.pid, thread.tid, kind, 0, 0) == 0;
      if (shared || has_ended(thread.tid)) continue;
      snapshot.obstacles.push_back({process.pid, fmt::format("thread {}", thread.tid),
                                    fmt::format("it has a {} of its own", name), ""});
    }
  }
}

// Who is to be sent signals has to be there.
void look_at_input_signals(Snapshot& snapshot) {
  std::set<std::int32_t> ids, groups;
  for (const auto& process : snapshot.processes) {
    groups.insert(process.pgrp);
    for (const auto& thread : process.threads) ids.insert(thread.tid);
  }
  for (const auto& process : snapshot.processes) {
    for (const auto& descriptor : process.descriptors) {
      const auto& file = snapshot.files[descriptor.file];
      if (!file.input_signal || file.input_signal->owner == 0) continue;
      const auto& who = file.input_signal->type == F_OWNER_PGRP ? groups : ids;
      if (!who.contains(file.input_signal->owner))
        snapshot.obstacles.push_back(
            {process.pid, descriptor_title(descriptor.fd, file.name),
             fmt::format("its signals go to {}, which is not part of the tree", file.input_signal->owner),
             "carry that process too"});
    }
  }
}

// A keyring is handed down to those that a process makes; those at the top may have one in common.
void look_at_keyrings(const Births& births, Snapshot& snapshot) {
  std::map<std::uint32_t, bool> made;  // whether at the top
  for (const auto& process : snapshot.processes) {
    if (!process.stopped) continue;
    const auto& own = process.stopped->keyring;
    const auto* maker = births.maker_of(process);
    const bool has_maker = maker != nullptr && maker->stopped;
    if (has_maker && maker->stopped->keyring == own) continue;
    if (!own && has_maker)
      snapshot.obstacles.push_back(
          {process.pid, "session keyring", "it is that of its user, and its parent has another one", ""});
    if (!own) continue;
    const bool top = maker == nullptr;
    const auto [first, is_new] = made.emplace(*own, top);
    if (!is_new && !(top && first->second))
      snapshot.obstacles.push_back({process.pid, "session keyring " + snapshot.keyrings[*own].name,
                                    "it is shared with a process that is neither parent nor child", ""});
  }
}

// Those at the top whose session's leader has ended begin with one keyring, and only some of them make
// another one.
void look_at_keyrings_of_orphans(const Births& births, Snapshot& snapshot) {
  const auto common = keyrings_of_many_roots(snapshot, births);
  for (const auto& step : births.steps) {
    const auto* stand_in = std::get_if<StandIn>(&step);
    if (stand_in == nullptr || stand_in->maker != nullptr) continue;
    const auto first = keyring_for(*stand_in, common);
    if (!first) continue;
    for (const auto* child : stand_in->children) {
      if (!child->stopped || child->stopped->keyring == first) continue;
      if (!child->stopped->keyring || common.contains(*child->stopped->keyring))
        snapshot.obstacles.push_back(
            {child->pid, "session keyring",
             fmt::format("others in its session {}, whose leader has ended, have another one",
                         child->session),
             ""});
    }
  }
}

// How they can be made again, if everything that they are made of is here.
void look_at_births(const OutsideProcesses& outside, Snapshot& snapshot) {
  if (!look_at_leaders(outside, snapshot)) return;
  const auto births = plan_births(snapshot);
  if (!births) {
    snapshot.obstacles.push_back(births.error());
    return;
  }
  look_at_keyrings(*births, snapshot);
  look_at_keyrings_of_orphans(*births, snapshot);
}

// Who has entered a user namespace may not set these any more; its threads have what its leader has.
void look_at_user_namespaces(Snapshot& snapshot) {
  for (const auto& process : snapshot.processes) {
    if (!process.namespaces || !snapshot.namespaces[*process.namespaces].user) continue;
    for (const auto& thread : process.threads) {
      const auto ids = [](const Credentials& c) {
        return std::tuple(c.uid, c.euid, c.suid, c.fsuid, c.gid, c.egid, c.sgid, c.fsgid, c.groups);
      };
      const auto& leader = process.threads.front();
      if (ids(thread.credentials) != ids(leader.credentials))
        snapshot.obstacles.push_back({process.pid, fmt::format("thread {}", thread.tid),
                                      "it has another user or group than its process, in a user namespace",
                                      ""});
      if (!(thread.scheduling == leader.scheduling) &&
          (thread.scheduling.policy != 0 || thread.scheduling.nice < leader.scheduling.nice))
        snapshot.obstacles.push_back({process.pid, fmt::format("thread {}", thread.tid),
                                      "it is scheduled otherwise than its process, in a user namespace", ""});
    }
  }
}

// What is in these is seen by everybody in them, and would be there twice.
void find_others_in_namespaces(const OutsideProcesses& outside, Snapshot& snapshot) {
  for (const char* kind : {"net", "ipc", "pid"}) {
    std::map<std::uint64_t, std::int32_t> ours;
    for (const auto& process : snapshot.processes) {
      if (process.exit_status) continue;
      const auto its = os::namespace_id(process.pid, kind), own = os::namespace_id(0, kind);
      if (its && own && *its != *own) ours.emplace(*its, process.pid);
    }
    if (ours.empty()) continue;
    for (const pid_t pid : outside) {
      const auto found = ours.find(os::namespace_id(pid, kind).value_or(0));
      if (found == ours.end()) continue;
      snapshot.obstacles.push_back(
          {found->second, fmt::format("{} namespace of its own", kind),
           fmt::format("process {} ({}), which is not part of the tree, is in it too", pid,
                       os::command_line(pid)),
           "carry that process too"});
      ours.erase(found);  // said once
    }
  }
}

// Each socket belongs to one network for good, wherever its tasks have gone since.
void look_at_networks_of_sockets(Snapshot& snapshot) {
  std::set<std::uint64_t> carried = {0};
  for (const auto& namespaces : snapshot.namespaces) carried.insert(namespaces.numbers.net);
  for (const auto& process : snapshot.processes) {
    for (const auto& descriptor : process.descriptors) {
      const auto& file = snapshot.files[descriptor.file];
      if (!file.socket || carried.contains(file.socket->network)) continue;
      snapshot.obstacles.push_back({process.pid, descriptor_title(descriptor.fd, file.name),
                                    "it belongs to a network namespace that no process of the tree is in",
                                    "carry that process too"});
    }
  }
}

}  // namespace

void look_at_whole_tree(Snapshot& snapshot) {
  const auto outside = outside_processes(snapshot);
  look_at_sharing(outside, snapshot);
  for (const auto& process : snapshot.processes) look_at_threads(process, snapshot);
  look_at_births(outside, snapshot);
  look_at_input_signals(snapshot);
  look_at_user_namespaces(snapshot);
  look_at_pid_namespaces(snapshot);
  find_others_in_namespaces(outside, snapshot);
  look_at_networks_of_sockets(snapshot);
  find_outside_holders(outside, snapshot);
  find_outside_holders_of_unnamed(outside, snapshot);
  find_outside_users_of_terminals(outside, snapshot);
}

}  // namespace upkeep::engine
