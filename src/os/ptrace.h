#pragma once
// One thread under ptrace(2), attached by PTRACE_SEIZE. Whoever owns a Tracee owns its stops; all calls come
// from the thread that seized. When the tracer dies, of whatever cause, the kernel lets the thread go on from
// where it stands (unless kKillWithTracer was asked for).

#include <sys/types.h>
#include <sys/user.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "common/result.h"

namespace upkeep::os {

// What waitpid(2) said about a traced thread.
struct Stop {
  enum class Kind {
    event_stop,       // PTRACE_INTERRUPT, or a new thread's first stop: PTRACE_EVENT_STOP with SIGTRAP
    group_stop,       // job control holds it: PTRACE_EVENT_STOP with a stopping signal
    signal_delivery,  // `signal` is about to be delivered
    system_call,      // entry or exit under PTRACE_SYSCALL (PTRACE_O_TRACESYSGOOD)
    new_task,         // fork, vfork or clone: the new ID is in event_message()
    ended,            // the thread is no more
  };
  Kind kind = Kind::ended;
  int signal = 0;
  int status = 0;  // raw
  // What interrupt() leads to: in a process that job control has stopped it is told as that stop.
  bool was_interrupted() const { return kind == Kind::event_stop || kind == Kind::group_stop; }
};

// struct ptrace_rseq_configuration of linux/ptrace.h
struct RseqConfiguration {
  std::uint64_t pointer = 0;
  std::uint32_t size = 0, signature = 0, flags = 0, pad = 0;
};

class Tracee {
 public:
  static constexpr unsigned long kKillWithTracer = 0x00100000;  // PTRACE_O_EXITKILL
  static constexpr unsigned long kFollowNewTasks = 0x0000000e;  // PTRACE_O_TRACEFORK, VFORK, CLONE
  static constexpr unsigned long kSuspendSeccomp = 0x00200000;  // PTRACE_O_SUSPEND_SECCOMP

  // PTRACE_O_TRACESYSGOOD is always added. ESRCH: it is gone; EPERM: a zombie, or traced by somebody else.
  static Result<Tracee> seize(pid_t tid, unsigned long options);
  // One that was attached by the kernel because its maker is traced with kFollowNewTasks, or by CLONE_PTRACE.
  static Tracee adopt(pid_t tid) { return Tracee(tid); }
  // The stop in which such a one begins.
  Result<void> wait_first_stop() const;
  Tracee(Tracee&& other) noexcept
      : tid_(std::exchange(other.tid_, 0)), registers_(std::exchange(other.registers_, std::nullopt)) {}
  Tracee& operator=(Tracee&& other) noexcept;
  Tracee(const Tracee&) = delete;
  ~Tracee();  // detaches, bringing it to a stop for that where needed

  pid_t tid() const { return tid_; }
  Result<void> interrupt() const;
  // ETIMEDOUT after TIMEOUT. An end is no error.
  Result<Stop> wait(std::chrono::milliseconds timeout) const;
  // What has happened already, if anything.
  Result<bool> poll(Stop& stop) const;

  Result<void> resume(int signal = 0) const;   // PTRACE_CONT
  Result<void> resume_to_system_call() const;  // PTRACE_SYSCALL
  Result<void> detach(int signal = 0);         // from a stop
  void forget() { tid_ = 0; }                  // it has ended

  // Asked once for each stop.
  Result<user_regs_struct> registers() const;
  Result<void> set_registers(const user_regs_struct& registers) const;
  Result<std::vector<std::uint8_t>> xstate() const;
  Result<void> set_xstate(const std::vector<std::uint8_t>& xstate) const;
  Result<std::uint64_t> signal_mask() const;  // the one that applies after sigsuspend and its like
  Result<void> set_signal_mask(std::uint64_t mask) const;
  // siginfo_t of all pending signals, in their order. Real-time ones and those with queue entries.
  Result<std::vector<std::vector<std::uint8_t>>> pending_signals(bool shared) const;
  Result<RseqConfiguration> rseq() const;
  Result<unsigned long> event_message() const;
  // By which job control has stopped its process, where the stop that it stands in is told so; else 0.
  Result<int> stop_signal() const;
  // PR_SET_SYSCALL_USER_DISPATCH is on; false where the kernel cannot tell (before 6.4).
  bool dispatches_system_calls() const;
  // Replaces the options of seize(). kSuspendSeccomp: EPERM without CAP_SYS_ADMIN, or under filters
  // ourselves.
  Result<void> set_options(unsigned long options) const;
  // Instructions (struct sock_filter) of the filter with this number, 0 being the oldest one. ENOENT: there
  // are fewer. Both need CAP_SYS_ADMIN and that we have no filters ourselves (EACCES).
  Result<std::vector<std::uint8_t>> seccomp_filter(std::uint64_t number) const;
  Result<std::uint64_t> seccomp_flags(std::uint64_t number) const;  // SECCOMP_FILTER_FLAG_LOG or 0

 private:
  explicit Tracee(pid_t tid) : tid_(tid) {}
  void let_go();
  pid_t tid_;
  mutable std::optional<user_regs_struct> registers_;  // known since the last stop
};

}  // namespace upkeep::os
