#include "os/hardware_breakpoint.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>

#include "os/child.h"

namespace upkeep::os {
namespace {

__attribute__((noinline)) void trapped() { asm volatile("nop"); }

bool wait_stopped(pid_t pid, int signal) {
  int status = 0;
  return ::waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == signal;
}

bool set_register(pid_t pid, std::size_t number, std::uintptr_t value) {
  const auto place = offsetof(user, u_debugreg) + number * sizeof(unsigned long);
  return ::ptrace(PTRACE_POKEUSER, pid, place, value) == 0;
}

bool traps(pid_t child) {
  constexpr std::uintptr_t kExecuteFirst = 0x1;  // DR7: local breakpoint 0, on execution
  return wait_stopped(child, SIGSTOP) && set_register(child, 0, reinterpret_cast<std::uintptr_t>(&trapped)) &&
         set_register(child, 7, kExecuteFirst) && ::ptrace(PTRACE_CONT, child, 0, 0) == 0 &&
         wait_stopped(child, SIGTRAP);
}

bool probe() {
  auto child = fork_child([]() -> int {
    ::ptrace(PTRACE_TRACEME, 0, 0, 0);
    ::raise(SIGSTOP);
    trapped();
    return 0;
  });
  if (!child) return false;
  const bool work = traps(child->pid);
  ::kill(child->pid, SIGKILL);
  ::waitpid(child->pid, nullptr, __WALL);  // fails where it has ended and been waited for
  return work;
}

}  // namespace

bool hardware_breakpoints_work() {
  static const bool work = probe();
  return work;
}

}  // namespace upkeep::os
