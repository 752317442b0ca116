#include "engine/rebuild/task/helper.h"

#include <linux/keyctl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <vector>

#include "engine/rebuild/memory/address_space.h"
#include "engine/rebuild/task/restorer.h"
#include "os/protection_keys.h"

namespace upkeep::engine {
namespace {

using std::chrono::seconds;

Result<pid_t> fork_into(const CallArena& arena) {
  const pid_t parent = ::getpid();
  const bool keyring = has_keyring();
  const pid_t child = ::fork();
  if (child < 0) return ErrnoErr("fork");
  if (child > 0) return child;
  if (keyring) ::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  sigset_t all;
  sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  ::signal(SIGCHLD, SIG_DFL);  // where it is ignored, tasks that end would leave no zombie
  if (os::has_protection_keys()) os::set_own_key_rights(0);  // to everything
  arena.wait_for_program();
}

void end(pid_t child) {
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

}  // namespace

Result<void> Helper::start(const std::set<std::int32_t>& ids, unsigned long options) {
  TRY_ASSIGN(auto child, fork_into(arena_));
  // Those with an ID that the tree needs stay until there is one without: the next one gets another ID then.
  std::vector<pid_t> unsuitable;
  Result<void> found;
  while (ids.contains(child)) {
    unsuitable.push_back(child);
    auto next = fork_into(arena_);
    child = next.value_or(-1);
    if (next) continue;
    found = tl::unexpected(std::move(next).error());
    break;
  }
  for (const pid_t pid : unsuitable) end(pid);
  TRY(std::move(found));
  auto task = os::Tracee::seize(child, options);
  if (!task) end(child);
  if (!task) return tl::unexpected(std::move(task).error());
  task_ = std::move(*task);
  return {};
}

// It may be stopped before it has mapped the arena: then it goes on for a bit.
Result<void> Helper::await_arena() const {
  for (int tries = 0; tries < 1000; ++tries) {
    TRY(task_->interrupt());
    TRY_ASSIGN(const auto stop, task_->wait(seconds(10)));
    if (stop.kind != os::Stop::Kind::event_stop) return Err("the helper ended before it could begin");
    TRY_ASSIGN(const auto registers, task_->registers());
    if (registers.rip >= arena_.address() && registers.rip < arena_.address() + arena_.size()) return {};
    TRY(task_->resume());
    timespec pause = {0, 200'000};
    ::nanosleep(&pause, nullptr);
  }
  return Err("the helper does not come to its system calls");
}

Result<void> Helper::begin_emptying() {
  TRY(await_arena());
  RestartableSequence rseq;
  if (auto own = task_->rseq()) rseq = {own->pointer, own->size, own->signature};
  program_ = compile_emptying(rseq, arena_.address(), arena_.address() + arena_.size());
  TRY_ASSIGN(running_, arena_.begin(*task_, program_));
  return {};
}

Result<void> Helper::begin_roots(Program program) {
  TRY(arena_.end(*running_));
  program_ = std::move(program);
  TRY_ASSIGN(running_, arena_.begin_births(*task_, program_));
  return {};
}

Result<void> Helper::take_roots(const CallArena::NewTask& taker) {
  return arena_.end_births(*running_, taker);
}

Result<void> Helper::await_end() {
  for (;;) {
    TRY_ASSIGN(const auto stop, task_->wait(seconds(10)));
    if (stop.kind == os::Stop::Kind::ended) break;
    TRY(task_->resume(stop.kind == os::Stop::Kind::signal_delivery ? stop.signal : 0));
  }
  task_->forget();
  task_.reset();
  return {};
}

Helper::~Helper() {
  if (!task_) return;
  ::kill(task_->tid(), SIGKILL);
  (void)task_->wait(seconds(10));
  task_->forget();
}

}  // namespace upkeep::engine
