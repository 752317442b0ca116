#include "engine/criu/rules.h"

#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <utility>

#include "engine/criu/ruling.h"

namespace upkeep::engine::criu {
namespace {

constexpr const char* kOutsideUnit =
    "start it outside its unit (README, \"Services that are started by hand\")";

struct Forbidden {
  const char* kind;
  const char* why;
};
constexpr std::array kForbidden = {
    Forbidden{"mnt",
              "it has a mount namespace of its own (as PrivateTmp=, ProtectSystem= and their like make)"},
    Forbidden{"user", "it has a user namespace of its own (as PrivateUsers= makes)"},
    Forbidden{"uts", "it has a host name namespace of its own (as ProtectHostname= makes)"},
    Forbidden{"net", "it has a network namespace of its own (as PrivateNetwork= makes)"},
    Forbidden{"pid", "it has a PID namespace of its own (a container)"},
    Forbidden{"cgroup", "it has a cgroup namespace of its own (a container)"},
};

std::uint64_t id_of(const TaskFacts& task, std::string_view kind) {
  auto it = task.namespaces.find(kind);
  return it == task.namespaces.end() ? 0 : it->second;
}

void judge_namespaces(const TaskFacts& task, Ruling& ruling) {
  const auto& own = ruling.machine.namespaces;
  for (const auto& forbidden : kForbidden) {
    auto ours = own.find(forbidden.kind);
    auto theirs = id_of(task, forbidden.kind);
    if (theirs != 0 && ours != own.end() && theirs != ours->second)
      ruling.refuse(name_of(task), forbidden.why, kOutsideUnit);
  }
  const auto& root = ruling.tree.tasks.front();
  if (id_of(task, "time") != id_of(root, "time") || id_of(task, "time_for_children") != id_of(task, "time")) {
    ruling.refuse(name_of(task),
                  "its clocks are not those of the tree's root (it has a time namespace of its own)",
                  "leave it out of --carry");
  }
  if (id_of(task, "ipc") != id_of(root, "ipc")) {
    ruling.refuse(name_of(task), "its IPC namespace is not that of the tree's root",
                  "leave it out of --carry");
  }
}

void judge_ids(const TaskFacts& task, Ruling& ruling) {
  for (const auto& carried : ruling.tree.tree->tasks) {
    if (carried.pid != task.pid) continue;
    for (pid_t id : carried.threads) {
      auto why = why_not_this_id(id, ruling.machine.destination);
      if (!why.empty()) ruling.refuse(name_of(task), std::move(why), kHigherId);
    }
  }
}

void judge_restartable_sequences(const TaskFacts& task, Ruling& ruling) {
  auto why = why_not_this_rseq(task.rseq_size, ruling.machine.destination);
  if (!why.empty()) ruling.refuse(name_of(task), std::move(why), kSmallerRseq);
}

void judge_mapping(const TaskFacts& task, const Mapping& mapping, Ruling& ruling) {
  const std::string& name = mapping.name;
  if (name.starts_with("/SYSV")) {
    ruling.warn(name_of(task),
                "it uses System V shared memory: it gets an IPC namespace of its own, so that programs "
                "outside its tree do not see these segments any more",
                "");
  } else if (name.starts_with("anon_inode:") && name.find("[aio]") == std::string::npos) {
    ruling.refuse(name_of(task),
                  fmt::format("it has memory of '{}' mapped, which cannot be made again", name),
                  "leave it out of --carry");
  } else if (name.starts_with("socket:[")) {
    ruling.refuse(name_of(task), "it has the ring of a packet socket mapped", "leave it out of --carry");
  } else if (name.starts_with("/dev/") && !name.starts_with("/dev/zero") && !name.starts_with("/dev/shm/") &&
             !name.starts_with("/dev/hugepages")) {  // of pools tells check_set()
    ruling.refuse(name_of(task), fmt::format("it has the device {} mapped", name), "leave it out of --carry");
  } else if (name == "[uprobes]") {
    ruling.refuse(name_of(task), "a uprobe is set in it", "end the tracing (bpftrace, perf, ...)");
  }
}

}  // namespace

std::vector<Finding> judge(const TreeFacts& tree, const MachineFacts& machine) {
  Ruling ruling(tree, machine);
  if (tree.tasks.empty()) return {};
  if (tree.tasks.front().state == 'Z')
    ruling.refuse(name_of(tree.tasks.front()), "it has ended (a zombie)", "leave it out of --carry");
  for (const auto& task : tree.tasks) {
    if (task.state == 'Z') continue;  // criu makes zombies again
    judge_task(task, ruling);
    for (const auto& descriptor : task.descriptors) judge_descriptor(task, descriptor, ruling);
  }
  const auto& carried = tree.tree->tasks;
  // getsid(2), setns(2): 0 stands for a leader that this PID namespace does not see.
  if (std::any_of(carried.begin(), carried.end(),
                  [](const auto& task) { return task.session == 0 || task.group == 0; })) {
    ruling.refuse(name_of(tree.tasks.front()),
                  "its session or process group is led from outside this PID namespace",
                  "start it with setsid, or run upkeep in the machine's own PID namespace");
  } else if (tree.tree->led_from_outside()) {
    ruling.warn(name_of(tree.tasks.front()),
                "its session or process group is led by a program that is not carried: it gets new ones",
                "start it with setsid");
  }
  return ruling.take();
}

void judge_task(const TaskFacts& task, Ruling& ruling) {
  judge_namespaces(task, ruling);
  judge_ids(task, ruling);
  judge_restartable_sequences(task, ruling);
  for (const auto& mapping : task.mappings) judge_mapping(task, mapping, ruling);
  auto tracer = task.status.find("TracerPid");
  if (tracer != task.status.end() && tracer->second != "0") {
    ruling.refuse(name_of(task), fmt::format("process {} traces it", tracer->second), "detach the debugger");
  }
  if (task.word_size == 32)
    ruling.refuse(name_of(task), "it is a 32-bit program, which Debian's criu does not carry",
                  "leave it out of --carry");
  if (task.shares_memory)
    ruling.refuse(name_of(task), "it shares its memory with its parent (vfork)", "try again in a moment");
  if (task.security.find('(') != std::string::npos) {
    ruling.refuse(
        name_of(task),
        fmt::format(
            "AppArmor confines it ({}), and the new kernel has no profiles yet when tasks are restored",
            task.security),
        "unload the profile (aa-disable) and restart it");
  }
  if (task.terminal != 0) {
    const auto number = static_cast<unsigned>(task.terminal);
    judge_terminal(name_of(task),
                   makedev((number >> 8) & 0xfffU, (number & 0xffU) | ((number >> 12) & 0xfff00U)), ruling);
  }
}

Ruling::Ruling(const TreeFacts& tree_facts, const MachineFacts& machine_facts)
    : tree(tree_facts), machine(machine_facts) {
  for (const auto& task : tree.tasks) {
    pids_.insert(task.pid);
    for (const auto& descriptor : task.descriptors) {
      if (descriptor.link.starts_with("socket:[")) sockets_.insert(descriptor.inode());
      for (auto index : fdinfo_numbers(descriptor.info, "tty-index"))
        terminals_.insert(static_cast<unsigned>(index));
    }
  }
}

std::string Ruling::outsider(const std::string& link, const std::function<bool(pid_t)>& matters) const {
  auto [first, last] = machine.holders.equal_range(link);
  for (auto it = first; it != last; ++it) {
    if (!inside(it->second) && matters(it->second))
      return machine.name_of ? machine.name_of(it->second) : std::to_string(it->second);
  }
  return "";
}

std::string Ruling::outsider_holding(const std::string& link) const {
  return outsider(link, [](pid_t) { return true; });
}

std::string Ruling::outsider_writing(const std::string& link) const {
  return outsider(link, [&](pid_t pid) { return machine.writes && machine.writes(pid, link); });
}

void Ruling::add(Finding::Severity severity, const std::string& subject, std::string why,
                 std::string remedy) {
  if (!said_.insert(why).second) return;
  findings_.push_back({severity, subject, std::move(why), std::move(remedy)});
}

void Ruling::refuse(const std::string& subject, std::string why, std::string remedy) {
  add(Finding::Severity::refusal, subject, std::move(why), std::move(remedy));
}

void Ruling::warn(const std::string& subject, std::string why, std::string remedy) {
  add(Finding::Severity::warning, subject, std::move(why), std::move(remedy));
}

std::string name_of(const TaskFacts& task) { return fmt::format("{} ({})", task.pid, task.comm); }
std::string name_of(const TaskFacts& task, const Descriptor& descriptor) {
  return fmt::format("{} ({}), descriptor {}", task.pid, task.comm, descriptor.number);
}

}  // namespace upkeep::engine::criu
