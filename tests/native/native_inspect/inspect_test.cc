// What is read is what the task has done.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/landlock.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <set>
#include <thread>

#include "../engine/subject.h"
#include "engine/inspect/inspect.h"

namespace upkeep::engine {
namespace {

using namespace upkeep::testing;
using ::testing::HasSubstr;

class Inspection : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  }
  Result<Snapshot> look(const Subject& subject) {
    TRY_ASSIGN(const auto tree, StoppedTree::stop({subject.pid()}));
    return inspect(tree, {});
  }
};

const OpenFile& file_at(const Snapshot& snapshot, const Process& process, int fd) {
  for (const auto& descriptor : process.descriptors) {
    if (descriptor.fd == fd) return snapshot.files[descriptor.file];
  }
  ADD_FAILURE() << "no descriptor " << fd;
  return snapshot.files.front();
}

std::string obstacles_of(const Snapshot& snapshot) {
  std::string text;
  for (const auto& obstacle : snapshot.obstacles) text += obstacle.what + ": " + obstacle.why + "\n";
  return text;
}

TEST_F(Inspection, APlainTaskHasNoObstacle) {
  Subject subject;
  auto snapshot = look(subject);
  ASSERT_OK(snapshot);
  EXPECT_EQ(obstacles_of(*snapshot), "");
  ASSERT_EQ(snapshot->processes.size(), 1U);
  const auto& process = snapshot->processes[0];
  EXPECT_EQ(process.pid, subject.pid());
  EXPECT_EQ(process.session, subject.pid());
  EXPECT_GT(process.memory.layout.brk, process.memory.layout.start_brk);
  EXPECT_NE(process.memory.vdso_checksum, 0U);
  EXPECT_NE(process.threads[0].stopped->clear_child_tid, 0U);
  EXPECT_TRUE(validate(*snapshot));
  auto back = read_manifest(write_manifest(*snapshot));
  ASSERT_OK(back);
  EXPECT_EQ(*back, *snapshot);
}

// landlock_restrict_self(2): the calling thread, and whom it makes from then on.
bool restrict_myself() {
  landlock_ruleset_attr rules = {};
  rules.handled_access_fs = LANDLOCK_ACCESS_FS_MAKE_SYM;
  const auto ruleset = ::syscall(SYS_landlock_create_ruleset, &rules, sizeof rules, 0);
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  return ruleset >= 0 && ::syscall(SYS_landlock_restrict_self, ruleset, 0) == 0 &&
         ::close(static_cast<int>(ruleset)) == 0;
}

TEST_F(Inspection, WhoHasRestrictedHimselfByLandlockIsRefusedBeforeAnythingStops) {
  if (::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION) < 0)
    GTEST_SKIP() << "this kernel has no Landlock, or it is switched off";
  // Of the subject one thread is restricted, and the child that this one makes.
  Subject subject([] {
    new std::thread([] {
      const bool restricted = restrict_myself();
      const pid_t child = ::fork();
      board().value[0] = static_cast<std::uint64_t>(::gettid());
      board().value[1] = restricted ? static_cast<std::uint64_t>(child) : 0;
      for (;;) ::pause();
    });
  });
  const Subject free;
  ASSERT_TRUE(eventually([&] { return peek(subject.pid(), 2) != 0; }));
  const auto thread = static_cast<pid_t>(peek(subject.pid(), 1)),
             child = static_cast<pid_t>(peek(subject.pid(), 2));
  const auto seen = glance({subject.pid(), free.pid()});
  const auto stopped = look(subject);
  ::kill(child, SIGKILL);
  for (const auto* snapshot : {&seen, &stopped}) {
    ASSERT_OK(*snapshot);
    std::set<pid_t> refused;
    for (const auto& obstacle : (*snapshot)->obstacles) {
      EXPECT_EQ(obstacle.what, "a Landlock domain") << obstacle.why;
      refused.insert(obstacle.pid);
    }
    EXPECT_EQ(refused, (std::set<pid_t>{thread, child}));
  }
}

TEST_F(Inspection, FilesAndWhoSharesThem) {
  // 3: /dev/zero, 4: the same description, 5 and 6: a pipe, 7: eventfd, 8: timerfd, 9: epoll
  Subject subject([] {
    ::dup(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
    int ends[2];
    (void)!::pipe(ends);
    (void)!::write(ends[1], "abc", 3);
    ::eventfd(41, EFD_SEMAPHORE);
    const itimerspec every = {{1, 0}, {1000, 0}};
    ::timerfd_settime(::timerfd_create(CLOCK_MONOTONIC, 0), 0, &every, nullptr);
    epoll_event event = {};
    event.events = EPOLLIN | EPOLLET;
    event.data.u64 = 0x1234567890abcdef;
    ::epoll_ctl(::epoll_create1(0), EPOLL_CTL_ADD, 7, &event);
  });
  auto snapshot = look(subject);
  ASSERT_OK(snapshot);
  EXPECT_EQ(obstacles_of(*snapshot), "");
  const auto& process = snapshot->processes[0];
  ASSERT_EQ(process.descriptors.size(), 10U);
  EXPECT_EQ(process.descriptors[3].file, process.descriptors[4].file);
  EXPECT_NE(process.descriptors[0].file, process.descriptors[3].file);
  EXPECT_TRUE(process.descriptors[3].close_on_exec);
  EXPECT_FALSE(process.descriptors[4].close_on_exec);
  const auto& pipe = file_at(*snapshot, process, 5);
  ASSERT_TRUE(pipe.pipe);
  EXPECT_EQ(pipe.pipe->data.data, (std::vector<std::uint8_t>{'a', 'b', 'c'}));
  EXPECT_EQ(pipe.pipe->inode, file_at(*snapshot, process, 6).pipe->inode);
  EXPECT_EQ(file_at(*snapshot, process, 7).eventfd, (EventCounter{41, true}));
  const auto timer = file_at(*snapshot, process, 8).timerfd;
  ASSERT_TRUE(timer);
  EXPECT_EQ(timer->interval, 1'000'000'000U);
  EXPECT_GT(timer->value, 900'000'000'000U);
  const auto epoll = file_at(*snapshot, process, 9).epoll;
  ASSERT_TRUE(epoll);
  ASSERT_EQ(epoll->watches.size(), 1U);
  EXPECT_EQ(epoll->watches[0].data, 0x1234567890abcdefU);
  EXPECT_EQ(epoll->watches[0].file, process.descriptors[7].file);
}

TEST_F(Inspection, ThreadsTimersAndLimits) {
  Subject subject([] {
    static std::atomic<bool> there = false;
    std::thread([] {
      ::prctl(PR_SET_NAME, "other");
      there = true;
      for (;;) ::pause();
    }).detach();
    while (!there) ::usleep(1000);
    const itimerval later = {{0, 0}, {5000, 0}};
    ::setitimer(ITIMER_REAL, &later, nullptr);
    sigevent event = {};
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGRTMIN;
    event.sigev_value.sival_int = 99;
    timer_t timer = {};
    ::timer_create(CLOCK_MONOTONIC, &event, &timer);
    const itimerspec every = {{2, 0}, {3000, 0}};
    ::timer_settime(timer, 0, &every, nullptr);
    const rlimit files = {123, 456};
    ::setrlimit(RLIMIT_NOFILE, &files);
    ::umask(027);
  });
  auto snapshot = look(subject);
  ASSERT_OK(snapshot);
  EXPECT_EQ(obstacles_of(*snapshot), "");
  const auto& process = snapshot->processes[0];
  ASSERT_EQ(process.threads.size(), 2U);
  EXPECT_EQ(process.threads[1].comm, "other");
  EXPECT_NE(process.threads[1].stopped->robust_list, 0U);
  EXPECT_EQ(process.limits[RLIMIT_NOFILE], (Limit{123, 456}));
  EXPECT_EQ(process.folders.umask, 027U);
  const auto& stopped = *process.stopped;
  EXPECT_GT(stopped.interval_timers[0].value, 4'900'000'000U);
  ASSERT_EQ(stopped.posix_timers.size(), 1U);
  EXPECT_EQ(stopped.posix_timers[0].interval, 2'000'000'000U);
  EXPECT_EQ(stopped.posix_timers[0].sigval & 0xffffffffU, 99U);
  EXPECT_GT(stopped.posix_timers[0].value, 2'900'000'000'000U);
}

TEST_F(Inspection, WhatCannotBeCarriedIsNamed) {
  Subject subject([] {
    ::socket(AF_NETLINK, SOCK_RAW, NETLINK_GENERIC);
    ::fsopen("tmpfs", 0);
  });
  auto snapshot = look(subject);
  ASSERT_OK(snapshot);
  EXPECT_THAT(obstacles_of(*snapshot), HasSubstr("descriptor 3 (socket:["));
  EXPECT_THAT(obstacles_of(*snapshot), HasSubstr("descriptor 4 (anon_inode:[fscontext])"));
}

int make_bpf_map() {
  bpf_attr map = {};
  map.map_type = BPF_MAP_TYPE_ARRAY;
  map.key_size = 4, map.value_size = 8, map.max_entries = 1;
  return static_cast<int>(::syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof map));
}

int make_perf_event() {
  perf_event_attr event = {};
  event.type = PERF_TYPE_SOFTWARE;
  event.size = sizeof event;
  event.config = PERF_COUNT_SW_TASK_CLOCK;
  return static_cast<int>(::syscall(SYS_perf_event_open, &event, 0, -1, -1, 0));
}

int make_userfaultfd() { return static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC)); }

int make_permission_queue() {
  return static_cast<int>(::syscall(SYS_fanotify_init, FAN_CLASS_CONTENT, O_RDONLY));
}

int make_seccomp_notifier() {
  sock_filter allow = {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW};
  const sock_fprog program = {1, &allow};
  return static_cast<int>(
      ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
}

int make_virtual_machine() {
  const int kvm = ::open("/dev/kvm", O_RDWR | O_CLOEXEC);
  return kvm < 0 ? -1 : ::ioctl(kvm, KVM_CREATE_VM, 0);
}

// Connected to itself.
int make_kernel_tls() {
  const int one = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* plain = reinterpret_cast<sockaddr*>(&address);
  if (::bind(one, plain, size) < 0 || ::getsockname(one, plain, &size) < 0 || ::connect(one, plain, size) < 0)
    return -1;
  return ::setsockopt(one, IPPROTO_TCP, TCP_ULP, "tls", 4) == 0 ? one : -1;
}

// What this kernel has of it. Landlock's domains have a test of their own; rings do in io_uring_test.cc.
TEST_F(Inspection, WhatNoSystemCallCanMakeAgainIsRefusedBeforeAnythingStops) {
  const std::pair<int (*)(), const char*> kinds[] = {{make_bpf_map, "bpf-map"},
                                                     {make_perf_event, "[perf_event]"},
                                                     {make_userfaultfd, "[userfaultfd]"},
                                                     {make_permission_queue, "[fanotify]"},
                                                     {make_seccomp_notifier, "seccomp notify"},
                                                     {make_virtual_machine, "kvm-vm"},
                                                     {make_kernel_tls, "kernel TLS"}};
  Subject subject([&kinds] {
    for (std::size_t i = 0; i < std::size(kinds); ++i)
      board().value[i] = static_cast<std::uint64_t>(kinds[i].first()) + 1;
  });
  const auto seen = glance({subject.pid()});
  ASSERT_OK(seen);
  std::string missing;
  for (std::size_t i = 0; i < std::size(kinds); ++i) {
    const auto fd = static_cast<int>(peek(subject.pid(), i + 1)) - 1;
    if (fd < 0) {
      missing += fmt::format(" {}", kinds[i].second);
      continue;
    }
    const bool refused = std::ranges::any_of(seen->obstacles, [&](const Obstacle& obstacle) {
      return obstacle.what.starts_with(fmt::format("descriptor {} (", fd)) &&
             (obstacle.what + obstacle.why).find(kinds[i].second) != std::string::npos;
    });
    EXPECT_TRUE(refused) << kinds[i].second << " at " << fd << " of:\n" << obstacles_of(*seen);
  }
  RecordProperty("missing", missing);
  std::fputs(("not in this kernel:" + missing + "\n").c_str(), stderr);
}

// Descriptor 3 is shared with a child that has left the tree's root for another one.
TEST_F(Inspection, WhatIsSharedWithTheOutsideIsNamed) {
  Subject subject([] {
    ::eventfd(0, 0);
    ::eventfd(0, 0);
    const pid_t child = ::fork();
    if (child == 0) ::close(4);
    board().value[0] = static_cast<std::uint64_t>(child);
  });
  const auto child = static_cast<pid_t>(peek(subject.pid(), 1));
  ASSERT_TRUE(eventually([&] { return !os::exists(fmt::format("/proc/{}/fd/4", child)); }));
  auto tree = StoppedTree::stop({child});
  ASSERT_OK(tree);
  auto snapshot = inspect(*tree, {});
  ASSERT_OK(snapshot);
  EXPECT_THAT(obstacles_of(*snapshot), HasSubstr("descriptor 3 (anon_inode:[eventfd]): process"));
  EXPECT_EQ(obstacles_of(*snapshot).find("descriptor 4"), std::string::npos);
  ::kill(child, SIGKILL);
}

TEST_F(Inspection, PagesAreOnlyThoseWithContents) {
  constexpr std::uint64_t kPlace = 0x300000000000;
  Subject subject([] {
    auto* memory =
        static_cast<char*>(::mmap(reinterpret_cast<void*>(kPlace), 1ULL << 40U, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0));
    memory[0] = 1;
    memory[3 * kPage] = 1;
    memory[5 * kPage] = 0;  // touched, but still zero
    (void)*static_cast<volatile char*>(memory + (1ULL << 39U));
  });
  auto snapshot = look(subject);
  ASSERT_OK(snapshot);
  std::vector<PageRun> runs;
  for (const auto& run : snapshot->processes[0].memory.pages) {
    if (run.address >= kPlace && run.address < kPlace + (1ULL << 40U)) runs.push_back(run);
  }
  ASSERT_EQ(runs.size(), 2U);
  EXPECT_EQ(runs[0].address, kPlace);
  EXPECT_EQ(runs[1].address, kPlace + 3 * kPage);
  EXPECT_EQ(runs[0].count + runs[1].count, 2U);
}

TEST_F(Inspection, GlancingStopsNobody) {
  Subject subject;
  auto snapshot = glance({subject.pid()});
  ASSERT_OK(snapshot);
  const auto& process = snapshot->processes[0];
  EXPECT_FALSE(process.stopped);
  EXPECT_FALSE(process.threads[0].stopped);
  EXPECT_EQ(process.descriptors.size(), 3U);
  EXPECT_FALSE(process.memory.mappings.empty());
}

// As shells do for each command: the number is that of a file, of a device, of a pipe.
TEST_F(Inspection, GlancingAtDescriptorsThatChange) {
  char file[] = "/tmp/upkeep-test-XXXXXX";
  ASSERT_GE(::mkstemp(file), 0);
  Subject subject([&] {
    const int kinds[] = {::open(file, O_RDWR), ::open("/dev/zero", O_RDONLY), ::eventfd(0, 0)};
    if (::fork() == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (std::size_t i = 0;; ++i) ::dup2(kinds[i % 3], 1);
    }
  });
  for (int i = 0; i < 100; ++i) {
    auto snapshot = glance({subject.pid()});
    ASSERT_OK(snapshot);
    for (const auto& obstacle : snapshot->obstacles)
      ASSERT_EQ(obstacle.what.find("descriptor 1"), std::string::npos)
          << obstacle.what << ": " << obstacle.why;
  }
  ::unlink(file);
}

TEST_F(Inspection, ZombiesAndStoppedTasks) {
  Subject subject([] {
    if (::fork() == 0) ::_exit(3);
    if (::fork() == 0) {
      ::raise(SIGSTOP);
      ::_exit(0);
    }
  });
  ASSERT_TRUE(eventually([&] {
    auto snapshot = glance({subject.pid()});
    return snapshot && snapshot->processes.size() == 3 && snapshot->processes[1].exit_status &&
           snapshot->processes[2].job_stopped;
  }));
  auto snapshot = look(subject);
  ASSERT_OK(snapshot);
  EXPECT_EQ(snapshot->processes[1].exit_status, 3 << 8);
  EXPECT_TRUE(snapshot->processes[2].job_stopped);
  EXPECT_TRUE(snapshot->processes[2].stopped);
  ASSERT_TRUE(eventually([&] {
    auto after = glance({subject.pid()});
    return after && after->processes[2].job_stopped;
  })) << "job control was undone";
  ::kill(snapshot->processes[2].pid, SIGKILL);
}

}  // namespace
}  // namespace upkeep::engine
