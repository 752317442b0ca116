#include "engine/rebuild/task/restorer.h"

#include <linux/keyctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string_view>

#include "os/file.h"
#include "os/procfs.h"
#include "os/uapi_supplement.h"

namespace upkeep::engine {

bool has_filters(const Snapshot& snapshot) {
  for (const auto& process : snapshot.processes) {
    for (const auto& thread : process.threads) {
      if (thread.seccomp.mode != 0) return true;
    }
  }
  return false;
}

bool has_keyring() {
  std::array<char, 256> text = {};
  const long length =
      ::syscall(SYS_keyctl, KEYCTL_DESCRIBE, KEY_SPEC_SESSION_KEYRING, text.data(), text.size() - 1);
  return length > 0 && std::string_view(text.data()).find(";_uid_ses.") == std::string_view::npos;
}

std::uint32_t own_login() {
  const auto text = os::read_record("/proc/self/loginuid").value_or("4294967295");
  return static_cast<std::uint32_t>(std::strtoul(text.c_str(), nullptr, 10));
}

bool kernel_takes_timer_ids() {
  constexpr unsigned long kAsk = 2;  // PR_TIMER_CREATE_RESTORE_IDS_GET
  return ::prctl(os::kPrTimerCreateRestoreIds, kAsk, 0, 0, 0) >= 0;
}

Result<void> place_in_cgroups(const Snapshot& snapshot) {
  const std::string hierarchies[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
  for (const auto& process : snapshot.processes) {
    if (process.exit_status || process.cgroup.empty() || process.cgroup.find("..") != std::string::npos)
      continue;
    if (os::cgroup_of(process.pid).value_or("") == process.cgroup) continue;
    // Where the root of what it sees is a cgroup, those below have to be there too.
    const bool make = process.namespaces && snapshot.namespaces[*process.namespaces].numbers.cgroup != 0;
    for (const auto& hierarchy : hierarchies) {
      if (make && os::exists(hierarchy + "/cgroup.procs"))
        TRY(os::make_directories(hierarchy + process.cgroup));
      const auto members = hierarchy + process.cgroup + "/cgroup.procs";
      if (os::exists(members)) TRY(os::write_value(members, std::to_string(process.pid)));
    }
  }
  return {};
}

Result<void> set_scores(const Process& process) {
  if (process.exit_status) return {};
  auto set = [&](const char* name, const std::string& value, int base) -> Result<void> {
    const auto path = fmt::format("/proc/{}/{}", process.pid, name);
    TRY_ASSIGN(const auto now, os::read_record(path));
    if (std::strtol(now.c_str(), nullptr, base) == std::strtol(value.c_str(), nullptr, 0)) return {};
    return os::write_value(path, value);
  };
  TRY(set("oom_score_adj", std::to_string(process.oom_score_adj), 10));
  return set("coredump_filter", fmt::format("{:#x}", process.coredump_filter), 16);
}

}  // namespace upkeep::engine
