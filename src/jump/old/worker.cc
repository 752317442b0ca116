#include "jump/old/worker.h"

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
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

#include "jump/old/run.h"
#include "jump/old/stage.h"
#include "jump/old/undo.h"
#include "operation/lock.h"
#include "os/child.h"
#include "os/file.h"
#include "os/procfs.h"
#include "systemd/units.h"

namespace upkeep::jump {
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

// Why the doer did not reach its end; empty where it did.
struct Watched {
  std::string why;
  bool asked_to_stop = false;
};

class Supervisor {
 public:
  Supervisor(const Plan& plan, operation::Journal& journal) : plan_(plan), journal_(journal) {}

  Result<Watched> watch_doer() {
    TRY_ASSIGN(auto signals, block_signals());
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) < 0) return ErrnoErr("pipe");
    os::UniqueFd window_read(ends[0]), window_write(ends[1]);
    os::UniqueFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    if (!timer.valid()) return ErrnoErr("timerfd");
    // Orphans of the doer (criu above all) come to us, to be waited for before anything is undone.
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    const pid_t self = ::getpid();
    TRY_ASSIGN(doer_, os::fork_child([&] {
                 ::prctl(PR_SET_PDEATHSIG, SIGKILL);
                 if (::getppid() != self) return 1;
                 return do_stages(window_write.release());
               }));
    window_write.reset();
    return wait(signals, window_read, timer);
  }

 private:
  int do_stages(int window_fd) {
    sigset_t none;
    sigemptyset(&none);
    ::signal(SIGINT, SIG_IGN);  // the supervisor's business
    ::signal(SIGHUP, SIG_IGN);
    ::signal(SIGTERM, SIG_IGN);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    Run run(plan_, journal_, os::UniqueFd(window_fd));
    auto done = apply_stages(old_kernel_stages(), run);
    if (!done) (void)journal_.append({"fact", "", "", {{"error", done.error().message()}}});
    run.let_go();
    return done ? 0 : 1;
  }

  Result<Watched> wait(os::Fd signals, os::Fd window, os::Fd timer) {
    bool window_open = true;
    for (;;) {
      std::array<pollfd, 4> fds = {pollfd{doer_.pidfd.get(), POLLIN, 0}, pollfd{signals.get(), POLLIN, 0},
                                   pollfd{window_open ? window.get() : -1, POLLIN, 0},
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
        window_open = ::read(window.get(), &byte, 1) == 1;
        if (window_open) start_deadline(timer);
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

  Result<Watched> doer_ended() {
    TRY_ASSIGN(auto status, os::wait_child(doer_, std::chrono::seconds(5)));
    reap_orphans();
    if (status.success()) return Watched{};
    if (status.signal()) return Watched{fmt::format("the worker was {}", status.text())};
    return Watched{"a stage failed"};
  }

  Result<Watched> stop_doer(const std::string& why) {
    ::kill(doer_.pid, SIGKILL);
    (void)os::wait_child(doer_, std::chrono::seconds(10));
    reap_orphans();
    return Watched{why, true};
  }

  // criu sees that nobody listens any more and lets its tasks go; programs like kexec end with the doer
  // (PR_SET_PDEATHSIG).
  static void reap_orphans() {
    for (int tenths = 0; tenths < 600; ++tenths) {
      pid_t reaped = ::waitpid(-1, nullptr, WNOHANG);
      if (reaped < 0) return;  // ECHILD: none is left
      if (reaped == 0) ::usleep(50'000);
    }
  }

  const Plan& plan_;
  operation::Journal& journal_;
  os::Child doer_;
};

}  // namespace

Result<void> start_worker(const Plan& plan, const std::string& program) {
  const std::vector<std::string> command = {program, "worker", "--state-dir", plan.state_dir, plan.id};
  if (systemd::systemd_is_running()) {
    std::vector<std::string> argv = {
        "systemd-run",
        "--quiet",
        "--collect",
        "--unit=upkeep-" + plan.id,
        "-p",
        "KillMode=process",
        "-p",
        "OOMScoreAdjust=-1000",
        "-p",
        "TimeoutStopSec=infinity",
        "-p",
        fmt::format("ExecStopPost={} recover --state-dir {} {}", program, plan.state_dir, plan.id),
        "--"};
    argv.insert(argv.end(), command.begin(), command.end());
    TRY_IN("starting the worker", os::run_checked(argv));
    return {};
  }
  // No systemd: a child of its own session, whose parent ends at once.
  TRY_ASSIGN(auto child, os::fork_child([&] {
               ::setsid();
               if (::fork() != 0) return 0;
               std::vector<char*> argv;
               argv.reserve(command.size() + 1);
               for (const auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
               argv.push_back(nullptr);
               for (int fd = 0; fd < 3; ++fd) ::dup2(::open("/dev/null", O_RDWR), fd);
               ::execv(argv[0], argv.data());
               return 127;
             }));
  TRY(os::wait_child(child, std::chrono::seconds(10)));
  return {};
}

int run_worker(const Plan& plan) {
  auto lock = operation::MachineLock::acquire();
  auto journal = operation::Journal::open(plan.state_dir, plan.id);
  if (!journal) return 1;
  if (!lock) {
    (void)journal->append(
        {"upgrade_ended", "", lock.error().message(), {{"outcome", "failed_before"}, {"exit_code", 1}}});
    return 1;
  }
  Event begun{"upgrade_begun", "", "", to_json(plan)};
  begun.data["from"] = os::kernel_release();
  begun.data["to"] = plan.kernel;
  begun.data["boot_id"] = os::boot_id();
  begun.data["worker"] = ::getpid();
  (void)journal->append(std::move(begun));
  auto watched = Supervisor(plan, *journal).watch_doer();
  const std::string why = watched ? watched->why : watched.error().message();
  auto undone = undo_from_journal(*journal, plan.state_dir, plan.id, why, plan.dry_run);
  (void)journal->sync();
  return undone && why.empty() ? 0 : 1;
}

}  // namespace upkeep::jump
