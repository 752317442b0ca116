// PID namespaces, as containers have them.

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "fixture.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;
using ::testing::HasSubstr;

void must(bool holds) {
  if (!holds) ::_exit(1);
}

// The next process that the test makes is the first one of a new PID namespace.
class BornOutside {
 public:
  BornOutside() : own_(::open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC)) {
    EXPECT_EQ(::unshare(CLONE_NEWPID), 0);
  }
  BornOutside(const BornOutside&) = delete;
  ~BornOutside() { EXPECT_EQ(::setns(own_.get(), CLONE_NEWPID), 0); }

 private:
  os::UniqueFd own_;
};

class PidNamespaces : public TreeTest {
 protected:
  // A subject that is the first process of its namespace.
  static std::unique_ptr<Subject> first(const std::function<void()>& setup,
                                        const std::function<void()>& step) {
    const BornOutside next;
    return std::make_unique<Subject>(setup, step);
  }
};

// What a test has made below a subject that does not take it along when it ends.
class EndedWithTheTest {
 public:
  explicit EndedWithTheTest(const Subject& subject) : subject_(subject) {}
  EndedWithTheTest(const EndedWithTheTest&) = delete;
  ~EndedWithTheTest() {
    auto tree = os::process_tree(subject_.pid()).value_or(std::vector<pid_t>());
    for (const auto pid : tree) ::kill(pid, SIGKILL);
  }

 private:
  const Subject& subject_;
};

void count(const std::function<void()>& step) {
  for (;; ::poll(nullptr, 0, 1)) {
    step();
    board().counter++;
  }
}

pid_t child(const std::function<void()>& body) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    body();
    ::_exit(0);
  }
  return pid;
}

// IDs inside are what they were, for the process itself, its parents, children, threads, groups and timers.
TEST_F(PidNamespaces, IdsInsideAreTheSame) {
  const auto init = first(
      [] {
        board().value[1] = static_cast<std::uint64_t>(child([] {
          ::setpgid(0, 0);
          board().value[1] = static_cast<std::uint64_t>(::getpid());
          std::thread([] {
            board().value[2] = static_cast<std::uint64_t>(::gettid());
            sigevent event = {};
            event.sigev_notify = SIGEV_THREAD_ID;
            event.sigev_signo = SIGUSR1;
            event._sigev_un._tid = ::gettid();
            timer_t timer = nullptr;
            must(::timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
            ::signal(SIGUSR1, [](int) { board().value[3]++; });
            const itimerspec often = {{0, 1'000'000}, {0, 1'000'000}};
            must(::timer_settime(timer, 0, &often, nullptr) == 0);
            for (;;) {
              HOLDS(static_cast<std::uint64_t>(::gettid()) == board().value[2]);
              ::poll(nullptr, 0, 1);
            }
          }).detach();
          count([] {
            HOLDS(::getpid() == 2 && ::getppid() == 1 && ::getpgrp() == 2 && ::getsid(0) == 1);
            HOLDS(::kill(1, 0) == 0);
          });
        }));
        const pid_t zombie = child([] {});
        must(zombie > 2);
        while (::getpgid(2) != 2) ::poll(nullptr, 0, 1);
        board().value[2] = static_cast<std::uint64_t>(zombie);
      },
      [] {
        HOLDS(::getpid() == 1 && ::getppid() == 0 && ::getsid(0) == 1 && ::getpgrp() == 1);
        HOLDS(board().value[1] == 2 && ::getpgid(2) == 2);
        if (board().value[3] != 1) return;
        board().value[3] = 2;
        const auto zombie = static_cast<pid_t>(board().value[2]);
        HOLDS(::waitpid(zombie, nullptr, 0) == zombie);
        const pid_t next = child([] {});
        HOLDS(next > zombie && ::waitpid(next, nullptr, 0) == next);
        board().value[3] = 3;
      });
  const auto tree = os::process_tree(init->pid());
  ASSERT_OK(tree);
  ASSERT_EQ(tree->size(), 3U);
  ASSERT_TRUE(eventually([&] { return peek((*tree)[1], 4) > 3; }));
  for (int carries = 0; carries < 3; ++carries) {
    ASSERT_TRUE(carry(*init));
    ASSERT_TRUE(moves((*tree)[1]));
    const auto ticks = peek((*tree)[1], 4);
    EXPECT_TRUE(eventually([&] { return peek((*tree)[1], 4) > ticks + 3; }));
    EXPECT_EQ(os::process_tree(init->pid()).value_or(std::vector<pid_t>()), *tree);
    EXPECT_NE(os::namespace_id(init->pid(), "pid").value_or(0), os::namespace_id(0, "pid").value_or(0));
  }
  ASSERT_TRUE(poke(init->pid(), 4, 1));
  EXPECT_TRUE(eventually([&] { return peek(init->pid(), 4) == 3; }));
  EXPECT_NO_COMPLAINT(*init);
  EXPECT_EQ(peek((*tree)[1], 8), 0U) << "the child complains at that line";
}

// As unshare(1) with --fork: who has made it waits outside for its first process.
TEST_F(PidNamespaces, WithWhoHasMadeIt) {
  Subject subject(
      [] {
        must(::unshare(CLONE_NEWPID) == 0);
        board().value[1] = static_cast<std::uint64_t>(child([] {
          child([] { count([] { HOLDS(::getpid() == 2 && ::getpgrp() == 0 && ::getsid(0) == 0); }); });
          count([] { HOLDS(::getpid() == 1 && ::getpgrp() == 0); });
        }));
      },
      [] {
        if (board().value[2] != 1) return;
        board().value[2] = 2;
        const pid_t born = child([] { ::_exit(::getpid() > 2 ? 0 : 1); });
        int status = -1;
        HOLDS(::waitpid(born, &status, 0) == born && status == 0);
        board().value[2] = 3;
      });
  const EndedWithTheTest all(subject);
  for (int carries = 0; carries < 2; ++carries) {
    ASSERT_TRUE(carry(subject));
    const auto tree = os::process_tree(subject.pid());
    ASSERT_OK(tree);
    ASSERT_EQ(tree->size(), 3U);
    EXPECT_EQ((*tree)[1], static_cast<pid_t>(peek(subject.pid(), 2)));
    for (const auto pid : *tree) EXPECT_TRUE(moves(pid));
    for (const auto pid : *tree) EXPECT_EQ(peek(pid, 8), 0U) << pid << " complains at that line";
  }
  ASSERT_TRUE(poke(subject.pid(), 3, 1));
  EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 3) == 3; }));
  EXPECT_NO_COMPLAINT(subject);
}

bool shows_itself() {
  return os::read_link("/proc/self").value_or("") == std::to_string(::getpid()) &&
         os::read_link("/proc/1/exe").has_value() && os::exists("/proc/sys/kernel");
}

TEST_F(PidNamespaces, WithItsOwnProc) {
  const auto init = first(
      [] {
        must(::unshare(CLONE_NEWNS) == 0);
        must(::mount(nullptr, "/", nullptr, MS_PRIVATE | MS_REC, nullptr) == 0);
        must(::mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) == 0);
        must(::mount("/proc/sys", "/proc/sys", nullptr, MS_BIND, nullptr) == 0);
        must(::mount(nullptr, "/proc/sys", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) == 0);
        child([] { count([] { HOLDS(shows_itself() && ::getpid() == 2); }); });
      },
      [] {
        HOLDS(shows_itself());
        HOLDS(::open("/proc/sys/kernel/panic", O_WRONLY) < 0 && errno == EROFS);
      });
  for (int carries = 0; carries < 3; ++carries) ASSERT_TRUE(carry(*init));
  EXPECT_NO_COMPLAINT(*init);
  const auto tree = os::process_tree(init->pid());
  ASSERT_OK(tree);
  ASSERT_EQ(tree->size(), 2U);
  EXPECT_TRUE(moves(tree->back()));
  EXPECT_EQ(peek(tree->back(), 8), 0U) << "the child complains at that line";
}

// A daemon that has forked twice, and a process group whose first process has ended.
TEST_F(PidNamespaces, OrphansInIt) {
  const auto init = first(
      [] {
        child([] {
          ::setsid();
          child([] {
            while (::getppid() != 1) ::poll(nullptr, 0, 1);
            count([] { HOLDS(::getsid(0) == 2 && ::getppid() == 1 && ::getpid() == 3); });
          });
        });
        must(::waitpid(2, nullptr, 0) == 2);
      },
      [] { HOLDS(::getsid(3) == 2); });
  for (int carries = 0; carries < 2; ++carries) ASSERT_TRUE(carry(*init));
  EXPECT_NO_COMPLAINT(*init);
  const auto tree = os::process_tree(init->pid());
  ASSERT_OK(tree);
  ASSERT_EQ(tree->size(), 2U);
  EXPECT_TRUE(moves(tree->back()));
  EXPECT_EQ(peek(tree->back(), 8), 0U) << "the daemon complains at that line";
}

TEST_F(PidNamespaces, OneInsideOfAnother) {
  const auto init = first(
      [] {
        must(::unshare(CLONE_NEWPID) == 0);
        must(child([] {
               child([] { count([] { HOLDS(::getpid() == 2 && ::getppid() == 1); }); });
               count([] { HOLDS(::getpid() == 1 && ::getppid() == 0); });
             }) == 2);
        while (::kill(3, 0) < 0) ::poll(nullptr, 0, 1);
      },
      [] { HOLDS(::getpid() == 1 && ::kill(3, 0) == 0); });
  for (int carries = 0; carries < 2; ++carries) {
    ASSERT_TRUE(carry(*init));
    const auto tree = os::process_tree(init->pid());
    ASSERT_OK(tree);
    ASSERT_EQ(tree->size(), 3U);
    for (const auto pid : *tree) EXPECT_TRUE(moves(pid));
    for (const auto pid : *tree) EXPECT_EQ(peek(pid, 8), 0U) << pid << " complains at that line";
  }
}

TEST_F(PidNamespaces, APartOfOneIsRefused) {
  const auto init = first(
      [] {
        child([] {
          ::setsid();
          count([] {});
        });
      },
      [] {});
  const auto tree = os::process_tree(init->pid());
  ASSERT_OK(tree);
  auto saved = save_trees({tree->back()}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), HasSubstr("its first process (init) is not part of the tree"));
  EXPECT_TRUE(moves(tree->back()));
}

// What `unshare --fork --pid --mount-proc --uts --ipc --net --cgroup --time` makes, by that program.
TEST_F(PidNamespaces, AWholeContainer) {
  const auto log = folder_.path() + "/log";
  const std::string server =
      "import http.server, threading, urllib.request, time, os\n"
      "s = http.server.HTTPServer(('127.0.0.1', 8080), http.server.SimpleHTTPRequestHandler)\n"
      "s.RequestHandlerClass.log_message = lambda *a: None\n"
      "threading.Thread(target=s.serve_forever, daemon=True).start()\n"
      "n = 0\n"
      "while True:\n"
      "    try:\n"
      "        answer = urllib.request.urlopen('http://127.0.0.1:8080/etc/hostname')\n"
      "        ok = answer.status == 200\n"
      "        answer.read()\n"  // else its end would be a reset, which the server may not have looked at yet
      "    except OSError:\n"    // whoever waits to be accepted has to try again
      "        continue\n"
      "    n += 1\n"
      "    open('" +
      log +
      ".new', 'w').write(f'{n} {ok} {os.getpid()} {os.getppid()}')\n"
      "    os.rename('" +
      log + ".new', '" + log +
      "')\n"
      "    time.sleep(0.01)\n";
  ASSERT_TRUE(os::replace_file(folder_.path() + "/server.py", server));
  ASSERT_TRUE(os::replace_file(folder_.path() + "/run.sh",
                               "ip link set lo up; hostname inside; cd /; n=0\npython3 " + folder_.path() +
                                   "/server.py & \nwhile :; do n=$((n+1)); echo $n $$ $(hostname) > " + log +
                                   ".sh; sleep 0.01; done\n"));
  Subject subject([&] {
    const auto script = folder_.path() + "/run.sh";
    const char* arguments[] = {"unshare", "--fork",   "--pid",        "--mount-proc", "--uts",   "--ipc",
                               "--net",   "--cgroup", "--time",       "--monotonic",  "8640000", "--boottime",
                               "8640000", "sh",       script.c_str(), nullptr};
    if (::fork() == 0) {
      ::execvp("unshare", const_cast<char**>(arguments));
      ::_exit(1);
    }
  });
  const EndedWithTheTest all(subject);
  const auto said = [&](const char* name) { return os::read_file(log + name).value_or(""); };
  const auto number = [&](const char* name) { return std::atoi(said(name).c_str()); };
  const auto goes_on = [&] {
    const auto server_now = number(""), shell_now = number(".sh");
    return eventually([&] { return number("") > server_now + 2 && number(".sh") > shell_now + 2; });
  };
  ASSERT_TRUE(eventually([&] { return number("") > 0 && number(".sh") > 0; }));
  const auto tree = os::process_tree(subject.pid());
  ASSERT_OK(tree);
  for (int carries = 0; carries < 2; ++carries) {
    // A connection that has just failed stands in the way until the client has looked at it.
    auto carried = carry(subject);
    while (!carried && std::string_view(carried.message()).find("(try again)") != std::string_view::npos)
      carried = carry(subject);
    ASSERT_TRUE(carried);
    ASSERT_TRUE(goes_on());
    EXPECT_THAT(said(""), HasSubstr(" True "));
    EXPECT_TRUE(eventually([&] { return said(".sh").find(" 1 inside") != std::string::npos; }));
  }
  const auto init = (*tree)[2];
  for (const char* kind : {"pid", "mnt", "uts", "ipc", "net", "cgroup", "time"})
    EXPECT_NE(os::namespace_id(init, kind).value_or(0), os::namespace_id(0, kind).value_or(0)) << kind;
}

// Snapshot and restore by somebody who lives in a container: its own PID and mount namespaces and /proc.
TEST_F(PidNamespaces, WhoSavesAndRestoresMayLiveInOne) {
  SKIP_WHERE_THE_MACHINE_CARRIES("it saves what it has made itself");
  int status = -1;
  pid_t container = -1;
  {
    const BornOutside next;
    container = child([&] {
      must(::unshare(CLONE_NEWNS) == 0);
      must(::mount(nullptr, "/", nullptr, MS_PRIVATE | MS_REC, nullptr) == 0);
      must(::mount("proc", "/proc", "proc", 0, nullptr) == 0);
      const Subject plain([] {}, [] { HOLDS(::getpid() == 2); });
      for (int carries = 0; carries < 2; ++carries) {
        const auto carried = carry(plain);
        if (!carried) std::fprintf(stderr, "%s\n", carried.message());
        must(static_cast<bool>(carried));
      }
      must(plain.pid() == 2 && peek(plain.pid(), 8) == 0);
      const auto deeper = first([] {}, [] { HOLDS(::getpid() == 1); });
      for (int carries = 0; carries < 2; ++carries) {
        const auto carried = carry(*deeper);
        if (!carried) std::fprintf(stderr, "%s\n", carried.message());
        must(static_cast<bool>(carried));
      }
      must(peek(deeper->pid(), 8) == 0);
    });
  }
  ASSERT_EQ(::waitpid(container, &status, 0), container);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace upkeep::engine
