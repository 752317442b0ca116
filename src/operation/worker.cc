#include "operation/worker.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <thread>

#include "operation/lock.h"
#include "operation/undo.h"
#include "os/child.h"
#include "os/procfs.h"

namespace upkeep::operation {
namespace {

Result<os::UniqueFd> block_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaddset(&signals, signal);
  if (::sigprocmask(SIG_BLOCK, &signals, nullptr) < 0) return ErrnoErr("sigprocmask");
  os::UniqueFd fd(::signalfd(-1, &signals, SFD_CLOEXEC));
  if (!fd.valid()) return ErrnoErr("signalfd");
  return fd;
}

class Supervisor {
 public:
  Supervisor(const Plan& plan, const Operation& operation, Journal& journal)
      : plan_(plan), operation_(operation), journal_(journal) {}

  // Why the doer did not reach its end; empty where it did.
  Result<std::string> watch_doer() {
    TRY_ASSIGN(auto signals, block_signals());
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) < 0) return ErrnoErr("pipe");
    os::UniqueFd deadline_read(ends[0]), deadline_write(ends[1]);
    os::UniqueFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    if (!timer.valid()) return ErrnoErr("timerfd");
    // Orphans of the doer come to us, to be waited for before anything is undone.
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    const pid_t self = ::getpid();
    TRY_ASSIGN(doer_, os::fork_child([&] {
                 ::prctl(PR_SET_PDEATHSIG, SIGKILL);
                 if (::getppid() != self) return 1;
                 return do_stages(os::UniqueFd(deadline_write.release()));
               }));
    deadline_write.reset();
    return wait(signals, deadline_read, timer);
  }

 private:
  int do_stages(os::UniqueFd deadline) {
    sigset_t none;
    sigemptyset(&none);
    ::signal(SIGINT, SIG_IGN);  // the supervisor's business
    ::signal(SIGHUP, SIG_IGN);
    ::signal(SIGTERM, SIG_IGN);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    Context context(record_in(journal_), std::move(deadline));
    auto attempt = operation_.attempt(plan_);
    auto done =
        attempt ? apply_stages((*attempt)->stages(), context) : Result<void>(tl::unexpected(attempt.error()));
    if (!done) context.emit({"fact", "", "", {{"error", done.error().message()}}});
    if (attempt) (*attempt)->let_go();
    return done ? 0 : 1;
  }

  Result<std::string> wait(os::Fd signals, os::Fd deadline, os::Fd timer) {
    bool waits_for_start = true;  // of the deadline
    for (;;) {
      std::array<pollfd, 4> fds = {pollfd{doer_.pidfd.get(), POLLIN, 0}, pollfd{signals.get(), POLLIN, 0},
                                   pollfd{waits_for_start ? deadline.get() : -1, POLLIN, 0},
                                   pollfd{timer.get(), POLLIN, 0}};
      if (::poll(fds.data(), fds.size(), -1) < 0) {
        if (errno == EINTR) continue;
        return ErrnoErr("poll");
      }
      if (fds[0].revents != 0) return doer_ended();
      if (fds[1].revents != 0) {
        signalfd_siginfo info = {};
        (void)!::read(signals.get(), &info, sizeof info);
        return stop_doer(fmt::format("stopped by signal {} ({})", info.ssi_signo,
                                     ::strsignal(static_cast<int>(info.ssi_signo))));
      }
      if (fds[2].revents != 0) {
        char byte = 0;
        waits_for_start = ::read(deadline.get(), &byte, 1) == 1;
        if (waits_for_start) start_deadline(timer);
      }
      if (fds[3].revents != 0)
        return stop_doer(
            fmt::format("the deadline of {:g} s from the first stop to the jump is over", plan_.deadline_s));
    }
  }

  void start_deadline(os::Fd timer) const {
    itimerspec spec = {};
    const auto ns = static_cast<std::int64_t>(std::max(plan_.deadline_s, 0.001) * 1e9);
    spec.it_value = {ns / 1'000'000'000, ns % 1'000'000'000};
    ::timerfd_settime(timer.get(), 0, &spec, nullptr);
  }

  Result<std::string> doer_ended() {
    TRY_ASSIGN(auto status, os::wait_child(doer_, std::chrono::seconds(5)));
    reap_orphans();
    if (status.success()) return std::string();
    if (status.signal()) return fmt::format("the worker was {}", status.text());
    return std::string("a stage failed");
  }

  Result<std::string> stop_doer(const std::string& why) {
    ::kill(doer_.pid, SIGKILL);
    (void)os::wait_child(doer_, std::chrono::seconds(10));
    reap_orphans();
    return why;
  }

  // Programs that the doer started (kexec, nft) end with it (PR_SET_PDEATHSIG); that may take them a moment.
  static void reap_orphans() {
    using Clock = std::chrono::steady_clock;
    for (const auto end = Clock::now() + std::chrono::seconds(30); Clock::now() < end;) {
      const pid_t reaped = ::waitpid(-1, nullptr, WNOHANG);
      if (reaped < 0) return;  // ECHILD: none is left
      if (reaped == 0) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }

  const Plan& plan_;
  const Operation& operation_;
  Journal& journal_;
  os::Child doer_;
};

}  // namespace

Result<void> start_worker(const Plan& plan, const std::string& program, const ServiceStarter& starter) {
  const WorkerService service = {"upkeep-" + plan.id,
                                 {program, "worker", "--state-dir", plan.state_dir, plan.id},
                                 {program, "recover", "--state-dir", plan.state_dir, plan.id}};
  if (starter) {
    TRY_IN("starting the worker", starter(service));
    return {};
  }
  // Nobody who starts services: a child in a session of its own, whose parent ends at once.
  TRY_ASSIGN(auto child, os::fork_child([&] {
               ::setsid();
               if (::fork() != 0) return 0;
               std::vector<char*> argv;
               argv.reserve(service.command.size() + 1);
               for (const auto& word : service.command) argv.push_back(const_cast<char*>(word.c_str()));
               argv.push_back(nullptr);
               for (int fd = 0; fd < 3; ++fd) ::dup2(::open("/dev/null", O_RDWR), fd);
               ::execv(argv[0], argv.data());
               return 127;
             }));
  TRY(os::wait_child(child, std::chrono::seconds(10)));
  return {};
}

int run_worker(const Plan& plan, const Operations& operations, const std::string& run_directory) {
  auto lock = MachineLock::acquire(run_directory);
  auto journal = Journal::open(plan.state_dir, plan.id);
  if (!journal) return 1;
  auto operation = find_operation(operations, plan.kind);
  if (!lock || !operation) {
    const auto& error = lock ? operation.error() : lock.error();
    (void)journal->append(
        {"upgrade_ended", "", error.message(), {{"outcome", "failed_before"}, {"exit_code", 1}}});
    return 1;
  }
  Event begun{"upgrade_begun", "", "", to_json(plan)};
  begun.data.update((*operation)->announced(plan));
  begun.data["from"] = os::kernel_release();
  begun.data["boot_id"] = os::boot_id();
  begun.data["worker"] = ::getpid();
  (void)journal->append(std::move(begun));
  auto watched = Supervisor(plan, **operation, *journal).watch_doer();
  const std::string why = watched ? *watched : watched.error().message();
  auto undone =
      undo_from_journal(*journal, plan.state_dir, plan.id, {why, plan.dry_run}, operations, run_directory);
  (void)journal->sync();
  return undone && why.empty() ? 0 : 1;
}

}  // namespace upkeep::operation
