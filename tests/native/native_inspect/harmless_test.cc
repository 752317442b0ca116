// Looking at a task changes nothing in it, also when the one who looks is killed in the middle.

#include <gtest/gtest.h>
#include <immintrin.h>
#include <sys/epoll.h>
#include <sys/prctl.h>

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>
#include <random>
#include <set>
#include <thread>

#include "../engine/subject.h"
#include "engine/inspect/calls/guest_calls.h"
#include "engine/inspect/inspect.h"
#include "os/procfs.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;

constexpr std::uint64_t kMask = (1ULL << (SIGUSR1 - 1)) | (1ULL << 63U);
alignas(64) char alternate_stack[16384];
std::array<std::uint32_t, 16384> known_memory;

// Some tests take as long as one has patience: UPKEEP_TEST_LONG=1 makes them as thorough as they can be.
bool long_run() { return ::getenv("UPKEEP_TEST_LONG") != nullptr; }

// Counts in board().value[0] what it finds changed: registers, memory, signals, descriptors; in value[4] is
// where last.
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
    std::iota(known_memory.begin(), known_memory.end(), 1U);
  }

  static void step() {
    holds(registers_hold(), __LINE__);
    holds(signals_hold(), __LINE__);
    holds(descriptors_hold(), __LINE__);
    bool same = true;
    for (std::uint32_t i = 0; i < known_memory.size(); ++i) same = same && known_memory[i] == i + 1;
    holds(same, __LINE__);
    epoll_event event = {};
    if (::epoll_wait(static_cast<int>(board().value[2]), &event, 1, 1) < 0) board().value[1]++;
  }

 private:
  static void holds(bool good, std::uint64_t line) {
    if (!good) board().value[0]++, board().value[4] = line;
  }

  static bool signals_hold() {
    std::uint64_t mask = 0, pending = ~0ULL;
    ::syscall(SYS_rt_sigprocmask, SIG_BLOCK, nullptr, &mask, sizeof mask);
    ::syscall(SYS_rt_sigpending, &pending, sizeof pending);
    stack_t stack = {};
    ::sigaltstack(nullptr, &stack);
    struct sigaction own = {}, untouched = {};
    ::sigaction(SIGUSR2, nullptr, &own);
    ::sigaction(SIGTERM, nullptr, &untouched);
    itimerval timer = {};
    ::getitimer(ITIMER_REAL, &timer);
    return mask == kMask && pending == 0 && stack.ss_sp == alternate_stack && stack.ss_flags == 0 &&
           own.sa_handler != SIG_DFL && own.sa_handler != SIG_IGN && (own.sa_flags & SA_ONSTACK) != 0 &&
           untouched.sa_handler == SIG_DFL && timer.it_value.tv_sec == 0 && timer.it_value.tv_usec == 0;
  }

  // Nothing was opened and nothing closed: the lowest free number is the one behind the epoll set's.
  static bool descriptors_hold() {
    const int set = static_cast<int>(board().value[2]);
    const int next = ::dup(0);
    ::close(next);
    return next == set + 1 && ::fcntl(set, F_GETFD) == 0 && ::fcntl(0, F_GETFD) == 0;
  }

  // About half a millisecond in which every bit of these registers is known.
  static bool registers_hold() {
    std::uint64_t wrong = 0;
    asm volatile(
        "mov $0x1122334455667788, %%r10\n"
        "movq %%r10, %%xmm7\n"
        "vpbroadcastq %%xmm7, %%ymm7\n"
        "vmovdqa %%ymm7, %%ymm15\n"
        "mov %%r10, %%rbx\n"
        "not %%rbx\n"
        "lea 1(%%r10), %%rax\n"
        "lea 2(%%r10), %%rdx\n"
        "lea 3(%%r10), %%rsi\n"
        "lea 4(%%r10), %%rdi\n"
        "lea 5(%%r10), %%r8\n"
        "lea 6(%%r10), %%r9\n"
        "lea 7(%%r10), %%r12\n"
        "lea 8(%%r10), %%r13\n"
        "lea 9(%%r10), %%r14\n"
        "mov $100000, %%ecx\n"
        "push %%r10\n"  // and what lies on the stack, down to the red zone below it
        "mov %%r10, -120(%%rsp)\n"
        "1:\n"
        "dec %%ecx\n"
        "jnz 1b\n"
        "vpxor %%ymm15, %%ymm7, %%ymm6\n"
        "vptest %%ymm6, %%ymm6\n"
        "setnz %%cl\n"
        "or %%rcx, %0\n"
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
        "dec %%rax\n xor %%r10, %%rax\n or %%rax, %0\n"
        "sub $2, %%rdx\n xor %%r10, %%rdx\n or %%rdx, %0\n"
        "sub $3, %%rsi\n xor %%r10, %%rsi\n or %%rsi, %0\n"
        "sub $4, %%rdi\n xor %%r10, %%rdi\n or %%rdi, %0\n"
        "sub $5, %%r8\n xor %%r10, %%r8\n or %%r8, %0\n"
        "sub $6, %%r9\n xor %%r10, %%r9\n or %%r9, %0\n"
        "sub $7, %%r12\n xor %%r10, %%r12\n or %%r12, %0\n"
        "sub $8, %%r13\n xor %%r10, %%r13\n or %%r13, %0\n"
        "sub $9, %%r14\n xor %%r10, %%r14\n or %%r14, %0\n"
        "not %%rbx\n"
        "xor %%rbx, %%r10\n"
        "or %%r10, %0\n"
        : "+r"(wrong)
        :
        : "rax", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "rbx", "rcx", "xmm6",
          "xmm7", "xmm15", "memory", "cc");
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
    EXPECT_EQ(peek(subject.pid(), 1), 0U) << "changed: what is looked at in line " << peek(subject.pid(), 5);
    if (!eintr_allowed) {
      EXPECT_EQ(peek(subject.pid(), 2), 0U) << "epoll_wait was seen to be interrupted";
    }
  }
};

// What is asked by calls in a task is asked in chains, or one by one.
class Asked : public Harmless, public ::testing::WithParamInterface<bool> {
 protected:
  static InspectRequest request() {
    InspectRequest request;
    request.many_threads = GetParam() ? 1 : ~std::size_t{0};
    return request;
  }
  static Result<Snapshot> look(pid_t pid) {
    TRY_ASSIGN(const auto tree, StoppedTree::stop({pid}));
    return inspect(tree, request());
  }
  // How long one look takes now, on a machine that may have other things to do.
  static std::chrono::microseconds time_of_a_look(pid_t subject) {
    const auto begin = std::chrono::steady_clock::now();
    auto looker = os::fork_child([&] { return look(subject) ? 0 : 1; });
    if (looker) (void)os::wait_child(*looker, std::chrono::seconds(20));
    return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin);
  }
};
INSTANTIATE_TEST_SUITE_P(Harmless, Asked, ::testing::Bool(),
                         [](const auto& way) { return way.param ? "InChains" : "OneByOne"; });

TEST_P(Asked, LookingOften) {
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

// Where the stack pointer of a task that does not run lies, by /proc/PID/syscall; 0: it runs.
std::uint64_t stack_pointer(pid_t pid) {
  const auto text = os::read_file(fmt::format("/proc/{}/syscall", pid)).value_or("");
  const auto last = text.rfind(' ');
  const auto before = last == std::string::npos ? last : text.rfind(' ', last - 1);
  return before == std::string::npos ? 0 : std::strtoull(text.c_str() + before + 1, nullptr, 16);
}

// Whoever was killed has left in the main stack what it wrote there, and the next one would keep to threads'
// own stacks, where there is no room for chains.
void clean_stack(pid_t pid) {
  const auto maps = glance({pid});
  const auto memory = os::TaskMemory::open(pid);
  ASSERT_TRUE(maps && memory);
  for (const auto& mapping : maps->processes[0].memory.mappings) {
    if (mapping.name != "[stack]") continue;
    constexpr std::size_t kOurs = 64U << 10U, kRoomForItself = 32U << 10U;
    ASSERT_GT(mapping.length(), kOurs + kRoomForItself);
    ASSERT_TRUE(memory->write(mapping.start, std::vector<std::byte>(kOurs)));
  }
}

// Kills whoever looks after some random time, at whatever it is doing then; often enough of that is in the
// middle of something that it runs inside the task, from a frame far below what the task itself uses of its
// stack.
TEST_P(Asked, KilledAtAnyMoment) {
  Subject subject(Watchful::set_up, Watchful::step);
  std::uint64_t usual = 0;
  ASSERT_TRUE(eventually([&] { return (usual = stack_pointer(subject.pid())) != 0; }));
  // A chain is inside for a moment only.
  const int wanted = long_run() ? 1000 : 150, wanted_inside = wanted * (GetParam() ? 1 : 3) / 10;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(long_run() ? 600 : 45);
  std::mt19937 random(7);
  int rounds = 0, inside = 0;
  std::chrono::microseconds look_time = {};
  for (; (rounds < wanted || inside < wanted_inside) && std::chrono::steady_clock::now() < end; ++rounds) {
    if (rounds % 50 == 0) look_time = time_of_a_look(subject.pid());
    auto looker = os::fork_child([&] {
      for (;;) (void)look(subject.pid());
      return 0;
    });
    ASSERT_TRUE(looker);
    const auto longest = static_cast<unsigned>(2 * look_time.count());
    std::this_thread::sleep_for(std::chrono::microseconds(random() % std::max(longest, 20'000U)));
    ::kill(looker->pid, SIGSTOP);
    int status = 0;
    ASSERT_EQ(::waitpid(looker->pid, &status, WUNTRACED), looker->pid);
    const auto pointer = stack_pointer(subject.pid());
    constexpr std::uint64_t kFarBelow = 8192;
    if (pointer != 0 && pointer < usual - kFarBelow) ++inside;
    ::kill(looker->pid, SIGKILL);
    ASSERT_TRUE(os::wait_child(*looker, std::chrono::seconds(10)));
    ASSERT_TRUE(moves(subject.pid())) << "round " << rounds;
    clean_stack(subject.pid());
    ASSERT_EQ(peek(subject.pid(), 1), 0U) << "round " << rounds << ", line " << peek(subject.pid(), 5);
  }
  RecordProperty("rounds", rounds);
  RecordProperty("inside", inside);
  std::printf("killed %d times, %d of them while something ran inside the task\n", rounds, inside);
  EXPECT_GT(inside, long_run() && !GetParam() ? 299 : 0);
  expect_well(subject, true);
}

// A looker of whom every system call is seen.
class WatchedLooker {
 public:
  explicit WatchedLooker(const std::function<bool()>& look)
      : go_(static_cast<std::atomic<int>*>(
            ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {
    child_ = os::fork_child([this, look] {
      while (go_->load() == 0) ::sched_yield();
      return look() ? 0 : 1;
    });
  }
  WatchedLooker(const WatchedLooker&) = delete;
  ~WatchedLooker() { ::munmap(go_, 4096); }

  // Lets it go on until it has made NUMBER calls that do something to a task, and kills it then. False: it
  // made fewer.
  Result<bool> kill_after(int number) {
    TRY_ASSIGN(auto tracee, os::Tracee::seize(child_->pid, os::Tracee::kKillWithTracer));
    TRY(tracee.interrupt());
    bool ended = false, entry = false;
    for (int made = 0; !ended && made < number;) {
      TRY_ASSIGN(const auto stop, tracee.wait(std::chrono::seconds(20)));
      go_->store(1);
      ended = stop.kind == os::Stop::Kind::ended;
      if (stop.kind == os::Stop::Kind::system_call) {
        entry = !entry;
        TRY_ASSIGN(const auto registers, tracee.registers());
        const auto call = static_cast<long>(registers.orig_rax);
        if (!entry && (call == SYS_ptrace || call == SYS_pwrite64) && ++made == number) break;
      }
      if (!ended) TRY(tracee.resume_to_system_call());
    }
    if (!ended) ::kill(child_->pid, SIGKILL);
    while (!ended) {
      TRY_ASSIGN(const auto stop, tracee.wait(std::chrono::seconds(20)));
      ended = stop.kind == os::Stop::Kind::ended;
      if (ended) {
        tracee.forget();
        return true;
      }
    }
    tracee.forget();
    return false;
  }

 private:
  std::atomic<int>* go_;
  Result<os::Child> child_ = tl::unexpected(Error("not started"));
};

// Kills whoever looks right after each system call that it makes to the task; as many as there is time for,
// spread over all of them.
TEST_P(Asked, KilledAfterEachSystemCall) {
  Subject subject(Watchful::set_up, Watchful::step);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(long_run() ? 600 : 45);
  constexpr int kStride = 7;
  int tried = 0, reached_the_end = 0;
  for (int first = 1; first <= kStride && std::chrono::steady_clock::now() < end; ++first) {
    for (int number = first; std::chrono::steady_clock::now() < end; number += kStride) {
      auto killed = WatchedLooker([&] { return look(subject.pid()).has_value(); }).kill_after(number);
      ASSERT_TRUE(killed) << killed.error().message();
      ASSERT_TRUE(moves(subject.pid())) << "after call " << number;
      clean_stack(subject.pid());
      ASSERT_EQ(peek(subject.pid(), 1), 0U) << "after call " << number << ", line " << peek(subject.pid(), 5);
      ++tried;
      if (!*killed) {
        ++reached_the_end;
        break;
      }
    }
  }
  std::printf("killed after %d calls, %d times all of them\n", tried, reached_the_end);
  if (long_run()) {
    EXPECT_EQ(reached_the_end, kStride);
  } else {
    EXPECT_GT(tried, 0);
  }
  expect_well(subject, true);
}

// Threads that differ in everything that only they can tell answer the same both ways.
TEST_F(Harmless, ChainsAnswerAsSingleCallsDo) {
  constexpr std::uint64_t kThreads = 5;
  Subject subject([] {
    for (std::uint64_t i = 0; i < kThreads; ++i) {
      std::thread([i] {
        static std::array<std::array<char, 8192>, kThreads> stacks;
        stack_t stack = {};
        stack.ss_sp = stacks.at(i).data(), stack.ss_size = stacks.at(i).size();
        ::sigaltstack(&stack, nullptr);
        ::prctl(PR_SET_PDEATHSIG, SIGRTMIN + static_cast<int>(i));
        ::prctl(PR_SET_TIMERSLACK, 1000 * (i + 1));
        ::prctl(PR_SET_SECUREBITS, i & 1U);
        ::prctl(PR_MCE_KILL, PR_MCE_KILL_SET, i % 2 == 0 ? PR_MCE_KILL_EARLY : PR_MCE_KILL_LATE, 0, 0);
        ::signal(SIGRTMIN + static_cast<int>(i), [](int) {});
        board().value[0]++;
        for (;;) ::pause();
      }).detach();
    }
  });
  ASSERT_TRUE(eventually([&] { return peek(subject.pid(), 1) == kThreads; }));
  auto look = [&](std::size_t many_threads) {
    auto tree = StoppedTree::stop({subject.pid()});
    InspectRequest request;
    request.many_threads = many_threads;
    auto seen = tree ? inspect(*tree, request) : Result<Snapshot>(tl::unexpected(tree.error()));
    EXPECT_TRUE(seen && seen->processes[0].threads.size() == kThreads + 1);
    return seen ? seen->processes[0] : Process();
  };
  const auto one_by_one = look(~std::size_t{0}), in_chains = look(1);
  std::set<std::uint64_t> slacks;
  for (std::size_t i = 0; i < one_by_one.threads.size(); ++i) {
    const auto &one = one_by_one.threads[i], &other = in_chains.threads.at(i);
    EXPECT_EQ(one.stopped->alternate_stack, other.stopped->alternate_stack);
    EXPECT_EQ(one.stopped->settings, other.stopped->settings);
    EXPECT_EQ(one.stopped->clear_child_tid, other.stopped->clear_child_tid);
    EXPECT_EQ(one.stopped->parent_death_signal, other.stopped->parent_death_signal);
    EXPECT_EQ(one.credentials.securebits, other.credentials.securebits);
    EXPECT_EQ(one.scheduling.timer_slack, other.scheduling.timer_slack);
    slacks.insert(other.scheduling.timer_slack);
  }
  EXPECT_EQ(slacks.size(), kThreads + 1);
  EXPECT_EQ(one_by_one.stopped->actions, in_chains.stopped->actions);
  EXPECT_EQ(one_by_one.memory.layout.brk, in_chains.memory.layout.brk);
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
          if (!guest->call({SYS_getppid})) return 6;
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

// However often it is looked at, nothing is written to a stack that may have no room for it: what was written
// to the lower end of the main one is zero again.
TEST_F(Harmless, FramesLieInTheMainStackEveryTime) {
  Subject subject(Watchful::set_up, Watchful::step);
  for (int round = 0; round < 3; ++round) {
    auto tree = StoppedTree::stop({subject.pid()});
    ASSERT_TRUE(tree);
    auto memory = os::TaskMemory::open(subject.pid());
    auto maps = glance({subject.pid()});
    ASSERT_TRUE(memory && maps);
    auto code = find_guest_code(subject.pid(), maps->processes[0].memory.mappings, *memory);
    ASSERT_TRUE(code);
    ASSERT_GT(code->room, 0U) << "round " << round;
    auto guest = GuestCalls::begin(tree->processes()[0].threads[0].tracee, *memory, *code);
    ASSERT_TRUE(guest);
    ASSERT_TRUE(guest->call({SYS_getppid}));
    ASSERT_TRUE(guest->end());
  }
  expect_well(subject);
}

TEST_P(Asked, SignalsThatComeMeanwhileArrive) {
  Subject subject(Watchful::set_up, Watchful::step);
  std::uint64_t sent = 0;
  for (int round = 0; round < 30; ++round) {
    auto tree = StoppedTree::stop({subject.pid()});
    ASSERT_TRUE(tree);
    ::kill(subject.pid(), SIGUSR2);
    ++sent;
    auto seen = inspect(*tree, request());
    ASSERT_TRUE(seen) << seen.error().message();
    ASSERT_EQ(seen->processes[0].stopped->pending.size(), 1U);
    tree = tl::unexpected(Error("let go"));
    ASSERT_TRUE(eventually([&] { return peek(subject.pid(), 4) == sent; })) << round;
  }
  expect_well(subject, true);
}

// What is there of a tree: processes and all their threads.
std::set<pid_t> all_tasks(pid_t root) {
  std::set<pid_t> tasks;
  for (pid_t pid : os::process_tree(root).value_or(std::vector<pid_t>())) {
    for (pid_t tid : os::list_threads(pid).value_or(std::vector<pid_t>())) tasks.insert(tid);
  }
  return tasks;
}

// Stopped whole, nothing moves any more: the tasks are those that are held, and stay them; what is read of
// them holds together. Or refused.
int take_whole(const Subject& subject, int rounds) {
  int whole = 0;
  for (int round = 0; round < rounds; ++round) {
    auto tree = StoppedTree::stop({subject.pid()});
    if (!tree) continue;
    std::set<pid_t> held;
    for (const auto& process : tree->processes()) {
      if (process.zombie) held.insert(process.pid);
      for (const auto& thread : process.threads) held.insert(thread.tracee.tid());
    }
    EXPECT_EQ(all_tasks(subject.pid()), held);
    auto seen = inspect(*tree, {});
    EXPECT_TRUE(seen) << seen.error().message();
    if (seen) {
      const auto good = validate(*seen);
      EXPECT_TRUE(good) << good.error().message();
    }
    EXPECT_EQ(all_tasks(subject.pid()), held);
    ++whole;
  }
  EXPECT_TRUE(moves(subject.pid()));
  return whole;
}

// Trees that change at full speed are stopped whole, or refused.
TEST_F(Harmless, ATreeThatForks) {
  Subject subject({}, [] {
    if (const pid_t child = ::fork(); child == 0)
      ::_exit(0);
    else if (child > 0)
      ::waitpid(child, nullptr, 0);
  });
  EXPECT_GT(take_whole(subject, 30), 0);
}

TEST_F(Harmless, ATreeWhoseThreadsComeAndGo) {
  Subject subject({}, [] {
    std::thread first([] {}), second([] { std::thread([] {}).join(); });
    first.join();
    second.join();
  });
  EXPECT_GT(take_whole(subject, 30), 0);
}

TEST_F(Harmless, ATreeThatMaps) {
  Subject subject(
      [] {
        std::thread([] {
          for (std::size_t pages = 1;; pages = pages % 64 + 1) {
            void* area =
                ::mmap(nullptr, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            std::memset(area, 1, pages * 4096);
            ::mprotect(area, 4096, PROT_READ);
            ::munmap(area, pages * 4096);
          }
        }).detach();
      },
      [] { ::close(::open("/dev/null", O_RDONLY)); });
  EXPECT_GT(take_whole(subject, 30), 0);
}

}  // namespace
}  // namespace upkeep::engine
