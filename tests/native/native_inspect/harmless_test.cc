// Looking at a task changes nothing in it, also when the one who looks is killed in the middle.

#include <gtest/gtest.h>
#include <immintrin.h>
#include <sys/epoll.h>

#include <random>

#include "../engine/subject.h"
#include "engine/native/inspect/guest_calls.h"
#include "engine/native/inspect/inspect.h"
#include "os/procfs.h"

namespace upkeep::native {
namespace {

using namespace upkeep::testing;

constexpr std::uint64_t kMask = (1ULL << (SIGUSR1 - 1)) | (1ULL << 63U);
alignas(64) char alternate_stack[16384];

// Counts in board().value[0] what it finds changed: registers, signal mask, alternate stack, errno-like
// surprises.
class Watchful {
 public:
  static void set_up() {
    sigset_t mask = {};
    std::memcpy(&mask, &kMask, sizeof kMask);
    ::sigprocmask(SIG_SETMASK, &mask, nullptr);
    stack_t stack = {};
    stack.ss_sp = alternate_stack;
    stack.ss_size = sizeof alternate_stack;
    ::sigaltstack(&stack, nullptr);
    struct sigaction action = {};
    action.sa_handler = [](int) { board().value[3]++; };
    action.sa_flags = SA_ONSTACK;
    ::sigaction(SIGUSR2, &action, nullptr);
    board().value[2] = static_cast<std::uint64_t>(::epoll_create1(0));
  }

  static void step() {
    if (!registers_hold()) board().value[0]++;
    std::uint64_t mask = 0;
    ::syscall(SYS_rt_sigprocmask, SIG_BLOCK, nullptr, &mask, sizeof mask);
    if (mask != kMask) board().value[0]++;
    stack_t stack = {};
    ::sigaltstack(nullptr, &stack);
    if (stack.ss_sp != alternate_stack || stack.ss_flags != 0) board().value[0]++;
    epoll_event event = {};
    if (::epoll_wait(static_cast<int>(board().value[2]), &event, 1, 1) < 0) board().value[1]++;
  }

 private:
  // About half a millisecond in which every bit of these registers is known.
  static bool registers_hold() {
    std::uint64_t wrong = 0;
    asm volatile(
        "mov $0x1122334455667788, %%r10\n"
        "movq %%r10, %%xmm7\n"
        "vpbroadcastq %%xmm7, %%ymm7\n"
        "mov %%r10, %%rbx\n"
        "not %%rbx\n"
        "mov $100000, %%ecx\n"
        "push %%r10\n"  // and what lies on the stack, down to the red zone below it
        "mov %%r10, -120(%%rsp)\n"
        "1:\n"
        "dec %%ecx\n"
        "jnz 1b\n"
        "vextracti128 $1, %%ymm7, %%xmm6\n"
        "movq %%xmm6, %%r11\n"
        "xor %%r10, %%r11\n"
        "or %%r11, %0\n"
        "mov -120(%%rsp), %%r11\n"
        "xor %%r10, %%r11\n"
        "or %%r11, %0\n"
        "pop %%r11\n"
        "xor %%r10, %%r11\n"
        "or %%r11, %0\n"
        "not %%rbx\n"
        "xor %%rbx, %%r10\n"
        "or %%r10, %0\n"
        : "+r"(wrong)
        :
        : "r10", "r11", "rbx", "rcx", "xmm6", "xmm7", "memory", "cc");
    return wrong == 0;
  }
};

class Harmless : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    if (!__builtin_cpu_supports("avx2")) GTEST_SKIP() << "needs a processor with AVX2";
  }
  // It runs, and has found nothing wrong. An EINTR of epoll_wait is allowed where a handler has run, or where
  // somebody was killed between stopping the task and looking at its registers (signal(7) lists the call).
  static void expect_well(const Subject& subject, bool eintr_allowed = false) {
    ASSERT_TRUE(moves(subject.pid()));
    EXPECT_EQ(peek(subject.pid(), 1), 0U) << "registers, signal mask or alternate stack changed";
    if (!eintr_allowed) {
      EXPECT_EQ(peek(subject.pid(), 2), 0U) << "epoll_wait was seen to be interrupted";
    }
  }
};

Result<Snapshot> look(pid_t pid) {
  TRY_ASSIGN(const auto tree, StoppedTree::stop({pid}));
  return inspect(tree, {});
}

TEST_F(Harmless, LookingOften) {
  Subject subject(Watchful::set_up, Watchful::step);
  for (int round = 0; round < 50; ++round) {
    auto seen = look(subject.pid());
    ASSERT_TRUE(seen) << seen.error().message();
    const auto& thread = *seen->processes[0].threads[0].stopped;
    ASSERT_EQ(thread.signal_mask, kMask);
    ASSERT_EQ(thread.alternate_stack.size, sizeof alternate_stack);
    ASSERT_NE(seen->processes[0].stopped->actions[SIGUSR2 - 1].handler, 0U);
  }
  expect_well(subject);
}

// Kills whoever looks after some random time, at whatever it is doing then.
TEST_F(Harmless, KilledAtAnyMoment) {
  Subject subject(Watchful::set_up, Watchful::step);
  std::mt19937 random(7);
  for (int round = 0; round < 60; ++round) {
    auto looker = os::fork_child([&] {
      for (;;) (void)look(subject.pid());
      return 0;
    });
    ASSERT_TRUE(looker);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 25'000));
    ::kill(looker->pid, SIGKILL);
    ASSERT_TRUE(os::wait_child(*looker, std::chrono::seconds(10)));
    ASSERT_TRUE(moves(subject.pid())) << "round " << round;
  }
  expect_well(subject, true);
}

// The same at chosen moments: inside the signal frame, before, between and after system calls.
TEST_F(Harmless, KilledInsideATask) {
  Subject subject(Watchful::set_up, Watchful::step);
  for (int calls = 0; calls < 4; ++calls) {
    for (int round = 0; round < 10; ++round) {
      auto looker = os::fork_child([&] {
        auto tree = StoppedTree::stop({subject.pid()});
        if (!tree) return 2;
        auto memory = os::TaskMemory::open(subject.pid());
        auto maps = glance({subject.pid()});
        if (!memory || !maps) return 3;
        auto code = find_guest_code(subject.pid(), maps->processes[0].memory.mappings, *memory);
        if (!code) return 4;
        auto guest = GuestCalls::begin(tree->processes()[0].threads[0].tracee, *memory, *code);
        if (!guest) return 5;
        for (int i = 0; i < calls; ++i) {
          if (!guest->call(SYS_getppid)) return 6;
        }
        ::kill(::getpid(), SIGKILL);
        return 7;
      });
      ASSERT_TRUE(looker);
      auto ended = os::wait_child(*looker, std::chrono::seconds(10));
      ASSERT_TRUE(ended);
      ASSERT_EQ(ended->signal(), SIGKILL) << ended->text();
      ASSERT_TRUE(moves(subject.pid())) << calls << " calls, round " << round;
    }
  }
  expect_well(subject);
}

TEST_F(Harmless, SignalsThatComeMeanwhileArrive) {
  Subject subject(Watchful::set_up, Watchful::step);
  std::uint64_t sent = 0;
  for (int round = 0; round < 30; ++round) {
    auto tree = StoppedTree::stop({subject.pid()});
    ASSERT_TRUE(tree);
    ::kill(subject.pid(), SIGUSR2);
    ++sent;
    auto seen = inspect(*tree, {});
    ASSERT_TRUE(seen) << seen.error().message();
    ASSERT_EQ(seen->processes[0].stopped->pending.size(), 1U);
    tree = tl::unexpected(Error("let go"));
    ASSERT_TRUE(eventually([&] { return peek(subject.pid(), 4) == sent; })) << round;
  }
  expect_well(subject, true);
}

// A tree that forks and ends at full speed is stopped whole, or refused.
TEST_F(Harmless, ATreeThatChanges) {
  Subject subject({}, [] {
    if (const pid_t child = ::fork(); child == 0)
      ::_exit(0);
    else if (child > 0)
      ::waitpid(child, nullptr, 0);
  });
  int whole = 0;
  for (int round = 0; round < 30; ++round) {
    auto tree = StoppedTree::stop({subject.pid()});
    if (!tree) continue;
    auto before = os::process_tree(subject.pid());
    ASSERT_TRUE(before);
    ASSERT_EQ(before->size(), tree->processes().size());
    ++whole;
  }
  EXPECT_GT(whole, 0);
  EXPECT_TRUE(moves(subject.pid()));
}

}  // namespace
}  // namespace upkeep::native
