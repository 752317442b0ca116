// Sessions and process groups whose leaders have ended, and processes whose parents have.

#include <linux/sched.h>
#include <sys/syscall.h>

#include "fixture.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;
using ::testing::HasSubstr;

os::ProcStat stat_of(pid_t pid) { return os::read_stat(pid).value_or(os::ProcStat{}); }

[[noreturn]] void count_forever() {
  for (;;) {
    board().counter.fetch_add(1);
    rest();
  }
}

pid_t fork_into(const std::function<void()>& body) {
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  body();
  count_forever();
}

// Parents, sessions and groups, as text.
std::string lineage(const std::vector<pid_t>& pids) {
  std::string text;
  for (const pid_t pid : pids) {
    const auto stat = stat_of(pid);
    text += fmt::format("{} {} {} {} {}\n", pid, stat.state == 'Z' ? "zombie" : "lives", stat.ppid, stat.pgrp,
                        stat.session);
  }
  return text;
}

class Leaders : public TreeTest {
 protected:
  void SetUp() override {
    TreeTest::SetUp();
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  }
  void TearDown() override {
    for (const pid_t pid : mine_) ::kill(pid, SIGKILL);
    for (const pid_t pid : mine_) ::waitpid(pid, nullptr, 0);
  }

  // What MAKE leaves behind in a session whose leader has ended, adopted by the test: it tells their IDs.
  std::vector<pid_t> orphans(const std::function<void(const std::function<void(pid_t)>& tell)>& make) {
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    constexpr int kTold = 1000;
    const pid_t leader = ::fork();
    if (leader == 0) {
      ::setsid();
      ::dup2(ends[1], kTold);
      const auto tell = [](pid_t pid) { (void)!::write(kTold, &pid, sizeof pid); };
      make(tell);
      ::_exit(0);
    }
    ::close(ends[1]);
    session_ = leader;
    std::vector<pid_t> told;
    for (pid_t pid = 0; ::read(ends[0], &pid, sizeof pid) == sizeof pid;) told.push_back(pid);
    ::close(ends[0]);
    ::waitpid(leader, nullptr, 0);
    for (const pid_t pid : told) {
      mine_.push_back(pid);
      EXPECT_TRUE(eventually([pid] { return stat_of(pid).ppid == ::getpid(); }));
      EXPECT_TRUE(moves(pid));
    }
    return told;
  }
  std::vector<pid_t> two_orphans() {
    return orphans([](const auto& tell) {
      tell(fork_into(become_a_subject));
      tell(fork_into(become_a_subject));
    });
  }

  // Processes that a subject tells by values of its board, in order, itself first.
  std::vector<pid_t> family(const Subject& subject, std::size_t count) {
    std::vector<pid_t> pids = {subject.pid()};
    for (std::size_t i = 0; i < count; ++i) pids.push_back(static_cast<pid_t>(peek(subject.pid(), 1 + i)));
    for (std::size_t i = 1; i < pids.size(); ++i) mine_.push_back(pids[i]);
    return pids;
  }

  // Twice, for what was made is to be made again.
  void expect_the_same_family_after_carrying(const std::vector<pid_t>& roots,
                                             const std::vector<pid_t>& pids) {
    const auto before = lineage(pids);
    for (int round = 0; round < 2; ++round) {
      ASSERT_TRUE(carry(roots));
      EXPECT_EQ(lineage(pids), before);
    }
  }

  pid_t session_ = 0;
  std::vector<pid_t> mine_;
};

// A pipe of a subject's, which is closed before it is carried, tells IDs.
struct Pipe {
  Pipe() { (void)!::pipe(ends); }
  void tell(pid_t pid) const { (void)!::write(ends[1], &pid, sizeof pid); }
  std::uint64_t hear() const {
    pid_t pid = 0;
    (void)!::read(ends[0], &pid, sizeof pid);
    return static_cast<std::uint64_t>(pid);
  }
  void close() const { ::close(ends[0]), ::close(ends[1]); }
  int ends[2] = {-1, -1};
};

void close_pipe() { ::close(3), ::close(4); }

TEST_F(Leaders, ADaemonThatHasForkedTwice) {
  const auto pids = orphans([](const auto& tell) { tell(fork_into(become_a_subject)); });
  ASSERT_EQ(pids.size(), 1U);
  ASSERT_EQ(stat_of(pids[0]).session, session_);
  ASSERT_EQ(stat_of(pids[0]).pgrp, session_);
  ASSERT_FALSE(os::read_stat(session_)) << "its leader is there";
  expect_the_same_family_after_carrying(pids, pids);
  EXPECT_FALSE(os::read_stat(session_)) << "a stand-in is left";
  // Nobody is sent a signal for whoever stood in.
  const auto status = os::read_file(fmt::format("/proc/{}/status", pids[0])).value_or("");
  EXPECT_THAT(status, HasSubstr("ShdPnd:\t0000000000000000"));
}

TEST_F(Leaders, TwoOfOneSessionCarriedTogether) {
  const auto pids = two_orphans();
  ASSERT_EQ(pids.size(), 2U);
  expect_the_same_family_after_carrying(pids, pids);
}

TEST_F(Leaders, OneOfTwoIsRefused) {
  const auto pids = two_orphans();
  ASSERT_EQ(pids.size(), 2U);
  auto saved = save_trees({pids[0]}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(),
              HasSubstr(fmt::format("process {}, session {}: its leader has ended, and process {} (", pids[0],
                                    session_, pids[1])));
  EXPECT_THAT(saved.error().message(), HasSubstr("which is not part of the tree, is in it too"));
  EXPECT_TRUE(moves(pids[0]));
}

TEST_F(Leaders, OneThatLivesOutsideIsNamed) {
  Subject subject([] { board().value[0] = static_cast<std::uint64_t>(fork_into([] {})); });
  const auto pids = family(subject, 1);
  auto saved = save_trees({pids[1]}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(
      saved.error().message(),
      HasSubstr(fmt::format("process {}, session {}: its leader, process {} (", pids[1], pids[0], pids[0])));
  EXPECT_THAT(saved.error().message(),
              HasSubstr("is not part of the tree (carry that process too, or start"));
  EXPECT_TRUE(moves(pids[1]));
}

// values: one adopted from a session whose leader has ended, its child; a leader, one adopted from its
// session
TEST_F(Leaders, OrphansOfASubreaper) {
  Subject subject([] {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    const Pipe pipe;
    auto& value = board().value;
    const pid_t ended = ::fork();
    if (ended == 0) {
      ::setsid();
      pipe.tell(fork_into([&] {
        pipe.tell(fork_into(close_pipe));
        close_pipe();
      }));
      ::_exit(0);
    }
    ::waitpid(ended, nullptr, 0);
    value[0] = pipe.hear(), value[1] = pipe.hear();
    if (value[0] > value[1]) value[0] = value[1].exchange(value[0]);
    value[2] = static_cast<std::uint64_t>(fork_into([&] {
      ::setsid();
      const pid_t between = ::fork();
      if (between == 0) {
        pipe.tell(fork_into(close_pipe));
        ::_exit(0);
      }
      ::waitpid(between, nullptr, 0);
      close_pipe();
    }));
    value[3] = pipe.hear();
    pipe.close();
  });
  const auto pids = family(subject, 4);
  for (const std::size_t orphan : {1U, 4U}) {
    ASSERT_TRUE(eventually([&] { return stat_of(pids[orphan]).ppid == pids[0]; }));
  }
  ASSERT_EQ(stat_of(pids[2]).ppid, pids[1]);
  ASSERT_FALSE(os::read_stat(stat_of(pids[1]).session));
  ASSERT_EQ(stat_of(pids[4]).session, pids[3]);
  expect_the_same_family_after_carrying({pids[0]}, pids);
}

// One root has another one's session, of which it is no descendant any more.
TEST_F(Leaders, AnOrphanBesideTheLeaderOfItsSession) {
  Subject subject([] {
    const Pipe pipe;
    const pid_t between = ::fork();
    if (between == 0) {
      pipe.tell(fork_into(close_pipe));
      ::_exit(0);
    }
    ::waitpid(between, nullptr, 0);
    board().value[0] = pipe.hear();
    pipe.close();
  });
  const auto pids = family(subject, 1);
  ASSERT_TRUE(eventually([&] { return stat_of(pids[1]).ppid == ::getpid(); }));
  ASSERT_EQ(stat_of(pids[1]).session, pids[0]);
  expect_the_same_family_after_carrying(pids, pids);
}

// The leader of a session has ended, but nobody has waited for it.
TEST_F(Leaders, OneThatIsAZombie) {
  Subject subject([] {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    const Pipe pipe;
    const pid_t leader = ::fork();
    if (leader == 0) {
      ::setsid();
      pipe.tell(fork_into(close_pipe));
      ::_exit(3);
    }
    board().value[0] = static_cast<std::uint64_t>(leader);
    board().value[1] = pipe.hear();
    pipe.close();
    siginfo_t info = {};
    ::waitid(P_PID, static_cast<id_t>(leader), &info, WEXITED | WNOWAIT);
  });
  const auto pids = family(subject, 2);
  ASSERT_EQ(stat_of(pids[1]).state, 'Z');
  ASSERT_EQ(stat_of(pids[2]).session, pids[1]);
  expect_the_same_family_after_carrying({pids[0]}, pids);
}

// `a | b`, of which a has ended.
TEST_F(Leaders, OfAPipelineWhoseFirstProcessHasEnded) {
  Subject subject([] {
    const pid_t first = ::fork();
    if (first == 0) {
      ::setpgid(0, 0);
      for (;;) ::pause();
    }
    ::setpgid(first, first);
    for (int i = 0; i < 2; ++i) {
      board().value[i] = static_cast<std::uint64_t>(fork_into([&] {
        ::setpgid(0, first);
        ::signal(SIGUSR1, [](int) { board().value[5]++; });
        board().value[6] = 1;
      }));
    }
    for (int i = 0; i < 2; ++i) {
      while (::getpgid(static_cast<pid_t>(board().value[i].load())) != first) ::usleep(1000);
    }
    ::kill(first, SIGKILL);
    ::waitpid(first, nullptr, 0);
    board().value[2] = static_cast<std::uint64_t>(first);
  });
  const auto pids = family(subject, 2);
  const auto group = static_cast<pid_t>(peek(subject.pid(), 3));
  for (const std::size_t i : {1U, 2U}) {
    ASSERT_TRUE(eventually([&] { return peek(pids[i], 7) == 1; }));
    ASSERT_EQ(stat_of(pids[i]).pgrp, group);
  }
  expect_the_same_family_after_carrying({pids[0]}, pids);
  ASSERT_EQ(::kill(-group, SIGUSR1), 0);
  for (const std::size_t i : {1U, 2U}) EXPECT_TRUE(eventually([&] { return peek(pids[i], 6) == 1; }));
}

TEST_F(Leaders, OneThatHasLeftItsGroupToOthers) {
  Subject subject([] {
    const pid_t subject_id = ::getpid();
    const Pipe pipe;
    const pid_t leader = fork_into([&] {
      ::setpgid(0, 0);
      const pid_t leader_id = ::getpid();
      pipe.tell(fork_into(close_pipe));
      ::setpgid(0, subject_id);
      pipe.tell(leader_id);
      close_pipe();
    });
    board().value[0] = static_cast<std::uint64_t>(leader);
    board().value[1] = pipe.hear();
    (void)pipe.hear();
    pipe.close();
  });
  const auto pids = family(subject, 2);
  ASSERT_EQ(stat_of(pids[1]).pgrp, pids[0]);
  ASSERT_EQ(stat_of(pids[2]).pgrp, pids[1]);
  expect_the_same_family_after_carrying({pids[0]}, pids);
}

// One of a session stays with a subreaper that is none any more, the next one goes to the one above it: the
// ID of their leader would be needed in two places.
TEST_F(Leaders, OneWithMembersOfDifferentParentsIsRefused) {
  Subject subject([] {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    const Pipe pipe, go_on;
    board().value[0] = static_cast<std::uint64_t>(fork_into([&] {
      ::prctl(PR_SET_CHILD_SUBREAPER, 1);
      const pid_t leader = ::fork();
      if (leader == 0) {
        ::setsid();
        pipe.tell(fork_into([] { ::close(3), ::close(4), ::close(5), ::close(6); }));
        if (::fork() == 0) {
          pipe.tell(fork_into([] { ::close(3), ::close(4), ::close(5), ::close(6); }));
          (void)go_on.hear();
          ::_exit(0);
        }
        ::_exit(0);
      }
      ::waitpid(leader, nullptr, 0);
      ::prctl(PR_SET_CHILD_SUBREAPER, 0);
      go_on.tell(leader);
      ::waitpid(-1, nullptr, 0);
      pipe.close(), go_on.close();
      board().value[6] = 1;
    }));
    board().value[1] = pipe.hear();
    board().value[2] = pipe.hear();
    pipe.close(), go_on.close();
  });
  const auto pids = family(subject, 3);
  ASSERT_TRUE(eventually([&] { return peek(pids[1], 7) == 1; }));
  ASSERT_NE(stat_of(pids[2]).ppid, stat_of(pids[3]).ppid);
  ASSERT_EQ(stat_of(pids[2]).session, stat_of(pids[3]).session);
  auto saved = save_trees({pids[0]}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(),
              HasSubstr("its leader has ended, and its members have several parents"));
  for (const pid_t pid : {pids[2], pids[3]}) EXPECT_TRUE(moves(pid));
}

// A process with this ID, which the kernel would not give so soon.
pid_t make_with_id(pid_t id, const std::function<void()>& body) {
  clone_args arguments = {};
  arguments.exit_signal = SIGCHLD;
  arguments.set_tid = reinterpret_cast<std::uintptr_t>(&id);
  arguments.set_tid_size = 1;
  const auto pid = static_cast<pid_t>(::syscall(SYS_clone3, &arguments, sizeof arguments));
  if (pid != 0) return pid;
  body();
  for (;;) ::pause();
}

TEST_F(Leaders, SomebodyWhoHasTheIdMeanwhileIsNamed) {
  const auto pids = orphans([](const auto& tell) { tell(fork_into(become_a_subject)); });
  ASSERT_EQ(pids.size(), 1U);
  ASSERT_OK(save_trees(pids, images(), false));
  (void)::waitpid(pids[0], nullptr, 0);
  auto error = [&] {
    auto restored = restore_trees(images(), false);
    return restored ? "no error" : restored.error().message();
  };
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t taker = make_with_id(session_, [&] {
    ::setsid();
    const pid_t member = ::fork();
    if (member != 0) (void)!::write(ends[1], &member, sizeof member);
  });
  ASSERT_EQ(taker, session_);
  pid_t member = 0;
  ASSERT_EQ(::read(ends[0], &member, sizeof member), static_cast<ssize_t>(sizeof member));
  ::close(ends[0]), ::close(ends[1]);
  mine_.push_back(member);
  EXPECT_THAT(error(), HasSubstr(fmt::format("the ID {} is taken by '", session_)));
  ::kill(taker, SIGKILL);
  ASSERT_EQ(::waitpid(taker, nullptr, 0), taker);
  EXPECT_THAT(error(),
              HasSubstr(fmt::format("the ID {} is taken by a session that process {} ('", session_, member)));
  ::kill(member, SIGKILL);
  ASSERT_EQ(::waitpid(member, nullptr, 0), member);
  mine_.pop_back();
  EXPECT_EQ(error(), "no error");
  EXPECT_TRUE(moves(pids[0]));
}

}  // namespace
}  // namespace upkeep::engine
