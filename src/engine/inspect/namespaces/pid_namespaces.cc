#include "engine/inspect/namespaces/pid_namespaces.h"

#include <set>

#include "engine/tree/inner_ids.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

class PidNamespaceLook {
 public:
  explicit PidNamespaceLook(Snapshot& snapshot) : snapshot_(snapshot), births_(groups_at_birth(snapshot)) {}

  void look() {
    look_at_mounts();
    look_at_foregrounds();
    for (std::size_t i = 0; i < snapshot_.processes.size(); ++i) {
      const auto& process = snapshot_.processes[i];
      look_at_children(process);
      if (depth_of(process) == 0) continue;
      look_at_place(process);
      look_at_groups(process, births_[i]);
      look_at_names(process);
    }
  }

 private:
  void refuse(const Process& process, std::string what, std::string why,
              std::string remedy = "carry it as a whole, or leave it out") {
    snapshot_.obstacles.push_back({process.pid, std::move(what), std::move(why), std::move(remedy)});
  }

  void look_at_children(const Process& process) {
    const auto theirs = process.pid_namespace_for_children;
    if (theirs == 0 || theirs == kUnbornPidNamespace) return;
    const auto* init = init_of(snapshot_, theirs);
    if (init == nullptr || init->exit_status)
      refuse(process, "PID namespace of its children", "its first process is not there, or has ended");
    else if (seen_by(process, *init) == 0)
      refuse(process, "PID namespace of its children", "its first process cannot be seen from here");
  }

  // Whose processes they show has to be here too.
  void look_at_mounts() {
    std::set<std::uint32_t> seen;
    for (const auto& process : snapshot_.processes) {
      if (!process.namespaces || !seen.insert(*process.namespaces).second) continue;
      for (const auto& mount : snapshot_.namespaces[*process.namespaces].mounts) {
        if (mount.pid_namespace != 0 && init_of(snapshot_, mount.pid_namespace) == nullptr)
          refuse(process, "mount " + mount.mount_point,
                 "it shows a PID namespace whose first process is not part of the tree");
      }
    }
  }

  void look_at_foregrounds() {
    for (const auto& terminal : snapshot_.terminals) {
      const auto* leader = snapshot_.find(terminal.session);
      if (leader == nullptr || terminal.foreground == 0 || depth_of(*leader) == 0) continue;
      if (group_seen_by(*leader, snapshot_, terminal.foreground) == 0)
        refuse(*leader, "terminal " + terminal.path, "all in its foreground process group have ended");
    }
  }

  // Each is made by its parent, in the parent's namespace or in one right inside of it.
  void look_at_place(const Process& process) {
    const auto what = "pid namespace of its own";
    const auto* init = init_of(snapshot_, process.pid_namespace);
    const auto* parent = snapshot_.find(process.ppid);
    const auto depth = depth_of(process), above = parent == nullptr ? 0 : depth_of(*parent);
    if (init == nullptr && !process.exit_status) {
      refuse(process, what, "its first process (init) is not part of the tree");
    } else if (is_init(process)) {
      if (depth != above + 1) refuse(process, what, "it was not made by its parent");
    } else if (parent == nullptr) {
      refuse(process, what, "its parent lives outside of it");
    } else if (parent->pid_namespace != process.pid_namespace) {
      const bool beside =
          init != nullptr && init < &process && init->ppid == process.ppid && depth == above + 1;
      if (!beside) refuse(process, what, "its parent lives outside of it, and has not made it");
    }
    if (parent != nullptr && enters_namespace(*parent, process) && process.session != process.pid &&
        process.session != parent->session)
      refuse(process, fmt::format("session {}", process.session),
             "it is neither its own nor its parent's, who lives outside of its PID namespace");
    if (process.namespaces && snapshot_.namespaces[*process.namespaces].user)
      refuse(process, what, "beside a user namespace it is not rebuilt by this version");
  }

  // A group or session that is led from outside of the namespace can only be inherited.
  void look_at_groups(const Process& process, std::int32_t at_birth) {
    if (!process.inner_pgrps.empty() && process.inner_pgrps.back() == 0 && process.pgrp != at_birth)
      refuse(process, fmt::format("process group {}", process.pgrp),
             "it is led from outside of its PID namespace, and not by who has made that",
             "start it with setsid");
  }

  void look_at_names(const Process& process) {
    for (const auto* folder : {&process.folders.working_directory, &process.folders.root}) {
      if (folder->starts_with("/proc/") || *folder == "/proc")
        refuse(process, "folder " + *folder, "folders of the /proc of a PID namespace are not rebuilt");
    }
    for (const auto& descriptor : process.descriptors) {
      const auto& file = snapshot_.files[descriptor.file];
      const bool asks =
          file.socket && file.socket->peer_credentials && file.socket->peer_credentials->pid != 0;
      if (!asks || !said_.insert(process.pid_namespace).second) continue;
      snapshot_.losses.push_back(
          {process.pid, descriptor_title(descriptor.fd, file.name),
           "inside of its PID namespace SO_PEERCRED will not tell the process any more that has connected "
           "Unix sockets, only its user",
           "nothing, where nobody there asks for it"});
    }
  }

  Snapshot& snapshot_;
  std::vector<std::int32_t> births_;
  std::set<std::uint64_t> said_;
};

}  // namespace

void look_at_pid_namespaces(Snapshot& snapshot) { PidNamespaceLook(snapshot).look(); }

}  // namespace upkeep::engine
