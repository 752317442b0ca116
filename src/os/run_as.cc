#include "os/run_as.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "os/clone.h"

namespace upkeep::os {
namespace {

using Answer = Result<std::vector<int>>;

// By system calls, for libc would tell other threads, of which there are none here. The saved user stays
// root, so that the capabilities can be taken up again.
Result<void> become(const Persona& persona) {
  if (::syscall(SYS_setgroups, persona.groups.size(), persona.groups.data()) < 0)
    return ErrnoErr("setgroups");
  if (::syscall(SYS_setresgid, persona.gid, persona.gid, persona.gid) < 0)
    return ErrnoErr("setresgid {}", persona.gid);
  if (persona.uid == 0) return {};
  if (::syscall(SYS_setresuid, persona.uid, persona.uid, -1) < 0)
    return ErrnoErr("setresuid {}", persona.uid);
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> data = {};
  if (::syscall(SYS_capget, &header, data.data()) < 0) return ErrnoErr("capget");
  for (auto& half : data) half.effective = half.permitted;
  if (::syscall(SYS_capset, &header, data.data()) < 0) return ErrnoErr("capset");
  return {};
}

struct Task {
  const Persona& persona;
  const std::function<Answer()>& make;
  Answer answer = Err("it ended too early");
};

[[noreturn]] void run_child(void* argument) {
  auto& task = *static_cast<Task*>(argument);
  task.answer = become(task.persona).and_then(task.make);
  ::syscall(SYS_exit_group, 0);
  __builtin_unreachable();
}

// As by vfork(2): the child has our memory, and we stand still until it has ended; nothing of ours has to be
// copied for it. Without an exit signal: nobody who waits for any child is told of this one.
pid_t clone_child(pid_t wanted, Task& task) {
  constexpr std::size_t kStack = 512U << 10U;
  const ChildStack stack(kStack);
  if (!stack.valid()) return -1;
  clone_args arguments = {};
  arguments.flags = CLONE_VM | CLONE_VFORK | CLONE_FILES;
  arguments.set_tid = reinterpret_cast<std::uintptr_t>(&wanted);
  arguments.set_tid_size = wanted > 0 ? 1 : 0;
  stack.describe(arguments);
  const long child = clone_to(arguments, run_child, &task);
  if (child >= 0) return static_cast<pid_t>(child);
  errno = static_cast<int>(-child);
  return -1;
}

// A change of user makes the memory one that is not dumped (commit_creds() of kernel/cred.c), which is ours.
class SameDumpable {
 public:
  SameDumpable() : before_(::prctl(PR_GET_DUMPABLE)) {}
  SameDumpable(const SameDumpable&) = delete;
  ~SameDumpable() { ::prctl(PR_SET_DUMPABLE, before_ == 1 ? 1 : 0); }

 private:
  int before_;
};

}  // namespace

Result<std::vector<UniqueFd>> run_as(const Persona& persona,
                                     const std::function<Result<std::vector<int>>()>& make) {
  const SameDumpable same;
  Task task{persona, make};
  pid_t child = clone_child(persona.pid, task);
  if (child < 0) child = clone_child(0, task);
  if (child < 0) return ErrnoErr("clone3");
  while (::waitpid(child, nullptr, __WALL) < 0) {
    if (errno != EINTR) return ErrnoErr("waitpid");
  }
  if (!task.answer)
    return tl::unexpected(std::move(task.answer).error().in(fmt::format("as user {}", persona.uid)));
  std::vector<UniqueFd> descriptors;
  for (const int descriptor : *task.answer) descriptors.emplace_back(descriptor);
  return descriptors;
}

}  // namespace upkeep::os
