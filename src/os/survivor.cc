#include "os/survivor.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <utility>

#include "os/clone.h"

namespace upkeep::os {
namespace {

constexpr std::size_t kMostPromised = 16, kStack = 16U << 10U;
constexpr int kLeave = SIGUSR1;
enum Stage : int { kStarting, kWatching, kImpossible };

// It has our thread pointer, which is where libc's calls leave their errno: so it makes its own.
long system_call(long number, std::uint64_t a = 0, std::uint64_t b = 0, std::uint64_t c = 0,
                 std::uint64_t d = 0, std::uint64_t e = 0) {
  long result = number;
  register std::uint64_t r10 asm("r10") = d;
  register std::uint64_t r8 asm("r8") = e;
  asm volatile("syscall" : "+a"(result) : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
  return result;
}
std::uint64_t address(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

}  // namespace

struct Survivor::State {
  State(pid_t tracer_id, Fd own_tasks)
      : tracer(static_cast<std::uint64_t>(tracer_id)),
        tasks(static_cast<std::uint64_t>(own_tasks.get())),
        // A leader that has ended stays until the last of its threads has.
        last_ones(tracer_id == ::getpid() ? 1 : 2) {}

  ChildStack stack{kStack};
  std::uint64_t tracer, tasks;
  nlink_t last_ones;
  std::atomic<int> stage = kStarting;  // a futex
  std::array<PromisedOption, kMostPromised> promised = {};
  std::atomic<unsigned> count = 0;
  bool leaving = false;

  void say(Stage value) {
    stage.store(value);
    system_call(SYS_futex, address(&stage), FUTEX_WAKE_PRIVATE, 1);
  }

  // The last call of another thread, which may be one that changes something, has to come to its end. A
  // directory has two links, this one another for each thread.
  void wait_for_other_threads() const {
    const timespec pause = {0, 100'000};
    for (int tries = 0; tries < 100'000; ++tries) {
      struct stat status = {};
      if (system_call(SYS_fstat, tasks, address(&status)) < 0) return;
      if (status.st_nlink <= 2 + last_ones) return;
      system_call(SYS_nanosleep, address(&pause));
    }
  }

  void keep_promises() {
    wait_for_other_threads();
    for (unsigned i = count.load(); i-- > 0;) {
      const auto& option = promised[i];
      system_call(SYS_setsockopt, static_cast<std::uint64_t>(option.fd),
                  static_cast<std::uint64_t>(option.level), static_cast<std::uint64_t>(option.name),
                  address(&option.value), sizeof option.value);
    }
  }

  // One stop of the tracer; false: it is let go, or has ended. Its signals are passed on: whoever is told of
  // one and ends without that has taken it away.
  bool handle(int status) {
    if (!WIFSTOPPED(status)) return false;
    const int event = status >> 16, signal = WSTOPSIG(status);
    if (event == PTRACE_EVENT_EXIT) keep_promises();
    const bool last = leaving || event == PTRACE_EVENT_EXIT;
    const bool held = event == PTRACE_EVENT_STOP && signal != SIGTRAP;  // by job control, until SIGCONT
    const int pass_on = event == 0 ? signal : 0;
    system_call(SYS_ptrace,
                last   ? PTRACE_DETACH
                : held ? PTRACE_LISTEN
                       : PTRACE_CONT,
                tracer, 0, static_cast<std::uint64_t>(pass_on));
    return !last;
  }

  void watch() {
    system_call(SYS_prctl, PR_SET_NAME, address("survivor"));
    system_call(SYS_setsid);  // what is sent to our process group is not meant for it
    // Of stops it is told by SIGCHLD, unless that is ignored. All signals are blocked.
    const std::array<std::uint64_t, 4> by_default = {};
    const std::uint64_t awaited = 1U << (SIGCHLD - 1U) | 1U << (kLeave - 1U);
    system_call(SYS_rt_sigaction, SIGCHLD, address(&by_default), 0, sizeof awaited);
    if (system_call(SYS_ptrace, PTRACE_SEIZE, tracer, 0, PTRACE_O_TRACEEXIT) < 0) {
      say(kImpossible);
      return;
    }
    say(kWatching);
    for (;;) {
      if (system_call(SYS_rt_sigtimedwait, address(&awaited), 0, 0, sizeof awaited) == kLeave) {
        leaving = true;
        system_call(SYS_ptrace, PTRACE_INTERRUPT, tracer);
      }
      int status = 0;
      long stopped = 0;
      while ((stopped = system_call(SYS_wait4, tracer, address(&status), __WALL | WNOHANG)) > 0) {
        if (!handle(status)) return;
      }
      if (stopped < 0) return;
    }
  }
};

Survivor::Survivor(pid_t tracer)
    : tracer_(tracer), tasks_(::open("/proc/self/task", O_PATH | O_DIRECTORY | O_CLOEXEC)) {}
Survivor::~Survivor() { let_go(); }

void Survivor::start() {
  impossible_ = true;
  state_ = std::make_unique<State>(tracer_, tasks_);
  if (!state_->stack.valid() || ::getpid() == 1) return;  // nobody kills PID 1

  clone_args arguments = {};
  arguments.flags = CLONE_VM | CLONE_FILES;  // no exit signal: nobody who waits for any child is told of it
  state_->stack.describe(arguments);
  sigset_t all = {}, before = {};
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);  // our handlers are not for it
  const long child = clone_to(
      arguments,
      [](void* state) {
        static_cast<State*>(state)->watch();
        system_call(SYS_exit_group);
      },
      state_.get());
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (child < 0) return;
  child_ = static_cast<pid_t>(child);
  const timespec pause = {1, 0};
  while (state_->stage.load() == kStarting) {
    ::syscall(SYS_futex, &state_->stage, FUTEX_WAIT_PRIVATE, kStarting, &pause);
    if (::waitpid(child_, nullptr, WNOHANG | __WALL) != child_) continue;
    child_ = 0;  // somebody has killed it
    return;
  }
  impossible_ = state_->stage.load() != kWatching;
}

Survivor::Promise Survivor::promise(std::initializer_list<PromisedOption> options) {
  if (child_ == 0 && !impossible_) start();
  Promise promise;
  const unsigned before = state_->count.load();
  if (impossible_ || before + options.size() > kMostPromised) return promise;
  std::copy(std::rbegin(options), std::rend(options), state_->promised.begin() + before);
  state_->count.store(before + static_cast<unsigned>(options.size()));
  promise.survivor_ = this;
  promise.before_ = before;
  return promise;
}

void Survivor::let_go() {
  if (child_ == 0) return;
  ::kill(child_, kLeave);
  while (::waitpid(child_, nullptr, __WALL) < 0 && errno == EINTR) {
  }
  child_ = 0;
}

Survivor::Promise::Promise(Promise&& other) noexcept
    : survivor_(std::exchange(other.survivor_, nullptr)), before_(other.before_) {}

Survivor::Promise& Survivor::Promise::operator=(Promise&& other) noexcept {
  if (this == &other) return *this;
  drop();
  survivor_ = std::exchange(other.survivor_, nullptr);
  before_ = other.before_;
  return *this;
}

void Survivor::Promise::drop() {
  if (auto* survivor = std::exchange(survivor_, nullptr)) survivor->state_->count.store(before_);
}

}  // namespace upkeep::os
