#include "os/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "os/file.h"

namespace upkeep::os {
namespace {

using Clock = std::chrono::steady_clock;

struct Pipe {
  UniqueFd read, write;
};

Result<Pipe> make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) < 0) return ErrnoErr("pipe");
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

[[noreturn]] void exec_child(const std::vector<std::string>& argv, int in, int out, int err,
                             const SpawnOptions& options) {
  std::vector<char*> args;
  args.reserve(argv.size() + 1);
  for (const auto& arg : argv) args.push_back(const_cast<char*>(arg.c_str()));
  args.push_back(nullptr);
  ::dup2(in, 0);
  ::dup2(out, 1);
  ::dup2(err, 2);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (options.in_child) options.in_child();
  ::execvp(args[0], args.data());
  const char* why = ::strerror(errno);
  (void)!::write(2, why, ::strlen(why));
  ::_exit(127);
}

int milliseconds_left(Clock::time_point end) {
  auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
  return static_cast<int>(std::clamp<decltype(left)>(left, 0, 1000 * 60 * 60));
}

// Feeds INPUT and drains both outputs until they are closed. False: the time was over first.
Result<bool> exchange(UniqueFd& in, Fd out, Fd err, const std::string& input, Finished& finished,
                      Clock::time_point end) {
  std::size_t written = 0;
  bool out_open = true, err_open = true;
  if (input.empty()) in.reset();
  while (out_open || err_open || in.valid()) {
    std::array<pollfd, 3> fds = {pollfd{out_open ? out.get() : -1, POLLIN, 0},
                                 pollfd{err_open ? err.get() : -1, POLLIN, 0}, pollfd{in.get(), POLLOUT, 0}};
    int left = milliseconds_left(end);
    int ready = ::poll(fds.data(), fds.size(), left);
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return ErrnoErr("poll");
    if (ready == 0) return false;
    auto drain = [](const pollfd& fd, std::string& into, bool& open) {
      if (fd.revents == 0) return;
      std::array<char, 65536> buffer;
      ssize_t n = ::read(fd.fd, buffer.data(), buffer.size());
      if (n > 0) into.append(buffer.data(), static_cast<std::size_t>(n));
      if (n == 0 || (n < 0 && errno != EINTR)) open = false;
    };
    drain(fds[0], finished.out, out_open);
    drain(fds[1], finished.err, err_open);
    if (fds[2].revents != 0) {
      ssize_t n = ::write(in.get(), input.data() + written, input.size() - written);
      if (n > 0) written += static_cast<std::size_t>(n);
      if ((n < 0 && errno != EINTR && errno != EAGAIN) || written == input.size()) in.reset();
    }
  }
  return true;
}

std::string last_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  auto newline = text.find_last_of('\n');
  return newline == std::string::npos ? text : text.substr(newline + 1);
}

}  // namespace

std::optional<int> ExitStatus::code() const {
  return WIFEXITED(status_) ? std::optional<int>(WEXITSTATUS(status_)) : std::nullopt;
}

std::optional<int> ExitStatus::signal() const {
  return WIFSIGNALED(status_) ? std::optional<int>(WTERMSIG(status_)) : std::nullopt;
}

std::string ExitStatus::text() const {
  if (auto number = signal()) return fmt::format("killed by signal {} ({})", *number, ::strsignal(*number));
  return fmt::format("exit status {}", code().value_or(-1));
}

Result<UniqueFd> open_pidfd(pid_t pid) {
  int fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) return ErrnoErr("pidfd_open {}", pid);
  return UniqueFd(fd);
}

Result<Child> fork_child(const std::function<int()>& body) {
  pid_t pid = ::fork();
  if (pid < 0) return ErrnoErr("fork");
  if (pid == 0) ::_exit(body());
  auto pidfd = open_pidfd(pid);
  if (!pidfd) return tl::unexpected(std::move(pidfd).error());
  return Child{pid, std::move(*pidfd)};
}

Result<ExitStatus> wait_child(const Child& child, std::chrono::milliseconds timeout) {
  const auto end = Clock::now() + timeout;
  for (;;) {
    pollfd fd = {child.pidfd.get(), POLLIN, 0};
    int ready = ::poll(&fd, 1, milliseconds_left(end));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return ErrnoErr("poll");
    if (ready == 0)
      return tl::unexpected(
          Error(fmt::format("process {} still runs after {} ms", child.pid, timeout.count()), ETIMEDOUT));
    int status = 0;
    while (::waitpid(child.pid, &status, 0) < 0) {
      if (errno != EINTR) return ErrnoErr("waitpid {}", child.pid);
    }
    return ExitStatus(status);
  }
}

Result<Finished> run(const std::vector<std::string>& argv, const SpawnOptions& options) {
  TRY_ASSIGN(auto in, make_pipe());
  TRY_ASSIGN(auto out, make_pipe());
  TRY_ASSIGN(auto err, make_pipe());
  TRY_ASSIGN(auto child, fork_child([&]() -> int {
               ::signal(SIGPIPE, SIG_DFL);
               exec_child(argv, in.read.get(), out.write.get(), err.write.get(), options);
             }));
  in.read.reset();
  out.write.reset();
  err.write.reset();
  if (::fcntl(in.write.get(), F_SETFL, O_NONBLOCK) < 0) return ErrnoErr("fcntl");
  const auto end = Clock::now() + options.timeout;
  Finished finished{ExitStatus(0), "", ""};
  auto talked = exchange(in.write, out.read, err.read, options.input, finished, end);
  auto status = talked && *talked ? wait_child(child, std::chrono::milliseconds(milliseconds_left(end)))
                                  : Result<ExitStatus>(tl::unexpected(Error("", ETIMEDOUT)));
  if (!status) {
    ::kill(child.pid, SIGKILL);
    ::waitpid(child.pid, nullptr, 0);
    return tl::unexpected(
        Error(fmt::format("{} did not end within {} ms", argv[0], options.timeout.count()), ETIMEDOUT));
  }
  finished.status = *status;
  return finished;
}

Result<std::string> run_checked(const std::vector<std::string>& argv, const SpawnOptions& options) {
  TRY_ASSIGN(auto finished, run(argv, options));
  if (finished.status.success()) return std::move(finished.out);
  const std::string said = last_line(finished.err.empty() ? finished.out : finished.err);
  return Err("{}: {}{}{}", argv[0], finished.status.text(), said.empty() ? "" : ": ", said);
}

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return exists(name) ? name : "";
  for (const char* directory :
       {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}) {
    std::string path = std::string(directory) + "/" + name;
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return "";
}

}  // namespace upkeep::os
