#include "engine/criu/worker.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "engine/criu/socket_options.h"
#include "os/file.h"
#include "os/hardware_breakpoint.h"
#include "os/procfs.h"

namespace upkeep::engine::criu {
namespace {

constexpr int kSocketInChild = 3;
constexpr int kShimInChild = 4;
// For criu to put everything back: pages still in flight are written first.
constexpr std::chrono::seconds kGrace(60);

struct Start {
  std::vector<char*> argv, envp;
  int socket, output, shim;  // shim: -1 where none is needed
  bool own_ipc, own_network;
};

int loopback_up() {
  int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request = {};
  ::memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  int result = socket < 0 ? -1 : ::ioctl(socket, SIOCSIFFLAGS, &request);
  if (socket >= 0) ::close(socket);
  return result;
}

// In the child: async-signal-safe calls only.
int become_criu(const Start& plan) {
  ::setsid();  // Ctrl-C in upkeep's terminal is upkeep's to handle
  int null = ::open("/dev/null", O_RDONLY);
  if (null < 0 || ::dup2(null, 0) < 0 || ::dup2(plan.output, 1) < 0 || ::dup2(plan.output, 2) < 0) return 126;
  // Above both places first, so that neither overwrites the other.
  int socket = ::fcntl(plan.socket, F_DUPFD_CLOEXEC, kShimInChild + 1);
  int shim = plan.shim < 0 ? -1 : ::fcntl(plan.shim, F_DUPFD_CLOEXEC, kShimInChild + 1);
  ::syscall(SYS_close_range, kSocketInChild, ~0U, CLOSE_RANGE_CLOEXEC);
  if (::dup2(socket, kSocketInChild) < 0) return 126;
  if (shim >= 0 && ::dup2(shim, kShimInChild) < 0) return 126;
  if (plan.own_ipc && ::unshare(CLONE_NEWIPC) < 0) return 125;
  if (plan.own_network && (::unshare(CLONE_NEWNET) < 0 || loopback_up() < 0)) return 125;
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int signal : {SIGHUP, SIGINT, SIGTERM, SIGPIPE, SIGCHLD}) ::signal(signal, SIG_DFL);
  ::signal(SIGXFSZ, SIG_IGN);  // a write beyond the limit of hang_up() is an error, not the end
  ::execve(plan.argv[0], plan.argv.data(), plan.envp.data());
  return 127;
}

}  // namespace

Result<Worker> Worker::start(const Program& program, const WorkerOptions& options) {
  if (program.argv.empty() || program.argv.front().empty()) return Err("criu is not installed");
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) return ErrnoErr("socketpair");
  os::UniqueFd ours(pair[0]), theirs(pair[1]);
  os::UniqueFd output(::memfd_create("criu-output", MFD_CLOEXEC));
  if (!output.valid()) return ErrnoErr("memfd_create");
  std::vector<std::string> words = program.argv;
  for (const char* word : {"--no-default-config", "swrk"}) words.emplace_back(word);
  words.push_back(std::to_string(kSocketInChild));
  const std::string usual = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  std::string path = "PATH=" + (options.no_helpers     ? "/nonexistent"
                                : program.path.empty() ? usual
                                                       : program.path);
  std::string preload = "LD_PRELOAD=/proc/self/fd/" + std::to_string(kShimInChild);
  os::UniqueFd shim;
  if (options.dumps && kernel_refuses_those_options()) {
    TRY_ASSIGN(shim, socket_option_shim());
  }
  Start plan{{}, {path.data()}, theirs.get(), output.get(), shim.get(), options.own_ipc, options.own_network};
  if (shim.valid()) plan.envp.push_back(preload.data());
  // criu finds the end of its code in a task with a hardware breakpoint, and asks nobody whether they work.
  // Its test switch FI_NO_BREAKPOINTS (fault-injection.h, 2.0 and newer) makes it step by system calls
  // instead.
  std::string no_breakpoints = "CRIU_FAULT=130";
  if (!os::hardware_breakpoints_work()) plan.envp.push_back(no_breakpoints.data());
  plan.envp.push_back(nullptr);
  for (auto& word : words) plan.argv.push_back(word.data());
  plan.argv.push_back(nullptr);
  TRY_ASSIGN(auto child, os::fork_child([&plan] { return become_criu(plan); }));
  return Worker(std::move(child), std::move(ours), std::move(output));
}

Worker::~Worker() {
  if (child_.pid <= 0 || !child_.pidfd.valid()) return;  // moved from
  hang_up();
  if (!status_) (void)wait(kGrace);
}

Result<void> Worker::send(const std::string& message) {
  for (;;) {
    ssize_t n = ::send(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL);
    if (n == static_cast<ssize_t>(message.size())) return {};
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
      return tl::unexpected(Error("criu is gone", ECONNRESET));
    return ErrnoErr("sending to criu");
  }
}

Result<Response> Worker::receive(std::chrono::milliseconds timeout) {
  pollfd fd = {socket_.get(), POLLIN, 0};
  int ready = ::poll(&fd, 1, static_cast<int>(timeout.count()));
  if (ready < 0 && errno != EINTR) return ErrnoErr("poll");
  if (ready <= 0) return tl::unexpected(Error("no message from criu", ETIMEDOUT));
  std::array<char, 65536> buffer;
  ssize_t n = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
  if (n < 0 && errno == EINTR) return tl::unexpected(Error("no message from criu", ETIMEDOUT));
  if (n < 0 && errno != ECONNRESET) return ErrnoErr("receiving from criu");
  if (n <= 0) return tl::unexpected(Error("criu is gone", ECONNRESET));
  return decode_response(std::string_view(buffer.data(), static_cast<std::size_t>(n)));
}

void Worker::hang_up() {
  if (!socket_.valid()) return;
  socket_.reset();
  // Images it is still writing are of no use any more; an ignored SIGXFSZ makes write(2) and splice(2) fail
  // with EFBIG.
  rlimit none = {0, 0};
  ::prlimit(child_.pid, RLIMIT_FSIZE, &none, nullptr);
}

void Worker::kill_all() {
  if (status_ || child_.pid <= 0) return;
  auto all = os::process_tree(child_.pid);
  ::kill(child_.pid, SIGKILL);
  if (!all) return;
  for (pid_t pid : *all) ::kill(pid, SIGKILL);
}

Result<os::ExitStatus> Worker::wait(std::chrono::milliseconds timeout) {
  if (status_) return *status_;
  TRY_ASSIGN(auto status, os::wait_child(child_, timeout));
  status_ = status;
  return status;
}

std::string Worker::said() const {
  std::array<char, 4096> buffer;
  ssize_t n = ::pread(output_.get(), buffer.data(), buffer.size(), 0);
  return n > 0 ? std::string(buffer.data(), static_cast<std::size_t>(n)) : "";
}

}  // namespace upkeep::engine::criu
