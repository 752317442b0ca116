#include "engine/rebuild/namespaces/pid_namespaces.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "engine/rebuild/namespaces/mounts.h"
#include "engine/tree/inner_ids.h"
#include "os/child.h"
#include "os/file.h"
#include "os/namespace.h"

namespace upkeep::engine {
namespace {

// Of each namespace, the highest ID in it that is known.
std::map<std::uint64_t, std::int32_t> highest_ids(const Snapshot& snapshot) {
  std::map<std::uint64_t, std::int32_t> highest;
  for (const auto& process : snapshot.processes) {
    if (process.pid_namespace == 0) continue;
    auto& id = highest[process.pid_namespace];
    id = std::max({id, process.inner_pids.back(), process.inner_pgrps.back(), process.inner_sessions.back()});
    for (const auto& thread : process.threads) id = std::max(id, thread.inner_tids.back());
  }
  return highest;
}

// In a process that was born into the namespace, and still sees our files.
Result<void> finish_inside(std::uint64_t number, std::int32_t last_id, const Snapshot& snapshot,
                           const AllNamespaces& namespaces) {
  TRY(os::write_value("/proc/sys/kernel/ns_last_pid", std::to_string(last_id)));
  for (std::size_t i = 0; i < snapshot.namespaces.size(); ++i) {
    const auto& mounts = snapshot.namespaces[i].mounts;
    if (std::ranges::none_of(mounts, [&](const Mount& m) { return m.pid_namespace == number; })) continue;
    TRY(os::enter_namespace(namespaces[i].mnt, "mnt"));
    TRY(mount_procs(mounts, number));
  }
  return {};
}

// Children are born into our own one again when this is let go.
class BornInto {
 public:
  static Result<BornInto> begin(pid_t init) {
    TRY_ASSIGN(auto own, os::open_pidfd(::getpid()));
    TRY_ASSIGN(const auto pidfd, os::open_pidfd(init));
    if (::setns(pidfd.get(), CLONE_NEWPID) < 0) return ErrnoErr("setns pid");
    return BornInto(std::move(own));
  }
  BornInto(BornInto&&) = default;
  BornInto& operator=(BornInto&&) = delete;
  ~BornInto() {
    if (own_.valid()) (void)::setns(own_.get(), CLONE_NEWPID);
  }

 private:
  explicit BornInto(os::UniqueFd own) : own_(std::move(own)) {}
  os::UniqueFd own_;
};

Result<os::Child> born_into(pid_t init, const std::function<int()>& body) {
  TRY_ASSIGN(const auto inside, BornInto::begin(init));
  return os::fork_child(body);
}

Result<void> finish_one(const Process& init, std::int32_t last_id, const Snapshot& snapshot,
                        const AllNamespaces& namespaces) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return ErrnoErr("pipe");
  const os::UniqueFd from(ends[0]);
  os::UniqueFd into(ends[1]);
  TRY_ASSIGN(const auto child, born_into(init.pid, [&]() -> int {
               ::prctl(PR_SET_PDEATHSIG, SIGKILL);
               const auto done = finish_inside(init.pid_namespace, last_id, snapshot, namespaces);
               if (!done) (void)os::write_all(into, done.error().message());
               return 0;
             }));
  into.reset();
  const auto error = os::read_all(from);
  TRY_ASSIGN(const auto status, os::wait_child(child, std::chrono::seconds(10)));
  if (!error || !error->empty() || !status.success())
    return Err("PID namespace of process {}: {}", init.pid, error ? *error : status.text());
  return {};
}

}  // namespace

Result<void> finish_pid_namespaces(const Snapshot& snapshot, const AllNamespaces& namespaces) {
  for (const auto& [number, last_id] : highest_ids(snapshot)) {
    const auto* init = init_of(snapshot, number);
    if (init == nullptr) return Err("a PID namespace has no first process");
    if (!init->exit_status) TRY(finish_one(*init, last_id, snapshot, namespaces));
  }
  return {};
}

}  // namespace upkeep::engine
