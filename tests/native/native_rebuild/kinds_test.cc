// One kind of state each: the subject itself looks whether it is as it was.

#include <grp.h>
#include <immintrin.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/un.h>

#include <cstring>

#include "fixture.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;

using Kinds = TreeTest;

constexpr std::uintptr_t kPlace = 0x300000000000;
constexpr std::size_t kPageSize = 4096;

char* map_at(std::uintptr_t address, std::size_t length, int protection, int flags, int fd = -1) {
  return static_cast<char*>(
      ::mmap(reinterpret_cast<void*>(address), length, protection, flags | MAP_FIXED, fd, 0));
}

TEST_F(Kinds, PrivateMemory) {
  Subject subject(
      [] {
        auto* memory = map_at(kPlace, 64 * kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
        for (std::size_t page = 0; page < 64; page += 3)
          memory[page * kPageSize + page] = static_cast<char>(page + 1);
        ::mprotect(memory + 8 * kPageSize, 8 * kPageSize, PROT_READ);
        ::mprotect(memory + 24 * kPageSize, 8 * kPageSize, PROT_NONE);
        ::madvise(memory + 40 * kPageSize, 8 * kPageSize, MADV_DONTFORK);
        static char* heap = static_cast<char*>(::sbrk(3 * kPageSize));
        std::memset(heap, 0x5a, 3 * kPageSize);
        board().value[0] = reinterpret_cast<std::uintptr_t>(heap);
      },
      [] {
        ::mprotect(reinterpret_cast<void*>(kPlace + 24 * kPageSize), 8 * kPageSize, PROT_READ);
        auto* memory = reinterpret_cast<char*>(kPlace);
        for (std::size_t page = 0; page < 64; ++page)
          HOLDS(memory[page * kPageSize + page] == (page % 3 == 0 ? static_cast<char>(page + 1) : 0));
        ::mprotect(reinterpret_cast<void*>(kPlace + 24 * kPageSize), 8 * kPageSize, PROT_NONE);
        auto* heap = reinterpret_cast<char*>(board().value[0].load());
        HOLDS(heap[0] == 0x5a && heap[3 * kPageSize - 1] == 0x5a);
        HOLDS(::sbrk(0) == heap + 3 * kPageSize);
      });
  ASSERT_TRUE(carry(subject));
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(Kinds, MappedFiles) {
  const auto path = folder_.path() + "/mapped";
  ASSERT_TRUE(os::replace_file(path, std::string(4 * kPageSize, 'f')));
  Subject subject(
      [&] {
        const int fd = ::open(path.c_str(), O_RDWR);
        map_at(kPlace, 4 * kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd)[kPageSize] = 'p';
        map_at(kPlace + 8 * kPageSize, 4 * kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd)[2 * kPageSize] =
            's';
        ::close(fd);
      },
      [] {
        auto* memory = reinterpret_cast<char*>(kPlace);
        HOLDS(memory[0] == 'f' && memory[kPageSize] == 'p' && memory[2 * kPageSize] == 's');
        HOLDS(memory[9 * kPageSize] == 'f' && memory[10 * kPageSize] == 's');
      });
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
  auto content = os::read_file(path);
  ASSERT_OK(content);
  EXPECT_EQ((*content)[kPageSize], 'f') << "a private page reached the file";
}

// Parent and child go on seeing each other's writes.
TEST_F(Kinds, SharedMemory) {
  static pid_t parent = 0;
  Subject subject(
      [] {
        auto* memory = map_at(kPlace, 16 * kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
        memory[5 * kPageSize] = 'x';
        parent = ::getpid();
        if (::fork() == 0) {
          board().value[6] = 1;
          return;
        }
      },
      [] {
        auto* memory = reinterpret_cast<char*>(kPlace);
        HOLDS(memory[5 * kPageSize] == 'x');
        auto& word = *reinterpret_cast<std::atomic<std::uint64_t>*>(memory);
        if (board().value[6] == 1 && ::getppid() != parent) ::_exit(0);  // nobody else ends it
        if (board().value[6] == 1)
          word++;
        else
          board().value[0] = word.load();
      });
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
  const auto seen = peek(subject.pid(), 1);
  EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 1) > seen + 3; }))
      << "the child's writes are not seen";
}

TEST_F(Kinds, FloatingPointAndVectorRegisters) {
  if (!__builtin_cpu_supports("avx2")) GTEST_SKIP() << "needs a processor with AVX2";
  Subject subject({}, [] {
    std::uint64_t wrong = 0;
    // Two milliseconds or so in which these registers are known: most snapshots fall into them.
    asm volatile(
        "mov $0x1122334455667788, %%r10\n"
        "movq %%r10, %%xmm15\n"
        "vpbroadcastq %%xmm15, %%ymm15\n"
        "fldpi\n"
        "mov $2000000, %%ecx\n"
        "1: dec %%ecx\n"
        "jnz 1b\n"
        "fldpi\n"
        "fsubrp %%st, %%st(1)\n"
        "ftst\n"
        "fnstsw %%ax\n"
        "fstp %%st(0)\n"
        "and $0x4000, %%eax\n"
        "xor $0x4000, %%eax\n"
        "mov %%eax, %%eax\n"
        "or %%rax, %0\n"
        "vextracti128 $1, %%ymm15, %%xmm14\n"
        "movq %%xmm14, %%r11\n"
        "xor %%r10, %%r11\n"
        "or %%r11, %0\n"
        : "+r"(wrong)
        :
        : "rax", "r10", "r11", "rcx", "xmm14", "xmm15", "cc", "st", "st(1)");
    HOLDS(wrong == 0);
  });
  for (int round = 0; round < 5; ++round) ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
}

// Registers that only AVX-512 has, the upper halves of others, and masks.
__attribute__((target("avx512f"))) std::uint64_t hold_wide_registers() {
  std::uint64_t wrong = 0;
  asm volatile(
      "mov $0x1122334455667788, %%r10\n"
      "vpbroadcastq %%r10, %%zmm5\n"
      "vpbroadcastq %%r10, %%zmm17\n"
      "vpbroadcastq %%r10, %%zmm31\n"
      "mov $0x5a5a, %%eax\n"
      "kmovw %%eax, %%k3\n"
      "mov $2000000, %%ecx\n"
      "1: dec %%ecx\n"
      "jnz 1b\n"
      "vpbroadcastq %%r10, %%zmm16\n"
      "vpcmpeqq %%zmm16, %%zmm5, %%k1\n"
      "kmovw %%k1, %%eax\n"
      "vpcmpeqq %%zmm16, %%zmm17, %%k1\n"
      "kmovw %%k1, %%ecx\n"
      "and %%ecx, %%eax\n"
      "vpcmpeqq %%zmm16, %%zmm31, %%k1\n"
      "kmovw %%k1, %%ecx\n"
      "and %%ecx, %%eax\n"
      "xor $0xff, %%eax\n"
      "or %%rax, %0\n"
      "kmovw %%k3, %%eax\n"
      "xor $0x5a5a, %%eax\n"
      "or %%rax, %0\n"
      : "+r"(wrong)
      :
      : "rax", "rcx", "r10", "xmm5", "xmm16", "xmm17", "xmm31", "k1", "k3", "cc");
  return wrong;
}

TEST_F(Kinds, RegistersOfAvx512) {
  if (!__builtin_cpu_supports("avx512f")) GTEST_SKIP() << "needs a processor with AVX-512";
  Subject subject({}, [] { HOLDS(hold_wide_registers() == 0); });
  for (int round = 0; round < 5; ++round) ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
}

std::atomic<int> caught;

TEST_F(Kinds, SignalsAndTheirDetails) {
  alignas(16) static char stack_memory[65536];
  Subject subject(
      [] {
        struct sigaction action = {};
        action.sa_sigaction = [](int, siginfo_t* info, void*) {
          board().value[static_cast<std::size_t>(caught++)] =
              static_cast<std::uint64_t>(info->si_value.sival_int);
        };
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigaddset(&action.sa_mask, SIGUSR2);
        ::sigaction(SIGRTMIN + 1, &action, nullptr);
        ::signal(SIGHUP, SIG_IGN);
        const stack_t stack = {stack_memory, 0, sizeof stack_memory};
        ::sigaltstack(&stack, nullptr);
        sigset_t mask;
        sigemptyset(&mask);
        sigaddset(&mask, SIGRTMIN + 1);
        sigaddset(&mask, SIGRTMIN + 2);
        ::sigprocmask(SIG_BLOCK, &mask, nullptr);
        sigval value = {};
        for (value.sival_int = 101; value.sival_int < 104; ++value.sival_int)
          ::sigqueue(::getpid(), SIGRTMIN + 1, value);
        ::pthread_kill(::pthread_self(), SIGRTMIN + 2);
        board().value[5] = 1;
      },
      [] {
        sigset_t pending, mask;
        ::sigpending(&pending);
        ::sigprocmask(SIG_BLOCK, nullptr, &mask);
        HOLDS(sigismember(&mask, SIGRTMIN + 1) == (board().value[5] == 1));
        HOLDS(sigismember(&mask, SIGUSR1) == 0);
        HOLDS(sigismember(&pending, SIGRTMIN + 1) == (board().value[5] == 1));
        HOLDS(sigismember(&pending, SIGRTMIN + 2) == 1);
        HOLDS(sigismember(&pending, SIGCHLD) == 0);
        struct sigaction action = {};
        ::sigaction(SIGRTMIN + 1, nullptr, &action);
        HOLDS((action.sa_flags & SA_ONSTACK) != 0 && sigismember(&action.sa_mask, SIGUSR2) == 1);
        ::sigaction(SIGHUP, nullptr, &action);
        HOLDS(action.sa_handler == SIG_IGN);
        stack_t stack = {};
        ::sigaltstack(nullptr, &stack);
        HOLDS(stack.ss_sp == stack_memory && stack.ss_size == sizeof stack_memory);
        if (board().value[4] != 1) return;
        board().value[4] = 2;
        board().value[5] = 0;
        sigset_t only;
        sigemptyset(&only);
        sigaddset(&only, SIGRTMIN + 1);
        ::sigprocmask(SIG_UNBLOCK, &only, nullptr);
      });
  ASSERT_TRUE(carry(subject));
  const std::uint64_t yes = 1;
  const iovec local = {const_cast<std::uint64_t*>(&yes), sizeof yes},
              remote = {reinterpret_cast<void*>(kBoard + 40), 8};
  ASSERT_EQ(::process_vm_writev(subject.pid(), &local, 1, &remote, 1, 0), 8);
  ASSERT_TRUE(eventually([&] { return peek(subject.pid(), 3) != 0; }));
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_EQ(peek(subject.pid(), 1 + i), 101 + i) << "lost, or in another order";
  EXPECT_TRUE(moves(subject.pid()));
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(Kinds, Timers) {
  Subject subject(
      [] {
        ::signal(SIGALRM, [](int) { board().value[0]++; });
        ::signal(SIGRTMIN, [](int) { board().value[1]++; });
        const itimerval often = {{0, 20'000}, {0, 20'000}};
        ::setitimer(ITIMER_REAL, &often, nullptr);
        timer_t never = {}, timer = {};
        sigevent event = {};
        event.sigev_notify = SIGEV_SIGNAL;
        event.sigev_signo = SIGRTMIN;
        ::timer_create(CLOCK_MONOTONIC, &event, &never);
        ::timer_create(CLOCK_MONOTONIC, &event, &timer);
        ::timer_delete(never);  // so that the other one's ID is not the first
        const itimerspec time = {{0, 20'000'000}, {0, 20'000'000}};
        ::timer_settime(timer, 0, &time, nullptr);
        const itimerspec later = {{5, 0}, {3600, 0}};
        board().value[2] = static_cast<std::uint64_t>(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
        ::timerfd_settime(static_cast<int>(board().value[2]), 0, &later, nullptr);
      },
      [] {
        itimerspec left = {};
        ::timerfd_gettime(static_cast<int>(board().value[2]), &left);
        HOLDS(left.it_interval.tv_sec == 5 && left.it_value.tv_sec > (machine_carries() ? 600 : 3500) &&
              left.it_value.tv_sec < 3600);
      });
  ASSERT_TRUE(carry(subject));
  const auto first = peek(subject.pid(), 1), second = peek(subject.pid(), 2);
  EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 1) > first + 2; })) << "setitimer";
  EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 2) > second + 2; })) << "timer_create";
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(Kinds, Files) {
  const auto path = folder_.path() + "/log";
  // 3: appended to, 4: read at 3, 5: the same description, 6: a folder, 7: O_PATH
  Subject subject(
      [&] {
        ASSERT_TRUE(os::replace_file(path, "0123456789"));
        (void)::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
        const int reader = ::open(path.c_str(), O_RDONLY | O_NONBLOCK);
        ::lseek(reader, 3, SEEK_SET);
        ::dup(reader);
        (void)::open("/tmp", O_RDONLY | O_DIRECTORY);
        (void)::open("/tmp", O_PATH);
      },
      [] {
        HOLDS(::fcntl(3, F_GETFD) == FD_CLOEXEC && ::fcntl(4, F_GETFD) == 0);
        HOLDS((::fcntl(3, F_GETFL) & (O_ACCMODE | O_APPEND)) == (O_WRONLY | O_APPEND));
        HOLDS((::fcntl(4, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == O_NONBLOCK);
        HOLDS(::lseek(4, 0, SEEK_CUR) == 3);
        HOLDS(::lseek(4, 7, SEEK_SET) == 7 && ::lseek(5, 0, SEEK_CUR) == 7);
        HOLDS(::lseek(4, 3, SEEK_SET) == 3);
        HOLDS(::faccessat(6, "..", F_OK, 0) == 0 && (::fcntl(7, F_GETFL) & O_PATH) != 0);
        HOLDS(::fcntl(8, F_GETFD) < 0);
      });
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(Kinds, PipesBetweenParentAndChild) {
  // value 0: what the reader has got last
  Subject subject(
      [] {
        int ends[2];
        (void)!::pipe(ends);
        ::fcntl(ends[0], F_SETPIPE_SZ, 16384);
        ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
        for (std::uint64_t i = 1; i <= 100; ++i) (void)!::write(ends[1], &i, sizeof i);
        if (::fork() == 0) {
          ::close(ends[0]);
          board().value[6] = 1;
          board().value[0] = 100;
          return;
        }
        ::close(ends[1]);
      },
      [] {
        if (board().value[6] == 1) {
          const std::uint64_t next = board().value[0] + 1;
          if (::write(4, &next, sizeof next) == sizeof next) board().value[0] = next;
          return;
        }
        HOLDS(::fcntl(3, F_GETPIPE_SZ) == 16384);
        std::uint64_t got = 0;
        if (::read(3, &got, sizeof got) != sizeof got) return;
        HOLDS(got == board().value[0] + 1);
        board().value[0] = got;
      });
  ASSERT_TRUE(carry(subject));
  const auto before = peek(subject.pid(), 1);
  EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 1) > before + 20; }));
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(Kinds, EventCountersAndEpoll) {
  Subject subject(
      [] {
        ::eventfd(7, EFD_NONBLOCK | EFD_SEMAPHORE);  // 3
        ::epoll_create1(0);                          // 4
        epoll_event event = {};
        event.events = EPOLLIN;
        event.data.u64 = 0xabcdef;
        ::epoll_ctl(4, EPOLL_CTL_ADD, 3, &event);
        ::epoll_create1(0);  // 5 watches 4
        event.data.u64 = 0x123;
        ::epoll_ctl(5, EPOLL_CTL_ADD, 4, &event);
      },
      [] {
        std::uint64_t one = 0;
        HOLDS(::read(3, &one, sizeof one) == sizeof one && one == 1);
        (void)!::write(3, &one, sizeof one);
        epoll_event event = {};
        HOLDS(::epoll_wait(4, &event, 1, 0) == 1 && event.data.u64 == 0xabcdef);
        HOLDS(::epoll_wait(5, &event, 1, 0) == 1 && event.data.u64 == 0x123);
      });
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(Kinds, UnixSockets) {
  const auto path = folder_.path() + "/listening";
  // 3 and 4: a pair with unread data both ways; 5 and 6: messages; 7: listens at a path; 8: an abstract name
  // with a message; 9: made, no more
  Subject subject(
      [&] {
        int ends[2];
        ::socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
        (void)!::write(4, "to three", 8);
        (void)!::write(3, "to four", 7);
        ::shutdown(4, SHUT_WR);
        ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends);
        (void)!::write(6, "one", 3);
        (void)!::write(6, "three", 5);
        sockaddr_un name = {};
        name.sun_family = AF_UNIX;
        path.copy(name.sun_path, sizeof name.sun_path - 1);
        ::socket(AF_UNIX, SOCK_STREAM, 0);
        (void)!::bind(7, reinterpret_cast<sockaddr*>(&name), sizeof name);
        ::chmod(path.c_str(), 0640);
        ::listen(7, 17);
        const std::string abstract = fmt::format("upkeep-test-{}", ::getpid());
        name = {};
        name.sun_family = AF_UNIX;
        abstract.copy(name.sun_path + 1, abstract.size());
        const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + abstract.size());
        ::socket(AF_UNIX, SOCK_DGRAM, 0);
        const int buffer = 50'000, on = 1;
        ::setsockopt(8, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
        ::setsockopt(8, SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
        (void)!::bind(8, reinterpret_cast<sockaddr*>(&name), size);
        const int sender = ::socket(AF_UNIX, SOCK_DGRAM, 0);
        ::sendto(sender, "datagram", 8, 0, reinterpret_cast<sockaddr*>(&name), size);
        ::close(sender);
        ::socket(AF_UNIX, SOCK_STREAM, 0);
      },
      [] {
        char text[32] = {};
        HOLDS(::recv(3, text, sizeof text, MSG_PEEK) == 8 && std::strncmp(text, "to three", 8) == 0);
        HOLDS(::recv(4, text, sizeof text, MSG_PEEK) == 7 && std::strncmp(text, "to four", 7) == 0);
        HOLDS(::send(4, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
        HOLDS(::recv(5, text, sizeof text, MSG_PEEK) == 3);
        HOLDS(::recv(6, text, sizeof text, 0) < 0 && errno == EAGAIN);
        int number = 0;
        socklen_t size = sizeof number;
        HOLDS(::getsockopt(7, SOL_SOCKET, SO_ACCEPTCONN, &number, &size) == 0 && number == 1);
        HOLDS(::getsockopt(8, SOL_SOCKET, SO_RCVBUF, &number, &size) == 0 && number == 100'000);
        HOLDS(::getsockopt(8, SOL_SOCKET, SO_PASSCRED, &number, &size) == 0 && number == 1);
        HOLDS(::recv(8, text, sizeof text, MSG_PEEK) == 8 && std::strncmp(text, "datagram", 8) == 0);
        HOLDS(::getsockopt(9, SOL_SOCKET, SO_TYPE, &number, &size) == 0 && number == SOCK_STREAM);
      });
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
  struct stat status = {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0640U);
  const os::UniqueFd client(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  path.copy(name.sun_path, sizeof name.sun_path - 1);
  EXPECT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
}

TEST_F(Kinds, ListeningTcpSockets) {
  // 3: IPv4, which answers; 4: IPv6 only; 5: not bound
  Subject subject(
      [] {
        const int on = 1, idle = 77;
        ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        ::setsockopt(3, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        ::setsockopt(3, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        sockaddr_in in = {};
        in.sin_family = AF_INET;
        in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        (void)!::bind(3, reinterpret_cast<sockaddr*>(&in), sizeof in);
        ::listen(3, 33);
        socklen_t size = sizeof in;
        ::getsockname(3, reinterpret_cast<sockaddr*>(&in), &size);
        board().value[0] = in.sin_port;
        ::socket(AF_INET6, SOCK_STREAM, 0);
        ::setsockopt(4, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
        sockaddr_in6 in6 = {};
        in6.sin6_family = AF_INET6;
        in6.sin6_port = in.sin_port;
        (void)!::bind(4, reinterpret_cast<sockaddr*>(&in6), sizeof in6);
        ::listen(4, 5);
        ::socket(AF_INET, SOCK_STREAM, 0);
        ::setsockopt(5, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
      },
      [] {
        int number = 0;
        socklen_t size = sizeof number;
        HOLDS(::getsockopt(3, SOL_SOCKET, SO_REUSEADDR, &number, &size) == 0 && number == 1);
        HOLDS(::getsockopt(3, IPPROTO_TCP, TCP_NODELAY, &number, &size) == 0 && number == 1);
        HOLDS(::getsockopt(4, SOL_SOCKET, SO_REUSEADDR, &number, &size) == 0 && number == 0);
        HOLDS(::getsockopt(4, IPPROTO_IPV6, IPV6_V6ONLY, &number, &size) == 0 && number == 1);
        HOLDS(::getsockopt(5, IPPROTO_TCP, TCP_KEEPIDLE, &number, &size) == 0 && number == 77);
        tcp_info info = {};
        size = sizeof info;
        HOLDS(::getsockopt(3, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 && info.tcpi_sacked == 33);
        const int accepted = ::accept(3, nullptr, nullptr);
        if (accepted < 0) return;
        (void)!::write(accepted, "hello", 5);
        ::close(accepted);
      });
  ASSERT_TRUE(carry(subject));
  const os::UniqueFd client(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in in = {};
  in.sin_family = AF_INET;
  in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  in.sin_port = static_cast<in_port_t>(peek(subject.pid(), 1));
  ASSERT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&in), sizeof in), 0);
  char text[8] = {};
  EXPECT_EQ(::recv(client.get(), text, sizeof text, MSG_WAITALL), 5);
  EXPECT_NO_COMPLAINT(subject);
}

// What depends on somebody else is refused, by the descriptor's number.
TEST_F(Kinds, Identity) {
  Subject subject(
      [] {
        ::prctl(PR_SET_NAME, "some name");
        const gid_t groups[] = {7, 8};
        ::setgroups(2, groups);
        const rlimit files = {100, 200};
        ::setrlimit(RLIMIT_NOFILE, &files);
        ::umask(031);
        (void)!::chdir("/tmp");
        ::setpriority(PRIO_PROCESS, 0, 5);
        ::prctl(PR_SET_TIMERSLACK, 77'000);
        ::prctl(PR_CAPBSET_DROP, 5 /* CAP_KILL */);
        ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        (void)::setresgid(12, 13, 14);
        (void)::setresuid(11, 11, 11);
        ::prctl(PR_SET_PDEATHSIG, SIGUSR1);
        ::prctl(PR_SET_DUMPABLE, 1);
      },
      [] {
        char text[64] = {};
        ::prctl(PR_GET_NAME, text);
        HOLDS(std::strcmp(text, "some name") == 0);
        uid_t ids[3];
        HOLDS(::getresuid(ids, ids + 1, ids + 2) == 0 && ids[0] == 11 && ids[1] == 11 && ids[2] == 11);
        HOLDS(::getresgid(ids, ids + 1, ids + 2) == 0 && ids[0] == 12 && ids[1] == 13 && ids[2] == 14);
        gid_t groups[4] = {};
        HOLDS(::getgroups(4, groups) == 2 && groups[0] == 7 && groups[1] == 8);
        HOLDS(::prctl(PR_CAPBSET_READ, 5) == 0 && ::prctl(PR_CAPBSET_READ, 6) == 1);
        HOLDS(::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
        rlimit files = {};
        HOLDS(::getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur == 100 && files.rlim_max == 200);
        HOLDS(::getpriority(PRIO_PROCESS, 0) == 5);
        HOLDS(::prctl(PR_GET_TIMERSLACK) == 77'000);
        int death = 0;
        HOLDS(::prctl(PR_GET_PDEATHSIG, &death) == 0 && death == SIGUSR1);
        HOLDS(::getcwd(text, sizeof text) != nullptr && std::strcmp(text, "/tmp") == 0);
        const mode_t mask = ::umask(031);
        HOLDS(mask == 031);
      });
  ASSERT_TRUE(carry(subject));
  EXPECT_NO_COMPLAINT(subject);
}

TEST_F(Kinds, Threads) {
  // value 0 and 1: counted by two threads, one of which takes a lock that the other one gives
  Subject subject([] {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static thread_local std::uint64_t own = 5;
    for (const std::size_t index : {0U, 1U}) {
      std::thread([index] {
        own += index;
        for (;;) {
          ::pthread_mutex_lock(&lock);
          HOLDS(own == 5 + index);
          board().value[index]++;
          ::pthread_mutex_unlock(&lock);
          rest();
        }
      }).detach();
    }
  });
  ASSERT_TRUE(eventually([&] { return peek(subject.pid(), 1) > 5 && peek(subject.pid(), 2) > 5; }));
  ASSERT_TRUE(carry(subject));
  const auto first = peek(subject.pid(), 1), second = peek(subject.pid(), 2);
  EXPECT_TRUE(
      eventually([&] { return peek(subject.pid(), 1) > first + 5 && peek(subject.pid(), 2) > second + 5; }));
  EXPECT_NO_COMPLAINT(subject);
}

// Each thread stands in one kind of system call when the snapshot comes, and none may see EINTR.
TEST_F(Kinds, InterruptedSystemCalls) {
  Subject subject([] {
    auto thread = [](auto body) {
      std::thread([body] {
        body();
        board().value[0]++;
      }).detach();
    };
    static int ends[2];
    (void)!::pipe(ends);
    static std::atomic<int> word = 0, other = 0;
    thread([] {
      char c = 0;
      HOLDS(::read(ends[0], &c, 1) == 1 && c == 'x');
    });
    thread([] {
      const timespec time = {0, 600'000'000};
      const auto begin = now_ns(CLOCK_MONOTONIC);
      HOLDS(::nanosleep(&time, nullptr) == 0);
      HOLDS(now_ns(CLOCK_MONOTONIC) - begin >= 600'000'000);
    });
    thread([] {
      timespec until = {};
      ::clock_gettime(CLOCK_MONOTONIC, &until);
      until.tv_sec += 1;
      HOLDS(::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == 0);
    });
    thread([] { HOLDS(::poll(nullptr, 0, 600) == 0); });
    thread([] {
      const timespec time = {0, 600'000'000};
      HOLDS(::ppoll(nullptr, 0, &time, nullptr) == 0);
    });
    thread([] {
      epoll_event event = {};
      HOLDS(::epoll_wait(::epoll_create1(0), &event, 1, 600) == 0);
    });
    thread([] {
      const timespec time = {0, 600'000'000};
      HOLDS(::syscall(SYS_futex, &other, FUTEX_WAIT_PRIVATE, 0, &time, nullptr, 0) < 0 && errno == ETIMEDOUT);
    });
    thread([] { HOLDS(::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, nullptr, nullptr, 0) == 0); });
    std::thread([] {
      while (board().value[1] == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      (void)!::write(ends[1], "x", 1);
      ::syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
    }).detach();
  });
  ASSERT_TRUE(carry(subject));
  const std::uint64_t yes = 1;
  const iovec local = {const_cast<std::uint64_t*>(&yes), sizeof yes},
              remote = {reinterpret_cast<void*>(kBoard + 16), 8};
  ASSERT_EQ(::process_vm_writev(subject.pid(), &local, 1, &remote, 1, 0), 8);
  EXPECT_TRUE(eventually([&] { return peek(subject.pid(), 1) == 8; }))
      << peek(subject.pid(), 1) << " of 8 came back";
  EXPECT_NO_COMPLAINT(subject);
}

}  // namespace
}  // namespace upkeep::engine
