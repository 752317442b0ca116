#include "os/run_as.h"

#include <linux/capability.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace upkeep::os {
namespace {

// What the child says, in memory that both have.
struct Answer {
  bool through = false;
  std::size_t count = 0;
  std::array<int, 8> descriptors = {};
  std::array<char, 1000> error = {};
};

class SharedAnswer {
 public:
  SharedAnswer()
      : memory_(::mmap(nullptr, sizeof(Answer), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
    if (valid()) new (memory_) Answer;
  }
  SharedAnswer(const SharedAnswer&) = delete;
  ~SharedAnswer() {
    if (valid()) ::munmap(memory_, sizeof(Answer));
  }
  bool valid() const { return memory_ != MAP_FAILED; }
  Answer* operator->() const { return static_cast<Answer*>(memory_); }

 private:
  void* memory_;
};

// Without an exit signal: nobody who waits for any child is told of this one.
pid_t clone_child(pid_t wanted) {
  clone_args arguments = {};
  arguments.flags = CLONE_FILES;
  arguments.set_tid = reinterpret_cast<std::uintptr_t>(&wanted);
  arguments.set_tid_size = wanted > 0 ? 1 : 0;
  return static_cast<pid_t>(::syscall(SYS_clone3, &arguments, sizeof arguments));
}

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

[[noreturn]] void run_child(const Persona& persona, const std::function<Result<std::vector<int>>()>& make,
                            const SharedAnswer& answer) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  auto made = become(persona).and_then(make);
  if (made && made->size() <= answer->descriptors.size()) {
    std::copy(made->begin(), made->end(), answer->descriptors.begin());
    answer->count = made->size();
    answer->through = true;
  } else if (!made) {
    const auto& text = made.error().message();
    std::memcpy(answer->error.data(), text.data(), std::min(text.size(), answer->error.size() - 1));
  }
  ::_exit(0);
}

}  // namespace

Result<std::vector<UniqueFd>> run_as(const Persona& persona,
                                     const std::function<Result<std::vector<int>>()>& make) {
  const SharedAnswer answer;
  if (!answer.valid()) return ErrnoErr("mmap");
  pid_t child = clone_child(persona.pid);
  if (child < 0) child = clone_child(0);
  if (child < 0) return ErrnoErr("clone3");
  if (child == 0) run_child(persona, make, answer);
  int status = 0;
  while (::waitpid(child, &status, __WALL) < 0) {
    if (errno != EINTR) return ErrnoErr("waitpid");
  }
  if (!answer->through) return Err("as user {}: {}", persona.uid, answer->error.data());
  std::vector<UniqueFd> descriptors;
  for (std::size_t i = 0; i < answer->count; ++i) descriptors.emplace_back(answer->descriptors[i]);
  return descriptors;
}

}  // namespace upkeep::os
