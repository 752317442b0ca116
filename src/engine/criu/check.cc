#include <fcntl.h>

#include <algorithm>
#include <cstdlib>

#include "engine/criu/operations.h"
#include "engine/criu/rules.h"
#include "os/file.h"
#include "os/huge_pages.h"
#include "os/landlock.h"
#include "os/procfs.h"

namespace upkeep::engine::criu {
namespace {

using Severity = Finding::Severity;

// criu itself: there, new enough, content with this kernel. False: nothing more can be said.
bool check_program(const EngineOptions& options, std::vector<Finding>& findings) {
  if (options.program.argv.front().empty()) {
    findings.push_back({Severity::refusal, "criu", "it is not installed", "apt install criu"});
    return false;
  }
  auto version = ask(options, encode_version_request());
  if (!version) {
    findings.push_back(
        {Severity::refusal, "criu", version.error().message(), "apt install --reinstall criu"});
    return false;
  }
  if (version->major < 4) {
    findings.push_back({Severity::refusal, fmt::format("criu {}.{}", version->major, version->minor),
                        "versions before 4.0 are not supported", "upgrade to Debian 13's criu"});
    return false;
  }
  auto able = check_kernel(options);
  if (!able) {
    findings.push_back({Severity::refusal, "criu",
                        fmt::format("`criu check` finds this kernel lacking: {}", able.error().message()),
                        "install the kernel's modules and load tun, nf_tables and the *_diag modules"});
    return false;
  }
  findings.push_back({Severity::ok,
                      fmt::format("criu {}.{}.{}", version->major, version->minor, version->sublevel),
                      "its own check passes", ""});
  return true;
}

// Whether PID has the file behind LINK open for writing: the flags of fdinfo are in octal
// (proc_pid_fdinfo(5)).
bool opened_for_writing(pid_t pid, const std::string& link) {
  for (const auto& descriptor : os::list_descriptors(pid)) {
    if (descriptor.link != link) continue;
    const auto info = os::read_file(fmt::format("/proc/{}/fdinfo/{}", pid, descriptor.number));
    if (!info) continue;
    const auto flags = os::parse_key_values(*info)["flags"];
    if ((std::strtol(flags.c_str(), nullptr, 8) & O_ACCMODE) != O_RDONLY) return true;
  }
  return false;
}

TreeFacts read_tree(const CarriedTree& tree, std::vector<Finding>& findings) {
  TreeFacts facts;
  facts.tree = &tree;
  for (const auto& carried : tree.tasks) {
    auto task = read_task(carried.pid);
    if (!task) {
      if (carried.pid == tree.root)
        findings.push_back({Severity::refusal, title_of(tree), task.error().message(), ""});
      continue;  // others may end at any time
    }
    for (const auto& descriptor : task->descriptors) {
      if (!descriptor.link.starts_with("socket:[")) continue;
      if (auto socket = read_socket(carried.pid, descriptor.number))
        facts.sockets[{carried.pid, descriptor.number}] = std::move(*socket);
    }
    facts.tasks.push_back(std::move(*task));
  }
  return facts;
}

// criu says nothing of them, and afterwards they are not restricted.
void find_restricted(const CarrySet& set, const MachineFacts& machine, std::vector<Finding>& findings) {
  const auto restricted = os::restricted_by_landlock();
  if (!restricted)
    findings.push_back({Severity::warning, "Landlock",
                        "whether a task is restricted by it cannot be seen: " + restricted.error().message(),
                        "leave those that may be out of --carry"});
  for (const auto& tree : set.trees) {
    for (const auto& task : tree.tasks) {
      const auto threads = os::list_threads(task.pid);
      if (restricted && threads &&
          std::ranges::any_of(*threads, [&](pid_t tid) { return restricted->contains(tid); }))
        findings.push_back({Severity::refusal, machine.name_of(task.pid),
                            "it has restricted itself by Landlock, and by what rules nobody can read",
                            "start it without that sandbox, or leave it out of --carry"});
    }
  }
}

}  // namespace

std::vector<Finding> check_set(const EngineOptions& options, const CarrySet& set,
                               const Destination& destination) {
  std::vector<Finding> findings;
  if (!check_program(options, findings)) return findings;
  MachineFacts machine;
  machine.destination = destination;
  machine.namespaces = read_namespaces("/proc/self");
  machine.holders = read_holders();
  machine.writes = opened_for_writing;
  machine.name_of = [](pid_t pid) {
    auto stat = os::read_stat(pid);
    return fmt::format("{} ({})", pid, stat ? stat->comm : "?");
  };
  if (auto sockets = read_unix_sockets()) {
    machine.unix_sockets = std::move(*sockets);
  } else {
    findings.push_back({Severity::refusal, "Unix sockets", sockets.error().message(), "modprobe unix_diag"});
  }
  std::vector<TreeFacts> trees;
  for (const auto& tree : set.trees) {
    trees.push_back(read_tree(tree, findings));
    for (const auto& [where, socket] : trees.back().sockets) machine.carried_ends.insert(socket.local);
  }
  for (const auto& tree : trees) {
    for (auto& finding : judge(tree, machine)) findings.push_back(std::move(finding));
    for (const auto& task : tree.tree->tasks) {
      if (os::uses_huge_pages(task.pid))
        findings.push_back({Severity::refusal, machine.name_of(task.pid),
                            "it uses the kernel's pools of huge pages, which this engine does not carry",
                            "use --engine native, or switch them off in its configuration"});
    }
  }
  find_restricted(set, machine, findings);
  return findings;
}

}  // namespace upkeep::engine::criu
