#pragma once
// What an interrupted system call has left in rax while its task is stopped on the way to user space: the
// kernel's own error numbers (include/linux/errno.h), which no program ever sees. They say what happens when
// the task goes on.

namespace upkeep::os {

constexpr long kRestartSys = -512;     // again, unless a handler without SA_RESTART runs: then EINTR
constexpr long kRestartNoIntr = -513;  // again, always
constexpr long kRestartNoHand = -514;  // again, unless any handler runs: then EINTR
constexpr long kRestartBlock = -516;   // goes on by restart_syscall(2); EINTR where a handler runs

}  // namespace upkeep::os
