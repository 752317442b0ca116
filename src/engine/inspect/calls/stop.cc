#include "engine/inspect/calls/stop.h"

#include <elf.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>

#include "engine/inspect/calls/proc_text.h"
#include "engine/inspect/calls/timed_wait.h"
#include "os/file.h"
#include "os/procfs.h"
#include "os/restart_codes.h"
#include "os/task_memory.h"

namespace upkeep::engine {
namespace {

using std::chrono::milliseconds;

// Calls that answer a stop by a tracer with EINTR, which the program would not have seen otherwise
// (signal(7)). Reads and writes among them because of SO_RCVTIMEO and SO_SNDTIMEO; select and ppoll where the
// time that is left cannot be written to where it was given.
constexpr std::initializer_list<long> kNeverRestarted = {
    SYS_epoll_wait,    SYS_epoll_pwait,   441L /* epoll_pwait2 */,
    SYS_semop,         SYS_semtimedop,    SYS_rt_sigtimedwait,
    SYS_io_getevents,  SYS_io_pgetevents, SYS_read,
    SYS_write,         SYS_readv,         SYS_writev,
    SYS_recvfrom,      SYS_recvmsg,       SYS_recvmmsg,
    SYS_sendto,        SYS_sendmsg,       SYS_sendmmsg,
    SYS_accept,        SYS_accept4,       SYS_connect,
    SYS_select,        SYS_pselect6,      SYS_ppoll,
    SYS_io_uring_enter};

void hide_interruption(user_regs_struct& registers) {
  const auto call = static_cast<long>(registers.orig_rax);
  if (static_cast<long>(registers.rax) != -EINTR) return;
  if (std::find(kNeverRestarted.begin(), kNeverRestarted.end(), call) != kNeverRestarted.end())
    registers.rax = static_cast<unsigned long long>(os::kRestartNoHand);
}

// struct rseq_cs of linux/rseq.h
struct CriticalSection {
  std::uint32_t version, flags;
  std::uint64_t start, length, abort;
};

// A thread that stands in a restartable sequence goes on at its abort handler: what the kernel would do
// itself, but not where anything else has been run in the thread meanwhile.
Result<void> leave_critical_section(const os::Tracee& thread, const os::TaskMemory& memory,
                                    user_regs_struct& registers) {
  if (static_cast<long>(registers.orig_rax) >= 0) return {};  // in there nobody makes a system call
  auto rseq = thread.rseq();
  if (!rseq || rseq->pointer == 0)
    return {};  // before 5.13 nobody can tell; then glibc registers none either
  constexpr std::uint64_t kPointerOffset = 8;  // rseq_cs in struct rseq
  auto pointer = memory.value<std::uint64_t>(rseq->pointer + kPointerOffset);
  if (!pointer || *pointer == 0) return {};
  auto section = memory.value<CriticalSection>(*pointer);
  if (section && registers.rip - section->start < section->length) registers.rip = section->abort;
  return {};
}

Result<void> tidy_registers(pid_t pid, HeldThread& thread, const os::TaskMemory& memory,
                            const std::optional<TimedWait>& wait) {
  TRY_ASSIGN(auto registers, thread.tracee.registers());
  const auto before = registers;
  hide_interruption(registers);
  if (wait) thread.time_left = WaitReader::apply(*wait, pid, thread.tracee.tid(), registers);
  TRY(leave_critical_section(thread.tracee, memory, registers));
  if (std::memcmp(&before, &registers, sizeof before) == 0) return {};
  return thread.tracee.set_registers(registers);
}

bool gone(const Error& error) { return error.code() == ESRCH || error.code() == ENOENT; }

// What is asked of a thread by system calls run in it must not be judged by its filters: one that does not
// allow them would end it.
Result<void> suspend_filters(const HeldThread& thread) {
  auto suspended = thread.tracee.set_options(os::Tracee::kSuspendSeccomp);
  if (suspended) return {};
  auto status = os::read_file(fmt::format("/proc/{}/status", thread.tracee.tid()));
  if (!status || number_of(*status, "Seccomp").value_or(0) == 0) return {};
  return Err(
      "thread {}: its seccomp filters cannot be suspended ({}); this takes CAP_SYS_ADMIN, a kernel with "
      "CHECKPOINT_RESTORE, and no such filters of our own",
      thread.tracee.tid(), suspended.error().message());
}

// Waits until the thread stands where no signal is being delivered. False: it has ended.
Result<bool> await_stop(HeldThread& thread, milliseconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  for (;;) {
    const auto left = std::chrono::duration_cast<milliseconds>(end - std::chrono::steady_clock::now());
    TRY_ASSIGN(const auto stop, thread.tracee.wait(std::max(left, milliseconds(0))));
    switch (stop.kind) {
      case os::Stop::Kind::event_stop:
        return true;
      case os::Stop::Kind::group_stop:
        thread.stop_signal = stop.signal;
        return true;
      case os::Stop::Kind::ended:
        thread.tracee.forget();
        return false;
      default:
        // The interruption is still to come; the signal must not be lost.
        TRY(thread.tracee.resume(stop.kind == os::Stop::Kind::signal_delivery ? stop.signal : 0));
    }
  }
}

// Where the program was told that its vdso is; 0 where it has none.
std::uint64_t vdso_address(pid_t pid) {
  auto auxv = os::read_file(fmt::format("/proc/{}/auxv", pid));
  if (!auxv) return 0;
  for (std::size_t at = 0; at + sizeof(Elf64_auxv_t) <= auxv->size(); at += sizeof(Elf64_auxv_t)) {
    Elf64_auxv_t entry = {};
    std::memcpy(&entry, auxv->data() + at, sizeof entry);
    if (entry.a_type == AT_SYSINFO_EHDR) return entry.a_un.a_val;
  }
  return 0;
}

// A thread that is reading a clock in the vdso (or in this kernel's, which lies near the first one after an
// upgrade) goes on until it has: another kernel's clocks are not continued from the middle. One that does
// nothing else all the time is taken where it is. False: it has ended.
Result<bool> leave_vdso(HeldThread& thread, std::uint64_t vdso, milliseconds limit) {
  constexpr int kTries = 100;
  constexpr std::uint64_t kNear = 1U << 20U;
  for (int tries = 0; vdso != 0 && tries < kTries && thread.stop_signal == 0; ++tries) {
    TRY_ASSIGN(const auto registers, thread.tracee.registers());
    const bool in_system_call = static_cast<long>(registers.orig_rax) >= 0;
    if (in_system_call || registers.rip - (vdso - kNear) > 2 * kNear) return true;
    TRY(thread.tracee.resume());
    timespec pause = {0, 1'000};  // else it would not get as far as its next instruction
    ::nanosleep(&pause, nullptr);
    TRY(thread.tracee.interrupt());
    TRY_ASSIGN(const bool alive, await_stop(thread, limit));
    if (!alive) return false;
  }
  return true;
}

Result<bool> is_zombie(pid_t pid) {
  TRY_ASSIGN(auto text, os::read_file(fmt::format("/proc/{}/stat", pid)));
  TRY_ASSIGN(auto stat, StatFields::parse(text));
  return stat.state() == 'Z' || stat.state() == 'X';
}

}  // namespace

// True: something was new.
Result<bool> StoppedTree::take_threads(HeldProcess& process, milliseconds limit) {
  auto tids = os::list_threads(process.pid);
  if (!tids) return true;
  struct Taken {
    HeldThread thread;
    std::optional<TimedWait> wait;
  };
  std::vector<Taken> taken;
  WaitReader waits;
  const auto before = os::TaskMemory::open(process.pid);
  for (pid_t tid : *tids) {
    if (held_.contains(tid)) continue;
    // A worker of io_uring is in no call that anybody has made: whoever is needs no other look.
    const auto call = blocked_call(process.pid, tid);
    if ((!call || call->stack_pointer == 0) && os::is_io_worker(process.pid, tid)) continue;
    auto tracee = os::Tracee::seize(tid, 0);
    if (!tracee && gone(tracee.error())) continue;
    if (!tracee && tracee.error().code() == EPERM) {
      auto zombie = is_zombie(tid);
      if (!zombie || (*zombie && tids->size() == 1)) continue;  // seen as what it is in the next round
      if (*zombie)
        return Err("process {}: its first thread has ended and others have not, which cannot be rebuilt",
                   tid);
      return Err("thread {} of process {} is being traced by a debugger, or may not be traced", tid,
                 process.pid);
    }
    if (!tracee) return tl::unexpected(std::move(tracee).error());
    taken.push_back(
        {{std::move(*tracee)}, before && call ? waits.read(process.pid, tid, *call, *before) : std::nullopt});
    TRY(taken.back().thread.tracee.interrupt());
  }
  const auto memory = os::TaskMemory::open(process.pid);  // it may have begun another program meanwhile
  const auto vdso = vdso_address(process.pid);
  for (auto& [thread, wait] : taken) {
    const pid_t tid = thread.tracee.tid();
    auto stopped = await_stop(thread, limit);
    if (stopped && *stopped) stopped = leave_vdso(thread, vdso, limit);
    if (!stopped)
      return tl::unexpected(std::move(stopped).error().in(fmt::format("process {}", process.pid)));
    if (!*stopped || !memory) continue;
    TRY(suspend_filters(thread));
    TRY(tidy_registers(process.pid, thread, *memory, wait));
    held_.insert(tid);
    process.threads.insert(tid == process.pid ? process.threads.begin() : process.threads.end(),
                           std::move(thread));
  }
  return !taken.empty();
}

Result<bool> StoppedTree::take_new(const std::vector<pid_t>& pids, milliseconds limit) {
  bool news = false;
  for (pid_t pid : pids) {
    auto zombie = is_zombie(pid);
    if (!zombie) {  // ended; its brothers may not all have been listed
      news = true;
      continue;
    }
    const auto [position, is_new] = positions_.emplace(pid, processes_.size());
    if (is_new) processes_.push_back({pid, *zombie, {}});
    news = news || is_new;
    auto& process = processes_[position->second];
    if (*zombie) {
      news = news || !process.zombie;
      process.zombie = true;
      continue;
    }
    TRY_ASSIGN(const bool more, take_threads(process, limit));
    news = news || more;
  }
  return news;
}

// Processes in the order of PLACES, without those that have ended since.
Result<void> StoppedTree::arrange(const std::unordered_map<pid_t, std::size_t>& places) {
  for (const auto& process : processes_) {
    if (!places.contains(process.pid) && os::read_stat(process.pid))
      return Err("process {} has left the tree while it was being stopped: its parent ended", process.pid);
  }
  std::erase_if(processes_, [&](const auto& process) { return !places.contains(process.pid); });
  std::sort(processes_.begin(), processes_.end(),
            [&](const auto& a, const auto& b) { return places.at(a.pid) < places.at(b.pid); });
  return {};
}

Result<StoppedTree> StoppedTree::stop(const std::vector<pid_t>& roots, milliseconds limit) {
  StoppedTree tree;
  const auto end = std::chrono::steady_clock::now() + 4 * limit;
  for (bool news = true; news;) {
    std::vector<pid_t> pids;
    std::unordered_map<pid_t, std::size_t> places;
    for (pid_t root : roots) {
      TRY_ASSIGN(const auto some, os::process_tree(root));
      for (pid_t pid : some) {
        if (places.emplace(pid, pids.size()).second) pids.push_back(pid);
      }
    }
    TRY_ASSIGN(news, tree.take_new(pids, limit));
    if (std::chrono::steady_clock::now() > end) return Err("the tree changes faster than it can be stopped");
    if (!news) TRY(tree.arrange(places));
  }
  return tree;
}

StoppedTree StoppedTree::adopt(std::vector<HeldProcess> processes) {
  StoppedTree tree;
  tree.processes_ = std::move(processes);
  return tree;
}

Result<void> StoppedTree::kill() {
  for (const auto& process : processes_) {
    if (!process.zombie && ::kill(process.pid, SIGKILL) < 0 && errno != ESRCH)
      return ErrnoErr("killing {}", process.pid);
  }
  // As a tracer we hear of each end; what is left for its parent is a zombie, or nothing. A leader's end is
  // told when its other threads have been waited for; that of the first process of a PID namespace, when all
  // others in there have.
  for (auto one = processes_.rbegin(); one != processes_.rend(); ++one) {
    auto& process = *one;
    for (auto thread = process.threads.rbegin(); thread != process.threads.rend(); ++thread) {
      for (;;) {
        auto stop = thread->tracee.wait(std::chrono::seconds(10));
        if (!stop) return tl::unexpected(std::move(stop).error());
        if (stop->kind == os::Stop::Kind::ended) break;
      }
      thread->tracee.forget();
    }
  }
  return {};
}

}  // namespace upkeep::engine
