// What a task may do: filters of its system calls, keys, settings of prctl(2).

#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#include <cstddef>

#include "fixture.h"
#include "os/procfs.h"
#include "os/uapi_supplement.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;
using ::testing::HasSubstr;

using Identity = TreeTest;

// CALL answers ERROR from here on, everything else goes on.
void refuse(long call, int error, unsigned flags = 0) {
  sock_filter instructions[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(call), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {std::size(instructions), instructions};
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program) < 0) ::_exit(1);
}

// CALL ends the task.
void forbid(long call) {
  sock_filter instructions[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(call), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {std::size(instructions), instructions};
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0) ::_exit(1);
}

int error_of(long call) { return ::syscall(call, ~0UL, ~0UL, ~0UL) < 0 ? errno : 0; }

TEST_F(Identity, FiltersStackedInTheirOrder) {
  // The newest of several answers counts where they are alike; what inspection and rebuilding call is
  // forbidden.
  Subject subject(
      [] {
        refuse(SYS_getpgid, ENOTTY);
        refuse(SYS_getpgid, EXDEV, SECCOMP_FILTER_FLAG_LOG);
        for (int i = 0; i < 30; ++i) refuse(SYS_getsid, 100 + i);
        for (long call : {SYS_munmap, SYS_rt_sigaction, SYS_getitimer, SYS_prctl, SYS_sigaltstack, SYS_clone3,
                          SYS_pause, SYS_getpid, SYS_seccomp})
          forbid(call);
      },
      [] {
        HOLDS(error_of(SYS_getpgid) == EXDEV);
        HOLDS(error_of(SYS_getsid) == 129);
      });
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
  auto status = os::read_file(fmt::format("/proc/{}/status", subject.pid()));
  ASSERT_OK(status);
  EXPECT_THAT(*status, HasSubstr("Seccomp_filters:\t41\n"));
  EXPECT_THAT(*status, HasSubstr("NoNewPrivs:\t0\n"));
}

TEST_F(Identity, FiltersOfAThreadOfItsOwn) {
  // value 0: the thread has its filter; 1: what it sees; 2: how often it looked
  Subject subject(
      [] {
        ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        refuse(SYS_getpgid, ENOTTY);
        std::thread([] {
          refuse(SYS_getsid, EXDEV);
          for (;;) {
            board().value[1] =
                static_cast<std::uint64_t>(error_of(SYS_getpgid) == ENOTTY && error_of(SYS_getsid) == EXDEV);
            board().value[2]++;
            rest();
          }
        }).detach();
        while (board().value[2] == 0) rest();
        board().value[0] = 1;
      },
      [] {
        HOLDS(error_of(SYS_getpgid) == ENOTTY);
        HOLDS(error_of(SYS_getsid) == ESRCH);
      });
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
  const auto seen = peek(subject.pid(), 3);
  EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 3) > seen; }));
  EXPECT_EQ(peek(subject.pid(), 2), 1U) << "the thread has other filters";
}

TEST_F(Identity, ThreadsShareTheFiltersThatTheyHaveInCommon) {
  Subject subject(
      [] {
        refuse(SYS_getpgid, ENOTTY);
        std::thread([] {
          for (;; rest()) board().value[1] = static_cast<std::uint64_t>(error_of(SYS_getsid));
        }).detach();
        while (board().value[1] == 0) rest();
        board().value[0] = 1;
      },
      [] {
        if (::access("/proc/self/coredump_filter", F_OK) != 0 || board().value[0] != 2) return;
        refuse(SYS_getsid, EXDEV, SECCOMP_FILTER_FLAG_TSYNC);
        board().value[0] = 3;
      });
  ASSERT_TRUE(carry(subject));
  const std::uint64_t now = 2;
  const iovec local = {const_cast<std::uint64_t*>(&now), sizeof now},
              remote = {reinterpret_cast<void*>(kBoard + 8), 8};
  ASSERT_EQ(::process_vm_writev(subject.pid(), &local, 1, &remote, 1, 0), 8);
  EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 2) == EXDEV; }))
      << "a filter for all threads did not reach the other one";
}

TEST_F(Identity, StrictMode) {
  Subject subject([] {},
                  [] {
                    if (board().value[0] == 1) return;
                    board().value[0] = 1;
                    std::thread([] {
                      board().value[1] = 1;
                      ::syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, nullptr);
                      for (;;) board().value[2]++;
                    }).detach();
                  });
  ASSERT_TRUE(eventually([&] { return peek(subject.pid(), 3) > 1000; }));
  ASSERT_TRUE(carry(subject));
  const auto seen = peek(subject.pid(), 3);
  EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 3) > seen; }));
  auto tasks = os::list_directory(fmt::format("/proc/{}/task", subject.pid()));
  ASSERT_OK(tasks);
  std::string modes;
  for (const auto& task : *tasks) {
    auto status = os::read_file(fmt::format("/proc/{}/task/{}/status", subject.pid(), task));
    ASSERT_OK(status);
    modes += status->substr(status->find("Seccomp:") + 9, 1);
  }
  EXPECT_EQ(modes, "01");
}

TEST_F(Identity, AFilterWithASupervisorIsRefused) {
  Subject subject([] {
    sock_filter instructions[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program = {std::size(instructions), instructions};
    ::close(static_cast<int>(
        ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program)));
  });
  auto saved = save_trees({subject.pid()}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), HasSubstr("seccomp filter 0: it may ask a supervisor"));
  EXPECT_TRUE(moves(subject.pid()));
}

long keyctl(int operation, long one, long two = 0, long three = 0) {
  return ::syscall(SYS_keyctl, operation, one, two, three, 0);
}

// What is started from one login shares its keyring.
TEST_F(Identity, ASessionKeyringThatSeveralTreesHaveInCommon) {
  if (keyctl(KEYCTL_JOIN_SESSION_KEYRING, 0) < 0) GTEST_SKIP() << "needs keyrings";
  ::syscall(SYS_add_key, "user", "shared", "x", 1, KEY_SPEC_SESSION_KEYRING);
  auto look = [] {
    board().value[0] = static_cast<std::uint64_t>(keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING));
    HOLDS(keyctl(KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, reinterpret_cast<long>("user"),
                 reinterpret_cast<long>("shared")) > 0);
  };
  Subject one([] {}, look), two([] {}, look);
  Subject apart([] { ::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0); },
                [] {
                  board().value[0] =
                      static_cast<std::uint64_t>(keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING));
                });
  const auto before = peek(one.pid(), 1);
  ASSERT_TRUE(carry({&one, &apart, &two}));
  EXPECT_TRUE(eventually([&] { return peek(one.pid(), 1) != before; }));
  EXPECT_TRUE(eventually([&] { return peek(one.pid(), 1) == peek(two.pid(), 1); }));
  EXPECT_NE(peek(one.pid(), 1), peek(apart.pid(), 1));
  EXPECT_NO_COMPLAINT(one);
  EXPECT_NO_COMPLAINT(two);
}

// As systemd gives one to each service.
TEST_F(Identity, ASessionKeyringAndItsKeys) {
  Subject subject(
      [] {
        const std::string secret = "0123456789abcdef";
        if (keyctl(KEYCTL_JOIN_SESSION_KEYRING, 0) < 0) ::_exit(1);
        const long key = ::syscall(SYS_add_key, "user", "invocation_id", secret.data(), secret.size(),
                                   KEY_SPEC_SESSION_KEYRING);
        ::syscall(SYS_add_key, "user", "other", "x", 1, KEY_SPEC_SESSION_KEYRING);
        if (key < 0 || keyctl(KEYCTL_CHOWN, key, 77, 78) < 0 || keyctl(KEYCTL_SETPERM, key, 0x0b0b0000) < 0)
          ::_exit(1);
        if (::fork() == 0) board().value[6] = 1;
      },
      [] {
        static const pid_t parent = ::getppid();
        if (board().value[6] == 1 && ::getppid() != parent) ::_exit(0);  // nobody else ends it
        auto search = [] {
          return keyctl(KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, reinterpret_cast<long>("user"),
                        reinterpret_cast<long>("invocation_id"));
        };
        const long key = search();
        char text[64] = {};
        const bool read = keyctl(KEYCTL_READ, key, reinterpret_cast<long>(text), sizeof text) == 16;
        if (search() != key) return;  // carried in between: it has another serial number
        HOLDS(key > 0 && read && std::string_view(text) == "0123456789abcdef");
        const bool described = keyctl(KEYCTL_DESCRIBE, key, reinterpret_cast<long>(text), sizeof text) > 0;
        if (search() != key) return;
        HOLDS(described);
        HOLDS(std::string_view(text) == "user;77;78;0b0b0000;invocation_id");
        HOLDS(keyctl(KEYCTL_READ, KEY_SPEC_SESSION_KEYRING, reinterpret_cast<long>(text), sizeof text) == 8);
        board().value[0] =
            static_cast<std::uint64_t>(keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING));
      });
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
  auto tree = os::process_tree(subject.pid());
  ASSERT_OK(tree);
  ASSERT_EQ(tree->size(), 2U);
  EXPECT_TRUE(eventually([&] { return peek((*tree)[1], 1) == peek(subject.pid(), 1); }))
      << "it is not shared";
}

TEST_F(Identity, KeysThatCannotBeReadAreRefused) {
  Subject subject([] {
    if (keyctl(KEYCTL_JOIN_SESSION_KEYRING, reinterpret_cast<long>("upkeep-test")) < 0) ::_exit(1);
    if (::syscall(SYS_add_key, "logon", "a:b", "x", 1, KEY_SPEC_SESSION_KEYRING) < 0) ::_exit(1);
    if (::syscall(SYS_add_key, "user", "own", "x", 1, KEY_SPEC_PROCESS_KEYRING) < 0) ::_exit(1);
  });
  auto saved = save_trees({subject.pid()}, images(), false);
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message(), HasSubstr("key 'a:b' of type logon"));
  EXPECT_THAT(saved.error().message(), HasSubstr("keys in its process keyring"));
  EXPECT_TRUE(moves(subject.pid()));
}

TEST_F(Identity, SettingsOfProcessesAndThreads) {
  Subject subject(
      [] {
        (void)os::write_value("/proc/self/oom_score_adj", "123");
        (void)os::write_value("/proc/self/coredump_filter", "0x21");
        ::prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
        ::prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH, PR_SPEC_FORCE_DISABLE, 0, 0);
        ::prctl(os::kPrSetMemoryMerge, 1, 0, 0, 0);
        board().value[0] =
            static_cast<std::uint64_t>(::prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH, 0, 0, 0));
        board().value[1] = static_cast<std::uint64_t>(::prctl(os::kPrGetMemoryMerge, 0, 0, 0, 0));
      },
      [] {
        HOLDS(::prctl(PR_MCE_KILL_GET, 0, 0, 0, 0) == PR_MCE_KILL_EARLY);
        HOLDS(static_cast<std::uint64_t>(
                  ::prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH, 0, 0, 0)) == board().value[0]);
        HOLDS(static_cast<std::uint64_t>(::prctl(os::kPrGetMemoryMerge, 0, 0, 0, 0)) == board().value[1]);
      });
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
  // Read from here: the subject may be stopped at any moment, and an open file of /proc is not carried.
  const auto folder = "/proc/" + std::to_string(subject.pid());
  EXPECT_EQ(os::read_file(folder + "/oom_score_adj").value_or(""), "123\n");
  EXPECT_EQ(os::read_file(folder + "/coredump_filter").value_or(""), "00000021\n");
}

TEST_F(Identity, ARootOfItsOwn) {
  const auto jail = folder_.path() + "/jail";
  ASSERT_TRUE(os::make_directories(jail + "/within"));
  ASSERT_TRUE(os::replace_file(jail + "/within/mark", "x"));
  Subject subject(
      [&] {
        if (::chroot(jail.c_str()) < 0 || ::chdir("/within") < 0) ::_exit(1);
      },
      [] {
        HOLDS(::access("/within/mark", F_OK) == 0 && ::access("mark", F_OK) == 0);
        HOLDS(::access("/etc", F_OK) < 0);
      });
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
  EXPECT_EQ(os::read_link(fmt::format("/proc/{}/root", subject.pid())).value_or(""), jail);
}

TEST_F(Identity, MemoryThatIsNeverBothWritableAndExecutable) {
  if (::prctl(os::kPrGetMdwe, 0, 0, 0, 0) < 0) GTEST_SKIP() << "needs a kernel with PR_SET_MDWE (6.3)";
  Subject subject([] { ::prctl(os::kPrSetMdwe, 1, 0, 0, 0); },
                  [] { HOLDS(::prctl(os::kPrGetMdwe, 0, 0, 0, 0) == 1); });
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
}

}  // namespace
}  // namespace upkeep::engine
